"""The errors a user of the library meets, beside the API's own."""

from __future__ import annotations


class WavetankError(Exception):
    """Base of what wavetank itself raises."""


class BadInput(WavetankError):
    """A file, an option or an argument is wrong; the message is one line: where, what is wrong, what is allowed."""


class NotReached(WavetankError):
    """A state was waited for and did not come in time.

    `what` was waited for during `timeout` seconds of cluster time; `unsettled` is what was still to be done.
    """

    def __init__(self, what: str, timeout: float, unsettled: list[str]) -> None:
        shown = "; ".join(unsettled[:5]) or "all desired states are reached"
        more = f" and {len(unsettled) - 5} more" if len(unsettled) > 5 else ""
        super().__init__(f"{what} was not reached within {timeout:g}s: {shown}{more}")
        self.what = what
        self.timeout = timeout
        self.unsettled = unsettled


class UnknownTarget(WavetankError):
    """A fault or a question names a node, deployment or reconciler that does not exist."""


class Diverged(WavetankError):
    """A re-execution differs from the log: `revision` is the first event that does."""

    def __init__(self, revision: int, recorded: str, executed: str) -> None:
        super().__init__(f"revision {revision} differs")
        self.revision = revision
        self.recorded = recorded
        self.executed = executed

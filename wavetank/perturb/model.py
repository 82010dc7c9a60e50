"""The three perturbations of a reconciler, as values (Sieve, OSDI 2022).

Each names its moments by the undisturbed run: up to the moment at which it strikes, the run that is perturbed is the very same run, event by
event, so that a revision or the number of a write means the same in both.

    Crash    intermediate   killed right after a write, started again with empty memory: what it had begun has to be taken up
    Rewind   stale          connected anew to a replica that is behind: what it sees has been, and is no more
    Hide     unobserved     not told of one object's changes until they are cancelled: it never sees the state between
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, TypeAlias, cast

import attrs

from engine import Json
from wavetank.errors import BadInput


@attrs.frozen(kw_only=True)
class Crash:
    """Killed when its `write`-th write (1 is the first since the cluster was entered) is applied, before it has the answer; away for `down` seconds."""

    pattern: ClassVar[str] = "intermediate"

    write: int
    down: float = 1.0
    about: str = ""

    def __str__(self) -> str:
        return f"killed right after its write {self.write} ({self.about}), back {self.down:g}s later with empty memory"


@attrs.frozen(kw_only=True)
class Rewind:
    """Restarted `delay` seconds after revision `after`, and for `seconds` shown the cluster as it was at revision `view`."""

    pattern: ClassVar[str] = "stale"

    view: int
    after: int
    delay: float = 1.0
    seconds: float = 5.0
    about: str = ""

    def __str__(self) -> str:
        return f"restarted {self.delay:g}s after r{self.after} and shown r{self.view} for {self.seconds:g}s: {self.about}"


@attrs.frozen(kw_only=True)
class Hide:
    """Not told what happens to one object from revision `since` on until a change cancels that one, for `most` seconds at most."""

    pattern: ClassVar[str] = "unobserved"

    kind: str
    """As `view.kind_name` has it."""
    namespace: str
    name: str
    since: int
    most: float
    """After that it is told the newest state, by a list: the change that cancels may be one that it has to make itself."""
    paths: tuple[str, ...] = ()
    """The fields that the change sets; none when it makes or removes the object."""
    about: str = ""

    def __str__(self) -> str:
        called = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"not told of {self.kind} {called} from r{self.since} on until that is cancelled: {self.about}"


Perturbation: TypeAlias = Crash | Rewind | Hide

KINDS: Final[Mapping[str, type[Perturbation]]] = {
    kind.pattern: kind for kind in (Crash, Rewind, Hide)
}
"""By pattern."""

PATTERNS: Final = tuple(KINDS)


def to_json(perturbation: Perturbation) -> dict[str, Json]:
    """For `from_json`."""
    fields: dict[str, Json] = attrs.asdict(perturbation)
    if isinstance(perturbation, Hide):
        fields["paths"] = list(perturbation.paths)
    return {"pattern": perturbation.pattern, **fields}


def from_json(document: Mapping[str, Json], where: str) -> Perturbation:
    """What `to_json` gave. Raises BadInput."""
    fields = dict(document)
    kind = KINDS.get(str(fields.pop("pattern", "")))
    if kind is None:
        raise BadInput(f"{where}.pattern: allowed: {', '.join(PATTERNS)}")
    if "paths" in fields:
        fields["paths"] = tuple(cast("list[str]", fields["paths"]))  # type: ignore[assignment]  # a field of Hide
    try:
        return kind(**fields)  # type: ignore[arg-type]  # as `to_json` wrote them
    except TypeError as error:
        raise BadInput(f"{where}: {error}") from None

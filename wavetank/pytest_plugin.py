"""The pytest plugin: ordinary async tests of a cluster, run under many seeds with faults.

    @pytest.mark.wavetank(nodes=3, seeds=50, faults=["node", "link"])
    async def test_the_shop_comes_back(cluster):
        await cluster.apply("shop.yaml")
        await cluster.until(lambda view: view.deployment("frontend").available)

The test runs once undisturbed, then once for each seed, in virtual time, while the faults of the seed's plan strike. When it is over, everything is healed, and the cluster has to
settle; the invariants hold all the while. A failure is shrunk and told in at most 40 lines, with a token that runs it again anywhere:
`pytest TEST --wavetank-token TOKEN`. Tokens of failures are kept under .wavetank/tapes and run first the next time.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import inspect
import json
import tempfile
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

if TYPE_CHECKING:
    from wavetank.cluster import Cluster
    from wavetank.faults.model import FaultType
    from wavetank.hunting.outcome import TrialInput
    from wavetank.hunting.program import ProgramOutcome, ProgramTrials

MARK: Final = "wavetank"
TAPES: Final = Path(".wavetank/tapes")
_PREFIX: Final = "wt1-"
_KEPT: Final = 10
"""Tokens of one test."""
_SHRINKING: Final = 60
"""Runs that a failure is shrunk with."""
_LINES: Final = 40


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--wavetank-token`, `--wavetank-seeds`."""
    group = parser.getgroup("wavetank")
    group.addoption(
        "--wavetank-token", metavar="TOKEN", help="run the marked tests with this token alone"
    )
    group.addoption(
        "--wavetank-seeds", type=int, metavar="N", help="so many seeds in place of the marks'"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say what the mark is."""
    config.addinivalue_line(
        "markers",
        "wavetank(nodes=3, seeds=20, faults=(), ...): run an async test of a `cluster` under many seeds with faults",
    )


class _Place:
    """Stands where the cluster of each seed will be put."""

    def __getattr__(self, name: str) -> object:
        raise AttributeError(
            f"cluster.{name}: the fixture `cluster` is for async tests marked with @pytest.mark.wavetank"
        )


_PLACE: Final = _Place()


@pytest.fixture(scope="session")
def cluster() -> object:
    """The cluster of a test that is marked with `pytest.mark.wavetank`; a fresh one for each seed."""
    return _PLACE


def pytest_itemcollected(item: pytest.Item) -> None:
    """Make a marked test one that trio's own plugin leaves alone: it runs in virtual time, not in trio.run."""
    mark = item.get_closest_marker(MARK)
    if mark is None or not isinstance(item, pytest.Function):
        return
    hypothesis = getattr(item.obj, "hypothesis", None)
    test = item.obj if hypothesis is None else hypothesis.inner_test
    if not inspect.iscoroutinefunction(test):
        raise pytest.UsageError(f"{item.nodeid}: pytest.mark.wavetank is for async tests")
    runner = _runner(test, item, mark)
    if hypothesis is None:
        item.obj = runner
    else:
        hypothesis.inner_test = runner


def _runner(
    test: Callable[..., Awaitable[object]], item: pytest.Function, mark: pytest.Mark
) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:  # noqa: ANN401 - the test's own
        __tracebackhide__ = True

        async def program(cluster: Cluster) -> None:
            def placed(value: object) -> object:
                return cluster if value is _PLACE else value

            # hypothesis gives by position what pytest gives by name
            named = {name: placed(value) for name, value in fixtures.items()}
            await test(*map(placed, arguments), **named)

        _Session(item, mark, program).run()

    # Without this pytest-trio and inspect would see the coroutine function behind it.
    del run.__wrapped__
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]  # what pytest reads fixtures from
    return run


class _Session:
    """The runs of one test."""

    def __init__(
        self,
        item: pytest.Function,
        mark: pytest.Mark,
        program: Callable[[Cluster], Awaitable[object]],
    ) -> None:
        options = dict(mark.kwargs)
        if mark.args:
            raise pytest.UsageError(f"{item.nodeid}: pytest.mark.wavetank takes keywords alone")
        self._item = item
        self._seeds = _seeds(options.pop("seeds", 20), item)
        self._drawing: dict[str, object] = {
            name: options.pop(name) for name in ("horizon", "most", "swarm") if name in options
        }
        self._types = self._fault_types(options.pop("faults", ()))
        self._schedule = str(options.pop("schedule", "random"))
        self._trials = self._made(program, options)
        self._tapes = item.config.rootpath / TAPES / _slug(item.nodeid)

    def _fault_types(self, selection: Sequence[str]) -> list[FaultType]:
        from wavetank.errors import BadInput  # noqa: PLC0415 - a session without such tests pays nothing
        from wavetank.faults.drawing import types_of  # noqa: PLC0415 - likewise

        if not selection:
            return []
        try:
            return types_of(selection)
        except BadInput as error:
            message = str(error).replace("--faults", "faults")
            raise pytest.UsageError(f"{self._item.nodeid}: {message}") from None

    def _made(
        self, program: Callable[[Cluster], Awaitable[object]], options: dict[str, object]
    ) -> ProgramTrials:
        from wavetank.hunting.program import ProgramTrials  # noqa: PLC0415 - likewise

        try:
            return ProgramTrials(program=program, **options)  # type: ignore[arg-type]  # said below if they are not its fields
        except TypeError as error:
            raise pytest.UsageError(f"{self._item.nodeid}: pytest.mark.wavetank: {error}") from None

    def run(self) -> None:
        """Raises what pytest reports, at the first failure."""
        __tracebackhide__ = True
        token = self._item.config.getoption("--wavetank-token")
        if token:
            self._judge(self._trials.run(read_token(token)))
            return
        for kept in self._kept():
            self._judge(self._trials.run(kept))
        undisturbed = self._trials.run(self._input(self._seeds[0], ()))
        if undisturbed.findings:
            self._judge(undisturbed)
        inventory = self._trials.inventory(undisturbed.objects)
        for seed in self._seeds:
            plan = self._trials.drawn(seed, self._types, inventory, self._drawing)
            self._judge(self._trials.run(self._input(seed, plan.faults)))

    def _input(self, seed: int, faults: Iterable[Any]) -> TrialInput:
        from engine import parse_schedule  # noqa: PLC0415 - likewise
        from wavetank.faults.plan import Plan  # noqa: PLC0415 - likewise
        from wavetank.hunting.outcome import TrialInput  # noqa: PLC0415 - likewise

        schedule = None if self._schedule == "random" else parse_schedule(self._schedule)
        return TrialInput(seed=seed, plan=Plan(tuple(faults)), schedule=schedule)

    def _judge(self, outcome: ProgramOutcome) -> None:
        """Raises when something was wrong."""
        __tracebackhide__ = True
        if not outcome.findings:
            return
        shrunk = self._trials.shrunk(outcome, _SHRINKING)
        self._keep(shrunk.trial)
        report = self._report(shrunk)
        if shrunk.error is not None:
            shrunk.error.add_note(report)
            raise shrunk.error.with_traceback(_from_test(shrunk.error))
        pytest.fail(report, pytrace=False)

    def _report(self, outcome: ProgramOutcome) -> str:
        """At most 40 lines."""
        from wavetank.hunting.story import causes_of  # noqa: PLC0415 - likewise

        trial, first = outcome.trial, outcome.findings[0]
        token = write_token(trial)
        with tempfile.TemporaryDirectory(prefix="wavetank-") as folder:
            log = Path(folder) / "log.wtl"
            self._trials.run(trial, log)
            causes = causes_of(log, first.revision) if first.revision else []
        plan = str(trial.plan).splitlines()
        lines = [
            f"wavetank: seed {trial.seed}, schedule {trial.schedule or 'random'}, digest {outcome.digest}",
            *(f"  {finding}" for finding in outcome.findings[:3]),
            "plan:",
            *(f"  {line}" for line in plan[:10]),
        ]
        if causes:
            lines += [f"causes of r{first.revision}:", *(f"  {line}" for line in causes)]
        lines += ["again:", f"  pytest '{self._item.nodeid}' --wavetank-token {token}"]
        return "\n".join(lines[:_LINES])

    # -- tokens ------------------------------------------------------------------------------------

    def _keep(self, trial: TrialInput) -> None:
        token = write_token(trial)
        self._tapes.mkdir(parents=True, exist_ok=True)
        name = hashlib.blake2b(token.encode(), digest_size=8).hexdigest()
        (self._tapes / name).write_text(token + "\n", encoding="utf-8")

    def _kept(self) -> list[TrialInput]:
        """The failures of earlier sessions; what is no token of ours is left alone."""
        if not self._tapes.is_dir():
            return []
        found = []
        for path in sorted(self._tapes.iterdir())[:_KEPT]:
            try:
                found.append(read_token(path.read_text(encoding="utf-8").strip()))
            except pytest.UsageError:
                continue
        return found


def _from_test(error: BaseException) -> Any:  # noqa: ANN401 - a traceback or None
    """The traceback from the test's own frame on: what led there is ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        if "/wavetank/" not in trace.tb_frame.f_code.co_filename.replace("\\", "/") and (
            trace.tb_frame.f_globals.get("__name__") != __name__
        ):
            break
        trace = trace.tb_next
    return trace


def _seeds(given: object, item: pytest.Function) -> Sequence[int]:
    """The seeds of a mark: a number of them, or themselves."""
    override = item.config.getoption("--wavetank-seeds")
    if override is not None:
        given = override
    if isinstance(given, int) and given > 0:
        return range(given)
    if isinstance(given, Sequence | range) and given and all(isinstance(s, int) for s in given):
        return cast("Sequence[int]", given)
    raise pytest.UsageError(
        f"{item.nodeid}: seeds={given!r}; allowed: a number of seeds, or a list of them"
    )


def _slug(nodeid: str) -> str:
    digest = hashlib.blake2b(nodeid.encode(), digest_size=6).hexdigest()
    name = nodeid.rpartition("::")[2]
    return f"{''.join(c if c.isalnum() else '_' for c in name)[:60]}-{digest}"


def write_token(trial: TrialInput) -> str:
    """A trial as one word."""
    text = json.dumps(trial.to_json(), separators=(",", ":"), sort_keys=True)
    packed = base64.urlsafe_b64encode(zlib.compress(text.encode(), 9))
    return _PREFIX + packed.decode().rstrip("=")


def read_token(token: str) -> TrialInput:
    """What `write_token` wrote. Raises UsageError."""
    from engine import ScheduleError  # noqa: PLC0415 - likewise
    from wavetank.errors import BadInput  # noqa: PLC0415 - likewise
    from wavetank.hunting.outcome import input_from_json  # noqa: PLC0415 - likewise

    packed = token.removeprefix(_PREFIX)
    try:
        text = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
        return input_from_json(json.loads(text), "token")
    except (ValueError, KeyError, TypeError, zlib.error, BadInput, ScheduleError) as error:
        raise pytest.UsageError(f"--wavetank-token: this is no token: {error}") from None

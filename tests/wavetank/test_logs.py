"""The log commands and replay: on a good log, and on logs that are cut, damaged, newer, edited or of another seed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
import trio
import yaml

from engine import Deployment, ObjectCodec, Pod, default_scheme
from store import Delete, Durability, Event, EventType, Origin, Put, Revision, Txn, open_store
from tests.wavetank.conftest import Call
from tests.wavetank.contract import write_small
from wavetank.experiment.load import load_experiment
from wavetank.experiment.run import run_experiment
from wavetank.logs import Log, open_log
from wavetank.replaying import compare, replay
from wavetank.result import Result


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result[None]]:
    folder = tmp_path_factory.mktemp("log")
    result = run_experiment(load_experiment(write_small(folder)), log=folder / "run.wtl")
    assert result.passed
    return folder / "run.wtl", result


@pytest.fixture
def path(recorded: tuple[Path, Result[None]]) -> Path:
    return recorded[0]


@pytest.fixture
def result(recorded: tuple[Path, Result[None]]) -> Result[None]:
    return recorded[1]


@pytest.fixture
def copy(path: Path, tmp_path: Path) -> Path:
    """A log to be spoilt."""
    return Path(shutil.copytree(path, tmp_path / "copy.wtl"))


def segment(log: Path) -> Path:
    return next(iter(sorted(log.glob("*.seg"))))


# -- a good log ------------------------------------------------------------------------------------


def test_verify(path: Path, result: Result[None], wavetank_command: Call) -> None:
    """A sound log is reported with its events, head and digest, and nothing else."""
    outcome = wavetank_command("log", "verify", path)
    said = f"ok events={result.events} head={result.head} digest={result.digest}\n"

    assert (0, said, "") == (outcome.code, outcome.out, outcome.err)


def test_replay_gives_the_same_digest(
    path: Path, result: Result[None], wavetank_command: Call
) -> None:
    """Without the experiment's files: all it takes is in the header."""
    for name in ("small.yaml", "app.yaml"):
        assert name in open_log(path).header["experiment"]["files"]  # type: ignore[call-overload, index, operator]
    outcome = wavetank_command("replay", path)

    assert (0, f"ok events={result.events} digest={result.digest}\n") == (outcome.code, outcome.out)


def test_show_json(path: Path, result: Result[None], wavetank_command: Call) -> None:
    """One object a line, with the contract's fields; revisions without gap."""
    lines = [
        json.loads(line)
        for line in wavetank_command("log", "show", path, "-o", "json").out.splitlines()
    ]
    fields = [
        "revision",
        "time_ns",
        "time",
        "type",
        "key",
        "actor",
        "reconcile",
        "causes",
        "object",
    ]

    assert all(fields == list(line) for line in lines)
    assert list(range(2, result.head + 1)) == [line["revision"] for line in lines]
    assert all(isinstance(line["time_ns"], int) for line in lines)
    assert lines[0]["time"].startswith("2026-01-01T00:00:00")
    assert all(line["causes"] and line["actor"] for line in lines)
    assert all(
        cause < line["revision"]
        for line in lines
        for cause in line["causes"]
        if isinstance(cause, int)
    )


def test_show_filters(path: Path, wavetank_command: Call) -> None:
    """Kind, name, actor and revisions narrow what is shown."""

    def shown(*options: str) -> list[dict[str, str]]:
        out = wavetank_command("log", "show", path, "-o", "json", *options).out
        return [json.loads(line) for line in out.splitlines()]

    everything = shown()
    pods = shown("--kind", "po")
    one = pods[0]["key"].removeprefix("/registry/pods/")

    assert [line for line in everything if 10 <= int(line["revision"]) <= 20] == shown(
        "--from", "10", "--to", "20"
    )
    assert pods == [line for line in everything if line["key"].startswith("/registry/pods/")]
    assert [line for line in pods if line["key"].endswith(one)] == shown(
        "--kind", "Pod", "--name", one
    )
    assert shown("--kind", "Pod", "--name", one.partition("/")[2]) == shown(
        "--kind", "Pod", "--name", one
    )
    assert [line for line in everything if line["actor"] == "kubelet/w-1"] == shown(
        "--actor", "kubelet/w-1"
    )
    assert [] == shown("--actor", "nobody")


def test_state_and_diff(path: Path, result: Result[None], wavetank_command: Call) -> None:
    """Of a revision in the middle, in all forms; what changed from one to another."""
    log = open_log(path)
    scaled = next(
        e.revision
        for e in log.events()
        if isinstance(e.value, Deployment) and e.value.spec.replicas == 3
    )
    listed = json.loads(
        wavetank_command(
            "log", "state", path, "--at", str(scaled), "--kind", "deploy", "-o", "json"
        ).out
    )
    documents = list(
        yaml.safe_load_all(
            wavetank_command("log", "state", path, "--at", str(scaled), "-o", "yaml").out
        )
    )
    table = wavetank_command("log", "state", path, "--kind", "Node").out
    diff = wavetank_command("log", "diff", path, str(scaled - 1), str(scaled)).out

    assert [str(scaled)] == [item["metadata"]["resourceVersion"] for item in listed["items"]]
    assert 3 == listed["items"][0]["spec"]["replicas"]
    assert listed["items"][0] in documents
    assert len(list(log.state(scaled).objects())) == len(documents)
    assert ["w-0", "w-1"] == [line.split()[1] for line in table.splitlines()[1:]]
    assert "--- deployments/default/web" in diff
    assert "-  replicas: 2" in diff
    assert "+  replicas: 3" in diff
    assert "" == wavetank_command("log", "diff", path, str(scaled), str(scaled)).out
    assert 0 == len(list(log.state(0).objects()))
    assert result.head == log.state().revision


def test_a_revision_that_has_not_happened(
    path: Path, result: Result[None], wavetank_command: Call
) -> None:
    outcome = wavetank_command("log", "state", path, "--at", "999999")

    assert (2, f"{path}: there is no revision 999999; the log ends at {result.head}") == (
        outcome.code,
        outcome.err,
    )


def test_an_unknown_kind(path: Path, wavetank_command: Call) -> None:
    """A kind that is not there is one line with the nearest one, and exit code 2."""
    outcome = wavetank_command("log", "show", path, "--kind", "Pood")

    assert (2, 'no matches for kind "Pood"; did you mean Pod (v1)?') == (outcome.code, outcome.err)


# -- damaged logs ----------------------------------------------------------------------------------


OTHERS = [("log", "show"), ("log", "state"), ("replay",)]


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_flipped_bit(part: float, copy: Path, wavetank_command: Call) -> None:
    """verify: exit 1 with segment, offset and what; the others: one line, exit 2."""
    file = segment(copy)
    data = bytearray(file.read_bytes())
    data[int(len(data) * part)] ^= 0x10
    file.write_bytes(data)
    verified = wavetank_command("log", "verify", copy)

    assert 1 == verified.code
    assert "" == verified.out
    assert f"{file.name} at offset " in verified.err
    assert "\n" not in verified.err.strip()
    for command in OTHERS:
        other = wavetank_command(*command, copy)
        assert 2 == other.code
        assert f"{copy}: {file.name} at offset " in other.err
        assert "\n" not in other.err.strip()


def test_a_truncated_log(copy: Path, wavetank_command: Call) -> None:
    """Cut off in the middle of a record: verify says where, exit 1; what is before can still be looked at."""
    file = segment(copy)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])
    verified = wavetank_command("log", "verify", copy)
    shown = wavetank_command("log", "show", copy)
    again = wavetank_command("replay", copy)

    assert 1 == verified.code
    assert f"{file.name} at offset " in verified.err
    assert "is cut off" in verified.err
    assert "\n" not in verified.err.strip()
    assert 0 == shown.code
    assert 50 < len(shown.out.splitlines())
    assert 1 == again.code
    assert again.out.startswith("diverged at revision ")
    assert "(no event)" in again.out


def test_an_empty_segment(copy: Path, wavetank_command: Call) -> None:
    """A segment without a header is damage that verify names, and every command refuses."""
    segment(copy).write_bytes(b"")
    verified = wavetank_command("log", "verify", copy)

    assert 1 == verified.code
    assert segment(copy).name in verified.err
    for command in OTHERS:
        assert 2 == wavetank_command(*command, copy).code


def test_a_log_of_a_future_version(copy: Path, wavetank_command: Call) -> None:
    file = segment(copy)
    data = file.read_bytes()
    file.write_bytes(data[:5] + b"999" + data[8:])
    verified = wavetank_command("log", "verify", copy)

    assert 1 == verified.code
    assert f"{file.name}: written in " in verified.err
    assert "use the version that wrote it" in verified.err
    for command in OTHERS:
        other = wavetank_command(*command, copy)
        assert (2, verified.err.strip()) == (other.code, other.err.strip())


def test_what_is_no_log(tmp_path: Path, wavetank_command: Call) -> None:
    (tmp_path / "file").write_text("hello")
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder"):
        outcome = wavetank_command("log", "show", tmp_path / name)
        assert 2 == outcome.code
        assert str(tmp_path / name) in outcome.err
        assert "\n" not in outcome.err.strip()


# -- comparing -------------------------------------------------------------------------------------


async def rewrite(log: Log, path: Path, change: Mapping[Revision, Event | None]) -> Log:
    """The log again, with some revisions' events replaced, or left out from the first None on."""
    times = iter([event.time_ns for event in log.events()])
    clock = {"now": 0}
    async with open_store(
        path,
        codec=ObjectCodec(default_scheme()),
        clock=lambda: clock["now"],
        durability=Durability.BUFFERED,
        header=dict(log.header),
    ) as store:
        for event in log.events():
            clock["now"] = next(times)
            written = change.get(event.revision, event)
            if written is None:
                break
            put = written.type is EventType.PUT
            operation = Put(written.key, written.value) if put else Delete(written.key)
            await store.txn(Txn(success=(operation,)), origin=written.origin)
    return open_log(path)


def test_the_first_edited_event_is_found(path: Path, tmp_path: Path) -> None:
    """Object, actor, causes and end: whatever is edited, its revision is named, and both versions are given."""
    log = open_log(path)
    events = {event.revision: event for event in log.events()}
    revision = next(r for r, e in events.items() if r > 60 and isinstance(e.value, Pod))
    event = events[revision]
    assert isinstance(event.value, Pod)
    status = attrs.evolve(event.value.status, message="edited")
    edits: dict[str, Event | None] = {
        "object": attrs.evolve(event, value=attrs.evolve(event.value, status=status)),
        "actor": attrs.evolve(event, origin=attrs.evolve(event.origin, actor="mallory")),
        "causes": attrs.evolve(
            event, origin=Origin(event.origin.actor, event.origin.reconcile, (2,))
        ),
        "end": None,
    }

    assert compare(log, trio.run(rewrite, log, tmp_path / "same.wtl", {})) is None
    for name, edit in edits.items():
        edited = trio.run(rewrite, log, tmp_path / f"{name}.wtl", {revision: edit})
        found = compare(edited, log)
        assert found is not None, name
        assert (revision, event) == (found.revision, found.executed), name
        assert (None if edit is None else edit.value) == (found.recorded and found.recorded.value)


def test_replay_of_an_edited_log_shows_both_versions(path: Path, tmp_path: Path) -> None:
    log = open_log(path)
    event = next(e for e in log.events() if e.revision == 90)
    edit = attrs.evolve(event, origin=attrs.evolve(event.origin, actor="mallory"))
    trio.run(rewrite, log, tmp_path / "edited.wtl", {event.revision: edit})
    outcome = replay(tmp_path / "edited.wtl")

    assert outcome.divergence is not None
    assert 90 == outcome.divergence.revision
    assert () == outcome.version_changes


def test_a_log_of_another_seed_diverges(path: Path, tmp_path: Path) -> None:
    experiment = load_experiment(write_small(tmp_path), seed=2)
    run_experiment(experiment, log=tmp_path / "other.wtl")
    log, other = open_log(path), open_log(tmp_path / "other.wtl")
    found = compare(log, other)
    pairs = zip(log.events(), other.events(), strict=False)
    first = next(one.revision for one, two in pairs if one != two)

    assert found is not None
    assert first == found.revision

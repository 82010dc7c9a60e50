"""Logs of which the oldest history was dropped: how that is asked for, and what the log commands and replay say of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
import trio

import wavetank
from engine import ConfigMap, ObjectCodec, ObjectMeta, default_scheme
from store import Delete, Durability, Event, EventType, Keep, Limits, Put, Txn, open_store
from tests.wavetank.conftest import Call
from tests.wavetank.contract import write_small
from wavetank import BadInput, Cluster
from wavetank.experiment.load import load_experiment
from wavetank.experiment.run import run_experiment
from wavetank.logs import Log, open_log
from wavetank.result import Result

KEPT = 20
SMALL = Limits(segment_bytes=10_000, snapshot_bytes=1)
"""So that a small log has segments to drop."""


async def rewrite(log: Log, path: Path, change: Mapping[int, Event]) -> None:
    """The log again, in small segments of which the oldest are dropped, with the events of some revisions replaced."""
    clock, leases = {"now": 0}, {0: None}
    async with open_store(
        path,
        codec=ObjectCodec(default_scheme()),
        clock=lambda: clock["now"],
        durability=Durability.NONE,
        header=dict(log.header),
        keep=Keep.revisions(KEPT),
        limits=SMALL,
    ) as store:
        for event in log.events():
            clock["now"] = event.time_ns
            written = change.get(event.revision, event)
            if written.lease not in leases:
                leases[written.lease] = None
                await store.lease_grant(10**6, id=written.lease)
            put = Put(written.key, written.value, lease=written.lease)
            operation = put if written.type is EventType.PUT else Delete(written.key)
            await store.txn(Txn(success=(operation,)), origin=written.origin)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result[None]]:
    """A run that was to keep 20 revisions, and that is too short for anything to be dropped."""
    folder = tmp_path_factory.mktemp("keep")
    path = folder / "whole.wtl"
    return path, run_experiment(load_experiment(write_small(folder)), log=path, keep=str(KEPT))


@pytest.fixture(scope="module")
def result(whole: tuple[Path, Result[None]]) -> Result[None]:
    return whole[1]


@pytest.fixture(scope="module")
def short(whole: tuple[Path, Result[None]]) -> Path:
    """The same log with its oldest segments dropped."""
    path = whole[0].parent / "short.wtl"
    trio.run(rewrite, open_log(whole[0]), path, {})
    assert 2 < open_log(path).oldest <= whole[1].head - KEPT
    return path


# -- asking ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["some", "0", "10 minutes", "-5", "3w", ""])
def test_a_policy_that_makes_no_sense(text: str, tmp_path: Path, wavetank_command: Call) -> None:
    """One line that names the option and what it takes; nothing is run."""
    log = tmp_path / "run.wtl"
    outcome = wavetank_command("run", write_small(tmp_path), "--log", log, "--keep", text)

    assert (2, "") == (outcome.code, outcome.out)
    assert outcome.err.startswith("--keep ")
    assert (
        "allowed: all, a number of revisions (10000), or a time (90s, 30m, 2h, 7d)" in outcome.err
    )
    assert "\n" not in outcome.err.strip()
    assert not log.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give --log PATH as well"),
        (("--store", "etcd://127.0.0.1:1"), "--auto-compaction-retention: leave --keep out"),
    ],
)
def test_a_policy_without_a_log_of_ours(
    options: tuple[str, ...], said: str, tmp_path: Path, wavetank_command: Call
) -> None:
    """A log in memory has nothing to drop, and etcd's history is etcd's own."""
    outcome = wavetank_command("run", write_small(tmp_path), "--keep", "10", *options)

    assert 2 == outcome.code
    assert outcome.err.endswith(said)


def test_the_library_refuses_likewise(tmp_path: Path) -> None:
    async def main(cluster: Cluster) -> None:
        raise AssertionError(cluster)

    with pytest.raises(BadInput, match="allowed: all"):
        wavetank.run(main, log=tmp_path / "run.wtl", keep="some")
    with pytest.raises(BadInput, match="give a log, or leave keep out"):
        wavetank.run(main, keep="10")


def test_the_header_says_what_is_kept(tmp_path: Path, wavetank_command: Call) -> None:
    """And only then: logs that keep all are as they were."""
    path, log = write_small(tmp_path), tmp_path / "run.wtl"
    options = ("--log", log, "--quiet", "--overwrite")

    for text, said in {"all": None, "2h": "7200s", "500": "500"}.items():
        assert 0 == wavetank_command("run", path, "--keep", text, *options).code
        assert said == open_log(log).header.get("keep")
        assert 0 == wavetank_command("replay", log).code


def test_a_run_bounds_its_log(tmp_path: Path) -> None:
    """With the limits as they are: 54 MB are written, and most of it is dropped; what the cluster was does not depend on it."""
    log = tmp_path / "run.wtl"

    async def main(cluster: Cluster) -> int:
        big = await cluster.client.create(
            ConfigMap(metadata=ObjectMeta(name="big", namespace="default"))
        )
        for number in range(60):
            data = {"it": chr(97 + number % 26) * 900_000}
            big = await cluster.client.update(attrs.evolve(big, data=data))
        return cluster.log.head

    result = wavetank.run(main, nodes=0, log=log, keep=Keep.revisions(5))
    opened = open_log(log)
    verified = opened.reader.verify()

    assert result.digest == wavetank.run(main, nodes=0).digest
    assert (result.events, result.head, result.digest) == (
        verified.events,
        verified.head,
        verified.digest,
    )
    assert result.head - 40 < opened.oldest <= result.head - 5
    assert sum(file.stat().st_size for file in log.iterdir()) < 38_000_000


# -- looking ---------------------------------------------------------------------------------------


def test_verify_says_from_where_it_has_checked(
    short: Path, result: Result[None], wavetank_command: Call
) -> None:
    outcome = wavetank_command("log", "verify", short)
    oldest = open_log(short).oldest

    assert (0, "") == (outcome.code, outcome.err)
    assert [
        f"ok events={result.events} head={result.head} digest={result.digest}",
        (
            f"checked from revision {oldest} on; what was before was not kept (--keep 20), and the digest covers it as far as "
            "its snapshot is believed"
        ),
    ] == outcome.out.splitlines()


def test_show_begins_with_the_oldest_kept(
    short: Path, whole: tuple[Path, Result[None]], wavetank_command: Call
) -> None:
    """All that is there, with a note; the note does not come where one asked for a revision that is there."""
    oldest = open_log(short).oldest
    everything = wavetank_command("log", "show", short, "-o", "json")
    asked = wavetank_command("log", "show", short, "-o", "json", "--from", str(oldest))
    expected = wavetank_command("log", "show", whole[0], "-o", "json", "--from", str(oldest))

    assert expected.out == everything.out == asked.out
    assert (
        f"note: {short} begins at revision {oldest}; what was before was not kept (--keep 20)\n"
        == everything.err
    )
    assert "" == asked.err


@pytest.mark.parametrize(
    "command",
    [
        ("log", "show", "LOG", "--from", "5"),
        ("log", "show", "LOG", "--to", "5"),
        ("log", "state", "LOG", "--at", "5"),
        ("log", "diff", "LOG", "5", "90"),
    ],
)
def test_a_revision_that_was_dropped(
    command: tuple[str, ...], short: Path, wavetank_command: Call
) -> None:
    """One line that names the oldest kept, and what to do."""
    outcome = wavetank_command(*(str(short) if part == "LOG" else part for part in command))
    oldest = open_log(short).oldest

    assert (2, "") == (outcome.code, outcome.out)
    assert (
        f"{short}: revision 5 was dropped (--keep 20); the oldest kept is {oldest}: ask for {oldest} or later, or "
        "record it again with a longer --keep"
    ) == outcome.err


def test_states_that_are_kept_are_the_same(
    short: Path, whole: tuple[Path, Result[None]], wavetank_command: Call
) -> None:
    """From the oldest kept to the head, of all kinds and of one; and so is what changed between them."""
    oldest, head = open_log(short).oldest, whole[1].head
    for options in (
        ("state", "--at", str(oldest)),
        ("state", "--at", str(head - 1), "--kind", "Pod"),
        ("state", "-o", "yaml"),
    ):
        name, *rest = options
        expected = wavetank_command("log", name, whole[0], *rest)
        found = wavetank_command("log", name, short, *rest)
        assert (0, expected.out) == (found.code, found.out)
    differs = [
        wavetank_command("log", "diff", path, str(oldest), str(head)) for path in (short, whole[0])
    ]

    assert differs[0].out == differs[1].out
    assert differs[0].out


# -- replaying -------------------------------------------------------------------------------------


def test_replay_compares_what_is_left_and_the_digest(
    short: Path, result: Result[None], wavetank_command: Call
) -> None:
    """The run is executed from the header; what was compared is said."""
    outcome = wavetank_command("replay", short)
    oldest = open_log(short).oldest

    assert (0, "") == (outcome.code, outcome.err)
    assert [
        f"ok events={result.events} digest={result.digest}",
        (
            f"compared: the events of revisions {oldest} to {result.head}, one by one; those before were not kept (--keep 20) "
            "and are compared by the digest over all events"
        ),
    ] == outcome.out.splitlines()


@pytest.mark.parametrize("kept", [True, False])
def test_replay_of_a_log_that_was_edited(
    kept: bool,
    short: Path,
    whole: tuple[Path, Result[None]],
    tmp_path: Path,
    wavetank_command: Call,
) -> None:
    """An event that is left is named; one that was dropped shows in the digest alone."""
    oldest = open_log(short).oldest
    at = oldest + 2 if kept else 9
    event = next(event for event in open_log(whole[0]).events() if event.revision == at)
    edited = attrs.evolve(event, origin=attrs.evolve(event.origin, actor="mallory"))
    path = tmp_path / "edited.wtl"
    trio.run(rewrite, open_log(whole[0]), path, {at: edited})
    outcome = wavetank_command("replay", path)
    compared, said, *rest = outcome.out.splitlines()

    assert 1 == outcome.code
    assert compared.startswith("compared: the events of revisions ")
    if kept:
        assert f"diverged at revision {at}" == said
        assert any("mallory" in line for line in rest)
    else:
        first = open_log(path).oldest
        assert (
            f"diverged before revision {first}, the oldest kept: from there on all events are equal"
            == said
        )
        assert [f"executed: digest={whole[1].digest}"] == rest[1:]


def test_the_library_reads_what_is_kept(short: Path, result: Result[None]) -> None:
    """`open_log` begins with the oldest kept, and its state at the head is of the head."""
    log = open_log(short)
    revisions = [event.revision for event in log.events()]

    assert list(range(log.oldest, result.head + 1)) == revisions
    assert result.head == log.state().revision
    assert str(KEPT) == log.header["keep"]

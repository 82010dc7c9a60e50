"""The hunt as its users call it: seeds, resumption, what a failure is made of, replay and shrinking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import distributed
import pytest

from engine import parse_schedule
from tests.wavetank.conftest import Call
from tests.wavetank.hunting.hunted import write_brittle, write_shop
from wavetank.experiment.load import load_experiment
from wavetank.faults.drawing import types_of
from wavetank.hunting.campaign import Campaign, Hunt, run_seeds
from wavetank.hunting.executors import InlineExecutor, open_executor
from wavetank.hunting.failure import read_failure

FAULTS = ("--faults", "node.crash,node.reboot", "--jobs", "1")


def test_a_sound_cluster_passes(wavetank_command: Call, tmp_path: Path) -> None:
    report = tmp_path / "report"
    called = wavetank_command(
        "hunt", write_shop(tmp_path), "--seeds", "0..5", *FAULTS, "--report", report
    )
    assert called.code == 0
    assert "6 seeds, 0 failed" in called.out
    assert len((report / "done.jsonl").read_text().splitlines()) == 6


@pytest.fixture
def failed(wavetank_command: Call, tmp_path: Path) -> Path:
    """A failure of the brittle operator."""
    report = tmp_path / "report"
    called = wavetank_command(
        "hunt", write_brittle(tmp_path), "--seeds", "0..9", *FAULTS, "--report", report, "--json",
        "--until-failures", "1",
    )  # fmt: skip
    assert called.code == 1
    found = json.loads(called.out)
    assert found["failures"][0]["findings"][0]["name"] == "brittle"
    assert found["coverage"]["unreached_probes"] == ["a Deployment that is gone"]
    return Path(found["failures"][0]["path"])


def test_a_failure_replays(failed: Path) -> None:
    """Here, and in a process of its own by the test that was written."""
    failure = read_failure(failed)
    again = failure.rerun()
    assert again.digest == failure.digest
    assert again.findings == failure.findings
    replayed = subprocess.run(  # noqa: S603 - our own program, in a process of its own
        [Path(sys.executable).parent / "wavetank", "replay", failed / "log.wtl"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "random"},
    )  # fmt: skip
    assert replayed.stdout.startswith("ok ")
    assert failure.digest in replayed.stdout
    tape = parse_schedule((failed / "schedule.txt").read_text().strip())
    taped = attrs.evolve(failure, trial=attrs.evolve(failure.trial, schedule=tape)).rerun()
    assert taped.digest == failure.digest
    summary = (failed / "summary.md").read_text()
    assert "# raised brittle" in summary
    assert "node." in summary
    test = subprocess.run(  # noqa: S603 - our own test
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", failed / "test_failure.py"],
        capture_output=True, text=True, check=False, cwd=failed,
    )  # fmt: skip
    assert test.returncode == 1, test.stdout + test.stderr
    assert "replicas are lacking" in test.stdout


def test_a_failure_is_shrunk(wavetank_command: Call, failed: Path) -> None:
    """One fault is left, one pod on one node of each group, no ConfigMap, and canonical order."""
    called = wavetank_command("shrink", failed, "--json")
    assert called.code == 0
    shrunk = json.loads(called.out)
    assert shrunk["complete"]
    assert len(shrunk["plan"]) == 1
    assert shrunk["deviations"] == 0
    small = read_failure(Path(shrunk["path"]))
    assert small.signature == ("raised", "brittle")
    experiment = small.assembly().experiment
    assert len(experiment.nodes) == 1
    assert experiment.steady_state == ()
    text = experiment.files.texts["web.yaml"]
    assert "ConfigMap" not in text
    assert "replicas: 1" in text
    replayed = wavetank_command("replay", small.folder / "log.wtl")
    assert (replayed.code, small.digest in replayed.out) == (0, True)


def test_what_does_not_fail_cannot_be_shrunk(wavetank_command: Call, failed: Path) -> None:
    operator = failed / "experiment" / "brittle.py"
    operator.write_text(operator.read_text().replace("raise RuntimeError", "print"))
    called = wavetank_command("shrink", failed)
    assert called.code == 2
    assert "does not happen again" in called.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--seeds", "9..0"), "--seeds '9..0'; allowed: FIRST..LAST"),
        (("--faults", "nodes"), "--faults: unknown 'nodes'; allowed: node"),
        (("--schedule", "fifo"), "--schedule: "),
        (("--horizon", "long"), "'long'"),
        (("--executor", "http://x"), "--executor 'http://x'; allowed: dask://HOST:PORT"),
    ],
)
def test_bad_options_are_one_line(
    wavetank_command: Call, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    called = wavetank_command(
        "hunt", write_shop(tmp_path), "--report", tmp_path / "report", *arguments
    )
    assert called.code == 2
    assert said in called.err
    assert "\n" not in called.err.strip()


def test_a_hunt_goes_on_where_it_was(wavetank_command: Call, tmp_path: Path) -> None:
    """What is done is not done again; another hunt is not mixed with it."""
    path, report = write_shop(tmp_path), tmp_path / "report"
    hunt = ("hunt", path, *FAULTS, "--report", report)
    assert wavetank_command(*hunt, "--seeds", "0..3").code == 0
    done = (report / "done.jsonl").read_text()
    with (report / "done.jsonl").open("a") as file:
        file.write('{"seed": 99, "dig')  # a process that was killed
    assert wavetank_command(*hunt, "--seeds", "0..3").code == 0
    assert (report / "done.jsonl").read_text().startswith(done)
    called = wavetank_command(*hunt, "--seeds", "0..3", "--most", "2")
    assert (called.code, "another hunt lies here" in called.err) == (2, True)


def hunt_of(path: Path) -> Hunt:
    names = tuple(kind.name for kind in types_of(["node.crash", "node.reboot"]))
    return Hunt.of(load_experiment(path), faults=names, horizon=60.0, most=2)


def digests(campaign: Campaign) -> dict[int, str]:
    return {seed: done.digest for seed, done in sorted(campaign.done.items())}


def test_who_runs_the_trials_does_not_matter(tmp_path: Path) -> None:
    """This process, others, and the workers of a Dask cluster come to the same digests, of failures too."""
    hunt = hunt_of(write_brittle(tmp_path))
    seeds = range(10)
    inline = Campaign(hunt, tmp_path / "inline")
    inline.open()
    failures = inline.run(seeds, InlineExecutor(), parallel=1)
    assert 0 < len(failures) < len(seeds)
    with open_executor(2) as (pool, parallel):
        processes = Campaign(hunt, tmp_path / "processes")
        processes.open()
        processes.run(seeds, pool, parallel=parallel)
    assert digests(processes) == digests(inline)
    with dask_cluster(tmp_path) as address, open_executor(1, address) as (workers, parallel):
        assert parallel == 2
        dask = Campaign(hunt, tmp_path / "dask")
        dask.open()
        dask.run(seeds, workers, parallel=parallel)
    assert digests(dask) == digests(inline)
    assert [each.digest for each in run_seeds(hunt, [7])] == [digests(inline)[7]]


class dask_cluster:  # noqa: N801 - a context manager
    """A real Dask scheduler and two workers, on loopback, as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> str:
        bin_ = Path(sys.executable).parent
        told = self._folder / "scheduler.json"
        self._start(
            bin_ / "dask", "scheduler", "--host", "127.0.0.1", "--port", "0",
            "--no-dashboard", "--scheduler-file", told,
        )  # fmt: skip
        for _ in range(2):
            self._start(
                bin_ / "dask", "worker", "--scheduler-file", told, "--nthreads", "1",
                "--host", "127.0.0.1", "--no-dashboard", "--no-nanny",
                "--local-directory", self._folder / "dask",
            )  # fmt: skip
        with distributed.Client(scheduler_file=str(told), timeout="60s") as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        return f"dask://{address.removeprefix('tcp://')}"

    def _start(self, *command: str | Path) -> None:
        self._processes.append(
            subprocess.Popen(  # noqa: S603 - our own programs
                [str(each) for each in command],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=Path(__file__).parents[3],
                env={**os.environ, "PYTHONPATH": "."},
            )
        )

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.kill()  # a worker that is asked to end takes its time
        for process in self._processes:
            process.wait()


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_done(tmp_path: Path, ends: signal.Signals) -> None:
    """The interrupted command ends with 130, without a traceback and with its workers, and the next one goes on. So does a terminated one."""
    path, report = write_shop(tmp_path), tmp_path / "report"
    command = [
        str(Path(sys.executable).parent / "wavetank"), "hunt", str(path), "--seeds", "0..100000",
        "--faults", "node.crash", "--jobs", "2", "--report", str(report),
    ]  # fmt: skip
    process = subprocess.Popen(  # noqa: S603 - likewise
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    for _ in lines_of(report / "done.jsonl", process):
        break
    process.send_signal(ends)
    out, err = (
        process.communicate()
    )  # which waits for the workers as well: they have the same pipes
    assert process.returncode == 130, out + err
    assert b"Traceback" not in err
    assert b"goes on at" in err
    campaign = Campaign(hunt_of(path), report)
    assert json.loads((report / "hunt.json").read_text())["name"] == campaign.hunt.name


def lines_of(path: Path, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines of a file that a process writes, as they come."""
    while process.poll() is None:
        if path.exists() and (text := path.read_text()):
            yield from text.splitlines()
    raise AssertionError(f"it ended by itself: {process.communicate()}")

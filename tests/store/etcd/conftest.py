"""One etcd for all tests of a process that only need some etcd; see process.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from store.etcd_wire import Wire
from tests.store.etcd.judge import Judge
from tests.store.etcd.pair import TextCodec
from tests.store.etcd.process import EtcdProcess, require_etcd, running_etcd


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    require_etcd()
    arguments = ["--experimental-watch-progress-notify-interval=1s"]
    with running_etcd(tmp_path_factory.mktemp("etcd"), arguments) as running:
        yield running


@pytest.fixture
def judge(etcd: EtcdProcess) -> Iterator[Judge]:
    """A client of it, with the key space empty."""
    judge = Judge(Wire(TextCodec(), above_text=True), etcd.client_port)
    judge.clear()
    yield judge
    judge.close()

"""New etcds for all tests that need one at revision 1."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.etcd.process import EtcdPool, require_etcd


@pytest.fixture(scope="session")
def etcd_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdPool]:
    require_etcd()
    pool = EtcdPool(tmp_path_factory.mktemp("etcds"))
    yield pool
    pool.close()

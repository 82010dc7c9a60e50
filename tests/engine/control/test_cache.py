"""The cache and its indexes, by random walks against a plain dictionary."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine import Cache, ConfigMap, Key, ObjectMeta, index_by_namespace

NAMES = st.sampled_from(["a", "b", "c"])
SPACES = st.sampled_from(["x", "y"])
TAGS = st.frozensets(st.sampled_from(["red", "green", "blue"]), max_size=3).map(sorted)


def tagged(obj: ConfigMap) -> list[str]:
    return [tag for tag in obj.data.get("tags", "").split(",") if tag]


class CacheMachine(RuleBasedStateMachine):
    """Puts and removals in any order; an index added at any time: all reads equal a scan of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: Cache[ConfigMap] = Cache()
        self.cache.add_index("namespace", index_by_namespace)
        self.model: dict[Key, ConfigMap] = {}
        self.indexed = False

    @rule(name=NAMES, namespace=SPACES, tags=TAGS)
    def put(self, name: str, namespace: str, tags: list[str]) -> None:
        obj = ConfigMap(
            metadata=ObjectMeta(name=name, namespace=namespace), data={"tags": ",".join(tags)}
        )
        assert self.cache.put(obj) is self.model.get(Key(namespace, name))
        self.model[Key(namespace, name)] = obj

    @rule(name=NAMES, namespace=SPACES)
    def remove(self, name: str, namespace: str) -> None:
        assert self.cache.remove(Key(namespace, name)) is self.model.pop(Key(namespace, name), None)

    @rule()
    def add_index(self) -> None:
        if self.indexed:
            with pytest.raises(ValueError, match="exists already"):
                self.cache.add_index("tags", tagged)
        else:
            self.cache.add_index("tags", tagged)
            self.indexed = True

    @invariant()
    def reads_equal_a_scan(self) -> None:
        self.cache.check()
        objects = [self.model[key] for key in sorted(self.model)]
        assert objects == self.cache.list()
        assert len(objects) == len(self.cache)
        for namespace in ("x", "y"):
            expected = [obj for obj in objects if obj.metadata.namespace == namespace]
            assert expected == self.cache.list(namespace)
            assert expected == self.cache.by_index("namespace", namespace)
        if self.indexed:
            for tag in ("red", "green", "blue"):
                expected = [obj for obj in objects if tag in tagged(obj)]
                assert expected == self.cache.by_index("tags", tag)
                assert len(expected) == self.cache.count_index("tags", tag)


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)

"""The watch cache against a model that looks at every change for every watcher."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.api.errors import Gone
from engine.api.request import WatchEvent
from engine.api.storage import Stored
from engine.api.watchcache import KindCache, Watcher, plan_watcher
from engine.objects.kinds import POD
from engine.objects.meta import KubeObject, ObjectMeta
from engine.objects.pod import Pod, PodSpec
from engine.objects.selectors import FieldSelector, Selector, parse_label_selector

WINDOW = 6
NAMES = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.sampled_from(["x", "y"])
NODES = st.sampled_from(["", "n1", "n2"])
LABELS = st.sampled_from([{}, {"app": "web"}, {"app": "db"}])
LABEL_SELECTORS = st.sampled_from(["", "app=web", "app", "!app"])
FIELD_SELECTORS = st.sampled_from(
    [
        "",
        "spec.nodeName=n1",
        "spec.nodeName=",
        "spec.nodeName!=n1",
        "metadata.name=a",
        "metadata.name=a,spec.nodeName=n1",
        "metadata.namespace=x,spec.nodeName=n2",
    ]
)


@attrs.define
class Followed:
    """A watcher, its selectors, and the events that the model expects it to have been given."""

    watcher: Watcher
    namespace: str
    labels: Selector
    fields: FieldSelector
    expected: list[tuple[str, str, int]] = attrs.field(factory=list)
    seen: list[tuple[str, str, int]] = attrs.field(factory=list)

    def matches(self, obj: KubeObject | None) -> bool:
        if obj is None or (self.namespace and obj.metadata.namespace != self.namespace):
            return False
        return self.labels.matches(obj.metadata.labels) and POD.matches_fields(self.fields, obj)

    def expect(self, revision: int, old: KubeObject | None, new: KubeObject | None) -> None:
        before, after = self.matches(old), self.matches(new)
        obj = new if after else old
        if before or after:
            assert obj is not None
            verb = ("MODIFIED" if after else "DELETED") if before else "ADDED"
            key = f"{obj.metadata.namespace}/{obj.metadata.name}"
            self.expected.append((verb, key, revision))


class WatchCacheMachine(RuleBasedStateMachine):
    """Objects come, change and go; watchers open from anywhere, read when they like and leave."""

    def __init__(self) -> None:
        super().__init__()
        self.revision = 1
        self.kind = KindCache(POD, WINDOW, self.revision)
        self.objects: dict[str, Pod] = {}
        self.history: list[tuple[int, KubeObject | None, KubeObject | None]] = []
        self.followed: dict[int, Followed] = {}
        self.serial = 0

    def _note(self, old: Pod | None, new: Pod | None, woken: list[Watcher]) -> None:
        self.history.append((self.revision, old, new))
        idle = [f for f in self.followed.values() if len(f.expected) == len(f.seen)]
        for followed in self.followed.values():
            followed.expect(self.revision, old, new)
        told = [f.watcher for f in idle if len(f.expected) > len(f.seen)]
        assert {id(w) for w in woken} == {id(w) for w in told}

    @rule(namespace=NAMESPACES, name=NAMES, node=NODES, labels=LABELS)
    def put(self, namespace: str, name: str, node: str, labels: dict[str, str]) -> None:
        self.revision += 1
        pod = Pod(
            metadata=ObjectMeta(name=name, namespace=namespace, labels=labels),
            spec=PodSpec(node_name=node),
        )
        key = POD.storage_key(namespace, name)
        woken: list[Watcher] = []
        self.kind.put(key, Stored(pod, self.revision), woken)
        old = self.objects.get(key)
        self.objects[key] = pod
        self._note(old, pod, woken)

    @precondition(lambda self: self.objects)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.objects)))
        self.revision += 1
        woken: list[Watcher] = []
        self.kind.remove(key, self.revision, woken)
        self._note(self.objects.pop(key), None, woken)

    @rule(
        namespace=st.sampled_from(["", "x"]),
        labels=LABEL_SELECTORS,
        fields=FIELD_SELECTORS,
        back=st.none() | st.integers(0, WINDOW + 2),
    )
    def open(self, namespace: str, labels: str, fields: str, back: int | None) -> None:
        """From the state (`back` None), or from `back` changes ago."""
        label_selector, field_selector = parse_label_selector(labels), POD.field_selector(fields)
        start = None if back is None else max(self.revision - back, 1)
        watcher = plan_watcher(
            POD, namespace, label_selector, field_selector, after=start or 0, limit=10_000
        )
        followed = Followed(watcher, namespace, label_selector, field_selector)
        if start is not None and start < self.kind.floor:
            with pytest.raises(Gone):
                self.kind.fill(watcher, start)
            return
        self.kind.fill(watcher, start)
        if start is None:
            revisions = {k: e.revision for k, e in self.kind.entries(POD.storage_prefix)}
            for key in sorted(self.objects):
                followed.expect(revisions[key], None, self.objects[key])
        else:
            for revision, old, new in self.history:
                if revision > start:
                    followed.expect(revision, old, new)
        self.serial += 1
        self.kind.add(self.serial, watcher)
        self.followed[self.serial] = followed

    @precondition(lambda self: self.followed)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        followed = self.followed[data.draw(st.sampled_from(list(self.followed)))]
        followed.seen += [_shown(event) for event in followed.watcher.take()]
        assert followed.seen == followed.expected

    @precondition(lambda self: self.followed)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        serial = data.draw(st.sampled_from(list(self.followed)))
        self.kind.discard(serial, self.followed.pop(serial).watcher)

    @invariant()
    def sound(self) -> None:
        """The structure's own check; the objects; the floor is the newest change that was dropped."""
        self.kind.check()
        assert len(self.kind) == len(self.objects)
        assert [key for key, _ in self.kind.entries(POD.storage_prefix)] == sorted(self.objects)
        dropped = [revision for revision, _, _ in self.history[:-WINDOW]]
        assert self.kind.floor == (dropped[-1] if dropped else 1)
        assert self.kind.statistics().watchers == len(self.followed)


def test_an_object_is_shown_as_one_and_kept_for_who_watches() -> None:
    """With its resourceVersion, made when the first asks; while nobody watches the kind it is not kept."""
    kind = KindCache(POD, WINDOW, 1)
    key = POD.storage_key("x", "a")
    pod = Pod(metadata=ObjectMeta(name="a", namespace="x"))
    unwatched = Stored(pod, 2)
    before = unwatched.object
    kind.put(key, unwatched, [])
    assert before is not unwatched.object
    assert before == unwatched.object
    kind.add(
        1, plan_watcher(POD, "", parse_label_selector(""), POD.field_selector(""), after=0, limit=9)
    )
    watched = Stored(pod, 3)
    kind.put(key, watched, [])
    (watcher,) = kind.watchers()
    (event,) = watcher.take()
    assert event.object is watched.object
    assert event.object.metadata.resource_version == "3"


def _shown(event: WatchEvent) -> tuple[str, str, int]:
    assert event.object is not None
    metadata = event.object.metadata
    assert metadata.resource_version == str(event.revision)
    return event.type.value, f"{metadata.namespace}/{metadata.name}", event.revision


TestWatchCache = WatchCacheMachine.TestCase
TestWatchCache.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

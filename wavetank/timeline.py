"""The timeline: the log told as a story, one line for what happened together.

`Narrator` is shown every event and says what is worth telling: time, revision, what happened, and why. Changes of the same
sort at the same instant become one line ("5 pods of node a-1 are not ready"). Heartbeats, bookkeeping and
the like are left out: they are in the log.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from engine import (
    Condition,
    Deployment,
    Event,
    Fault,
    KubeObject,
    Namespace,
    Node,
    Pod,
    condition_of,
    is_ready,
)
from store import Event as LogEvent
from store import EventType
from wavetank.view import DeploymentView, View

REMEMBERED: Final = 20_000
"""Revisions whose story is kept to explain later ones."""
NAMED: Final = 3
"""Objects named in one line; of more, the number is told."""


@attrs.frozen(kw_only=True)
class Line:
    """One line of the story. `mood` is good, bad, fault or plain."""

    seconds: float
    revision: int
    what: str
    why: str
    mood: str = "plain"


@attrs.frozen
class _Remark:
    """What one event has to say. Remarks of equal subject and verb at the same time become one line, of all names."""

    subject: str
    singular: str
    plural: str
    name: str
    mood: str = "plain"
    detail: str = ""
    """What is said of this one object alone, such as `on a-1`."""

    @property
    def alone(self) -> str:
        """The sentence of this object alone."""
        detail = f" {self.detail}" if self.detail else ""
        return f"{self.subject} {self.name} {self.singular}{detail}"


@attrs.define
class _Group:
    revision: int
    remarks: list[_Remark]
    actor: str
    reason: str

    def sentence(self) -> str:
        first = self.remarks[0]
        if len(self.remarks) == 1:
            return first.alone
        named = [f"{each.name} {each.detail}".rstrip() for each in self.remarks[:NAMED]]
        rest = len(self.remarks) - NAMED
        more = f" and {rest} more" if rest > 0 else ""
        return f"{len(self.remarks)} {first.subject}s {first.plural}: {', '.join(named)}{more}"


@attrs.define(eq=False)
class Narrator:
    """See the module's text. Lines go to `tell` as soon as time has moved on; `flush` tells the rest."""

    tell: Callable[[Line], None]
    _groups: dict[tuple[str, str], _Group] = attrs.field(factory=dict, init=False)
    _told: OrderedDict[int, str] = attrs.field(factory=OrderedDict, init=False)
    """By revision, what was told of it; of one that is not told itself, what was told of its cause."""
    _were_ready: dict[str, None] = attrs.field(factory=dict, init=False)
    """The uids of the pods that have been ready."""
    _now: float = attrs.field(default=0.0, init=False)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        del view
        seconds = event.time_ns / 1e9
        if seconds > self._now:
            self.flush()
            self._now = seconds
        reason = self._reason(event)
        remarks = [remark for remark in _remarks(event, old) if not self._is_noise(event)]
        for remark in remarks:
            self._add(remark, event, reason)
        if remarks:
            self._remember(event.revision, f"{remarks[-1].alone} (r{event.revision})")
        elif reason:
            self._remember(event.revision, reason)
        self._note_pod(event, old)

    def _add(self, remark: _Remark, event: LogEvent, reason: str) -> None:
        group = self._groups.get((remark.subject, remark.plural))
        if group is None:
            told = reason or _root(event)
            group = _Group(event.revision, [], event.origin.actor, told)
            self._groups[remark.subject, remark.plural] = group
        elif group.actor != event.origin.actor:
            # Several kubelets did the same: the line names what they are, and no longer which one.
            group.actor = f"{event.origin.actor.partition('/')[0]}s"
            group.reason = ""
        group.remarks.append(remark)

    def flush(self) -> None:
        """Tell what has gathered."""
        groups = list(self._groups.values())
        self._groups.clear()
        for group in groups:
            self.tell(
                Line(
                    seconds=self._now,
                    revision=group.revision,
                    what=group.sentence(),
                    why=": ".join(part for part in (group.actor, group.reason) if part),
                    mood=group.remarks[0].mood,
                )
            )

    def _remember(self, revision: int, text: str) -> None:
        self._told[revision] = text
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def _reason(self, event: LogEvent) -> str:
        """What was told of the newest of the event's causes that has a story."""
        told = (
            self._told.get(cause)
            for cause in reversed(event.origin.causes)
            if isinstance(cause, int)
        )
        return next((text for text in told if text), "")

    def _note_pod(self, event: LogEvent, old: KubeObject | None) -> None:
        pod = event.value
        if isinstance(pod, Pod) and is_ready(pod):
            self._were_ready[pod.metadata.uid] = None
        elif pod is None and isinstance(old, Pod):
            self._were_ready.pop(old.metadata.uid, None)

    def _is_noise(self, event: LogEvent) -> bool:
        """A pod that starts fails its readiness and startup probes until it is up: that is no news."""
        said = event.value
        return (
            isinstance(said, Event)
            and said.reason == "Unhealthy"
            and said.message.startswith(("Readiness", "Startup"))
            and said.involved_object.uid not in self._were_ready
        )


def _root(event: LogEvent) -> str:
    """The newest cause of an event that is no revision: `timer node-monitor`."""
    for cause in reversed(event.origin.causes):
        if isinstance(cause, str) and ":" in cause:
            kind, _, name = cause.partition(":")
            return f"{kind} {name}"
    return ""


def _remarks(event: LogEvent, old: KubeObject | None) -> Iterator[_Remark]:
    new = event.value if event.type is EventType.PUT else None
    obj = new if new is not None else old
    match obj:
        case Pod():
            yield from _pod(obj, old if isinstance(old, Pod) else None, gone=new is None)
        case Node():
            yield from _node(obj, old if isinstance(old, Node) else None, gone=new is None)
        case Deployment():
            previous = old if isinstance(old, Deployment) else None
            yield from _deployment(obj, previous, gone=new is None)
        case Fault() if old is None:
            name = f"{obj.spec.kind} {obj.spec.target}"
            yield _Remark("FAULT", "strikes", "strike", name, "fault")
        case Namespace() if new is None:
            yield _Remark("namespace", "is gone", "are gone", obj.metadata.name)
        case Event() if obj.type == "Warning" and obj.reason not in _TOLD_OTHERWISE:
            about = obj.involved_object
            text = f"{obj.reason}: {obj.message}"
            if old is None:
                yield _Remark(about.kind.lower(), text, text, about.name, "bad")
        case _:
            return


_TOLD_OTHERWISE: Final = ("NodeNotReady",)
"""Reasons of Warnings whose matter the objects themselves tell."""


def _pod(pod: Pod, old: Pod | None, *, gone: bool) -> Iterator[_Remark]:
    name = pod.metadata.name
    if gone:
        yield _Remark("pod", "is gone", "are gone", name)
        return
    if old is None:
        yield _Remark("pod", "is created", "are created", name)
        return
    if pod.spec.node_name and not old.spec.node_name:
        yield _Remark("pod", "is bound", "are bound", name, detail=f"to {pod.spec.node_name}")
    if pod.metadata.deletion_timestamp is not None and old.metadata.deletion_timestamp is None:
        where = f" on {pod.spec.node_name}" if pod.spec.node_name else ""
        yield _Remark("pod", f"is to be deleted{where}", f"are to be deleted{where}", name, "bad")
        return
    if pod.status.phase != old.status.phase and pod.status.phase in ("Succeeded", "Failed"):
        what = pod.status.phase.lower()
        mood = "bad" if what == "failed" else "good"
        yield _Remark("pod", what, what, name, mood)
    if is_ready(pod) != is_ready(old):
        on = f"on {pod.spec.node_name}"
        if is_ready(pod):
            yield _Remark("pod", "is ready", "are ready", name, "good", on)
        else:
            yield _Remark("pod", f"is not ready {on}", f"are not ready {on}", name, "bad")


def _node(node: Node, old: Node | None, *, gone: bool) -> Iterator[_Remark]:
    name = node.metadata.name
    if gone:
        yield _Remark("node", "is gone", "are gone", name, "bad")
        return
    before = _ready(old)
    after = _ready(node)
    if old is None:
        yield _Remark("node", "joins", "join", name)
    elif after is not None and (before is None or before.status != after.status):
        mood = "good" if after.status == "True" else "bad"
        text = f"Ready={after.status}: {after.message}"
        yield _Remark("node", f"is {text}", f"are {text}", name, mood)
    if old is None:
        return
    had = [_taint(taint.key, taint.effect) for taint in old.spec.taints]
    has = [_taint(taint.key, taint.effect) for taint in node.spec.taints]
    for taint in has:
        if taint not in had:
            yield _Remark("node", f"is tainted {taint}", f"are tainted {taint}", name, "bad")
    for taint in had:
        if taint not in has:
            text = f"no longer tainted {taint}"
            yield _Remark("node", f"is {text}", f"are {text}", name, "good")


def _taint(key: str, effect: str) -> str:
    return f"{key.rsplit('/', 1)[-1]}:{effect}"


def _ready(node: Node | None) -> Condition | None:
    return condition_of(node.status.conditions, "Ready") if node is not None else None


def _deployment(obj: Deployment, old: Deployment | None, *, gone: bool) -> Iterator[_Remark]:
    name = obj.metadata.name
    if gone:
        yield _Remark("deployment", "is gone", "are gone", name)
        return
    if old is None:
        yield _Remark("deployment", "is created", "are created", name)
        return
    view, before = DeploymentView(obj), DeploymentView(old)
    if view.desired != before.desired:
        text = f"scaled from {before.desired} to {view.desired}"
        yield _Remark("deployment", f"is {text}", f"are {text}", name)
    elif obj.spec != old.spec:
        yield _Remark("deployment", "has a new spec", "have a new spec", name)
    available, was = obj.status.available_replicas, old.status.available_replicas
    if available != was:
        mood = "good" if available >= view.desired else "bad"
        text = f"{available} of {view.desired} available"
        yield _Remark("deployment", f"has {text}", f"have {text}", name, mood)

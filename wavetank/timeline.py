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
from store import Cause, EventType
from store import Event as LogEvent
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
    """What one event has to say: `{}` in `text` takes the names of all objects that say the same at the same time."""

    subject: str
    singular: str
    plural: str
    name: str
    mood: str = "plain"


@attrs.define
class _Group:
    seconds: float
    revision: int
    remark: _Remark
    why: str
    names: list[str]


@attrs.define(eq=False)
class Narrator:
    """See the module's text. Lines go to `tell` as soon as time has moved on; `flush` tells the rest."""

    tell: Callable[[Line], None]
    _groups: OrderedDict[tuple[str, str, str], _Group] = attrs.field(
        factory=OrderedDict, init=False
    )
    _told: OrderedDict[int, str] = attrs.field(factory=OrderedDict, init=False)
    _now: float = attrs.field(default=0.0, init=False)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        del view
        seconds = event.time_ns / 1e9
        if seconds > self._now:
            self.flush()
            self._now = seconds
        for remark in _remarks(event, old):
            why = self._why(event)
            key = (remark.subject, remark.singular, event.origin.actor)
            group = self._groups.get(key)
            if group is None:
                self._groups[key] = _Group(seconds, event.revision, remark, why, [remark.name])
            else:
                group.names.append(remark.name)
            self._remember(event.revision, f"{remark.subject} {remark.name} {remark.singular}")

    def flush(self) -> None:
        """Tell what has gathered."""
        groups = list(self._groups.values())
        self._groups.clear()
        for group in groups:
            self.tell(
                Line(
                    seconds=group.seconds,
                    revision=group.revision,
                    what=_sentence(group),
                    why=group.why,
                    mood=group.remark.mood,
                )
            )

    def _remember(self, revision: int, text: str) -> None:
        self._told[revision] = text
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def _why(self, event: LogEvent) -> str:
        """The actor, and the newest of its causes that can be told."""
        actor = event.origin.actor
        causes = event.origin.causes
        for cause in reversed(causes):
            told = self._tell_cause(cause)
            if told:
                return f"{actor}: {told}"
        return actor

    def _tell_cause(self, cause: Cause) -> str:
        if isinstance(cause, int):
            told = self._told.get(cause)
            return f"{told} (r{cause})" if told else ""
        kind, _, name = cause.partition(":")
        return f"{kind} {name}" if name else ""


def _sentence(group: _Group) -> str:
    names, remark = group.names, group.remark
    if len(names) == 1:
        return f"{remark.subject} {names[0]} {remark.singular}"
    shown = ", ".join(names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} {remark.subject}s {remark.plural}: {shown}{more}"


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
        where = f"bound to {pod.spec.node_name}"
        yield _Remark("pod", f"is {where}", f"are {where}", name)
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
            yield _Remark("pod", f"is ready {on}", f"are ready {on}", name, "good")
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
        yield _Remark("node", text, text, name, mood)
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
        text = f"is scaled from {before.desired} to {view.desired}"
        yield _Remark("deployment", text, text, name)
    elif obj.spec != old.spec:
        yield _Remark("deployment", "has a new spec", "have a new spec", name)
    available, was = obj.status.available_replicas, old.status.available_replicas
    if available != was:
        full = available >= view.desired
        text = f"has {available} of {view.desired} available"
        yield _Remark("deployment", text, text, name, "good" if full else "bad")

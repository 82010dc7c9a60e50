"""Reads the recorded node failure, and turns it and a run of ours into the same facts.

A *fact* says what changed, with names replaced by roles ("an old pod of web", "its replacement"), so that it can be compared between
two clusters that scheduled differently. Each fact is kept with the times of its first and last occurrence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from engine import Deployment, Event, KubeObject, Node, Pod, condition_of
from store import Event as LogEvent
from store import EventType
from wavetank.view import View

RECORDING: Final = Path(__file__).parents[3] / "shared/data/real-node-failure.txt"
NODE: Final = "fake-0"
_LINE: Final = re.compile(r"\s*(\d+\.\d\d)  (NODE|POD|EVENT|WORKLOAD) (.*)")
_ON_NODE: Final = re.compile(r"^pods on fake-0 (\[.*\])$", re.MULTILINE)

Fact = tuple[object, ...]


@attrs.define
class Facts:
    """The facts of one node failure. Times are seconds since the last renewal of the node's Lease."""

    on_node: tuple[str, ...]
    """The pods that ran on the node."""
    times: dict[Fact, tuple[float, float]] = attrs.field(factory=dict, init=False)
    pods: dict[str, dict[Fact, float]] = attrs.field(factory=dict, init=False)
    """The facts of each pod of the node, by its name, with the time of the first occurrence."""

    def add(self, seconds: float, fact: Fact) -> None:
        first, _ = self.times.get(fact, (seconds, seconds))
        self.times[fact] = first, seconds

    def workload(self, pod: str) -> str:
        return pod.partition("-")[0]

    def role(self, pod: str) -> str:
        return f"{'old' if pod in self.on_node else 'new'} {self.workload(pod)}"

    def counted(self, workload: str) -> int:
        return sum(self.workload(pod) == workload for pod in self.on_node)

    def node(self, seconds: float, conditions: Sequence[Fact], taints: Sequence[Fact]) -> None:
        self.add(seconds, ("node", tuple(sorted(conditions)), tuple(taints)))

    def pod(self, seconds: float, name: str, fact: Fact) -> None:
        self.add(seconds, ("pod", self.role(name), *fact))
        if name in self.on_node:
            self.pods.setdefault(name, {}).setdefault(fact, seconds)

    def event(  # noqa: PLR0917 - the fields of an Event
        self, seconds: float, kind: str, reason: str, about: str, message: str, source: str
    ) -> None:
        """`about` is Kind/name."""
        about_kind, _, name = about.partition("/")
        pods = [*self.on_node, *re.findall(r"\b(?:web|fast)-\w+-\w+", f"{name} {message}")]
        message = re.sub(r"to fake-\d$", "to NODE", message)
        for pod in sorted(pods, key=len, reverse=True):
            message = re.sub(rf"\b{pod}\b", self.role(pod), message)
        role = self.role(name) if about_kind == "Pod" else self.workload(name)
        if about_kind == "Node":
            role = name
        self.add(seconds, ("event", kind, reason, about_kind, role, message, source))

    def deployment(self, seconds: float, name: str, conditions: Sequence[Fact], ready: int) -> None:
        named = [
            (kind, status, reason, re.sub(r'"[\w-]+"', "NAME", str(message)))
            for kind, status, reason, message in conditions
        ]
        self.add(seconds, ("deployment", name, tuple(sorted(named))))
        missing: Fact = ("ready replicas missing", name, self._missing(name, ready))
        if (
            missing not in self.times
        ):  # statuses may be written once more or less: the first one counts
            self.add(seconds, missing)

    def _missing(self, name: str, ready: int) -> str:
        missing = {"web": 20, "fast": 10}[name] - ready
        return {0: "none", self.counted(name): "all of the node's"}.get(missing, "some")


def read_recording() -> Facts:
    """The facts of the recording, without its DaemonSet."""
    text = RECORDING.read_text(encoding="utf-8")
    found = _ON_NODE.search(text)
    assert found is not None
    on_node = [
        name for name in json.loads(found[1].replace("'", '"')) if not name.startswith("ds-")
    ]
    facts = Facts(tuple(on_node))
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            _recorded(facts, float(match[1]), match[2], match[3])
    return facts


def _recorded(facts: Facts, seconds: float, kind: str, rest: str) -> None:
    head, _, body = rest.partition("{")
    data = json.loads("{" + body)
    words = head.split()
    conditions = [
        (each["type"], each["status"], each.get("reason"), each.get("message"))
        for each in data.get("conditions", ())
    ]
    if kind == "NODE":
        taints = [(taint["key"], taint["effect"]) for taint in data["taints"] or ()]
        facts.node(seconds, conditions, taints)
    elif kind == "WORKLOAD":
        facts.deployment(seconds, words[1], conditions, data["readyReplicas"])
    elif kind == "POD" and not words[1].startswith("ds-"):
        facts.pod(seconds, words[1], _recorded_pod(data, deleted=words[0] == "DELETED"))
    elif kind == "EVENT" and "ds-" not in data["obj"] and not data["obj"].startswith("Endpoints"):
        source = data["source"].get("component", "")
        about, message = data["obj"], data["message"]
        facts.event(seconds, data["type"], data["reason"], about, message, source)


def _recorded_pod(data: dict[str, object], *, deleted: bool) -> Fact:
    ready = data["ready"]
    assert isinstance(ready, list)
    condition = ready[0] if ready else {}
    return _pod_fact(
        deleted=deleted,
        bound=data["node"] is not None,
        phase=str(data["phase"]),
        deleting=data["deletionTimestamp"] is not None,
        grace=data["grace"],
        reason=(data["reason"] or "", data["message"] or ""),
        ready=(
            condition.get("status", ""),
            condition.get("reason", ""),
            condition.get("message", ""),
        ),
    )


def _pod_fact(
    *,
    deleted: bool,
    bound: bool,
    phase: str,
    deleting: bool,
    grace: object,
    reason: tuple[object, object],
    ready: tuple[str, str, str],
) -> Fact:
    if deleted:
        return ("gone",)
    if deleting and grace == 0:
        return ("to be removed at once",)
    return (
        phase,
        "bound" if bound else "not bound",
        f"deleted with grace {grace}" if deleting else "not deleted",
        *reason,
        *ready,
    )


@attrs.define(eq=False)
class Recorder:
    """A spectator that writes down the facts of our own run, from `start` seconds on."""

    start: float
    facts: Facts
    nodes: list[tuple[float, Node]] = attrs.field(factory=list, init=False)
    old_pods: list[tuple[float, Pod]] = attrs.field(factory=list, init=False)
    counts: dict[str, list[int]] = attrs.field(factory=dict, init=False)
    """The counts that the SuccessfulCreate event of each workload went through."""

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        seconds = event.time_ns / 1e9 - self.start
        obj = event.value if event.value is not None else old
        facts = self.facts
        match obj:
            case Node() if obj.metadata.name == NODE:
                self.nodes.append((seconds, obj))
                taints: list[Fact] = [(taint.key, taint.effect) for taint in obj.spec.taints]
                facts.node(seconds, list(_conditions(obj.status.conditions)), taints)
            case Deployment():
                name, status = obj.metadata.name, obj.status
                conditions = list(_conditions(status.conditions))
                facts.deployment(seconds, name, conditions, status.ready_replicas)
            case Pod():
                if obj.metadata.name in facts.on_node:
                    self.old_pods.append((seconds, obj))
                deleted = event.type is EventType.DELETE
                facts.pod(seconds, obj.metadata.name, _own_pod(obj, deleted=deleted))
            case Event() if obj.source.component != "kubelet":
                about = f"{obj.involved_object.kind}/{obj.involved_object.name}"
                source = obj.source.component
                facts.event(seconds, obj.type, obj.reason, about, obj.message, source)
                if obj.reason == "SuccessfulCreate":
                    self.counts.setdefault(facts.workload(about[11:]), []).append(obj.count)


def _conditions(conditions: object) -> Iterator[Fact]:
    assert isinstance(conditions, tuple)
    for each in conditions:
        yield each.type, each.status, each.reason, each.message


def _own_pod(pod: Pod, *, deleted: bool) -> Fact:
    ready = condition_of(pod.status.conditions, "Ready")
    return _pod_fact(
        deleted=deleted,
        bound=bool(pod.spec.node_name),
        phase=pod.status.phase,
        deleting=pod.metadata.deletion_timestamp is not None,
        grace=pod.metadata.deletion_grace_period_seconds,
        reason=(pod.status.reason, pod.status.message),
        ready=(ready.status, ready.reason, ready.message) if ready is not None else ("", "", ""),
    )

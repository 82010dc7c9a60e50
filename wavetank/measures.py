"""What a run measured: how long each Deployment was degraded, and how fast each node fault was answered.

All of it is read from the log's events, in cluster time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import attrs

from engine import Deployment, Key, KubeObject, Node, Pod, condition_of, key_of
from store import Event as LogEvent
from wavetank.view import DeploymentView, View


@attrs.define
class _Meter:
    """Adds up the seconds during which something was the case."""

    seconds: float = 0.0
    since: float | None = None

    def set(self, on: bool, now: float) -> None:
        if self.since is not None and not on:
            self.seconds += now - self.since
            self.since = None
        elif self.since is None and on:
            self.since = now

    def total(self, now: float) -> float:
        return self.seconds + (now - self.since if self.since is not None else 0.0)


@attrs.frozen(kw_only=True)
class DeploymentMeasure:
    """Seconds since the measure began during which a Deployment was short of what it promises."""

    namespace: str
    name: str
    replicas: int
    degraded_seconds: float
    """Fewer replicas available than desired."""
    unavailable_seconds: float
    """Its Available condition was not True: more missing than maxUnavailable allows."""
    down_seconds: float
    """No replica available at all."""


@attrs.frozen(kw_only=True)
class FaultMeasure:
    """One fault and the answer to it. Seconds count from the fault; None: it did not come."""

    at: float
    kind: str
    target: str
    detected_seconds: float | None = None
    """Until the node's Ready condition was no longer True."""
    evicted_seconds: float | None = None
    """Until the first pod of the node was deleted."""
    recovered_seconds: float | None = None
    """Until every Deployment had all its replicas available again, after it was short."""


@attrs.define
class _Fault:
    at: float
    began: float
    kind: str
    target: str
    nodes: tuple[str, ...]
    detected: float | None = None
    evicted: float | None = None
    recovered: float | None = None
    hurt: bool = False

    def since(self, moment: float | None) -> float | None:
        return None if moment is None else round(moment - self.began, 6)


@attrs.define
class _Shortage:
    degraded: _Meter = attrs.field(factory=_Meter)
    unavailable: _Meter = attrs.field(factory=_Meter)
    down: _Meter = attrs.field(factory=_Meter)


@attrs.define(eq=False)
class Measures:
    """A spectator of the log. Measures from `begin` on."""

    _began: float | None = attrs.field(default=None, init=False)
    _shortages: dict[Key, _Shortage] = attrs.field(factory=dict, init=False)
    _short: dict[Key, None] = attrs.field(factory=dict, init=False)
    _faults: list[_Fault] = attrs.field(factory=list, init=False)

    def begin(self, view: View, now: float) -> None:
        """Measure from now on (seconds of cluster time)."""
        self._began = now
        for deployment in view.deployments():
            self._deployment(deployment, now)

    def seconds(self, now: float) -> float:
        """`now` counted from when the measure began."""
        return round(now - (self._began or 0.0), 6)

    def fault(self, kind: str, target: str, nodes: Sequence[str], now: float) -> None:
        """A fault happens now, and strikes these nodes."""
        self._faults.append(_Fault(self.seconds(now), now, kind, target, tuple(nodes)))

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        if self._began is None:
            return
        now = event.time_ns / 1e9
        obj = event.value if event.value is not None else old
        if isinstance(obj, Deployment):
            if event.value is None:
                self._gone(key_of(obj), now)
            else:
                self._deployment(DeploymentView(obj), now)
        elif isinstance(obj, Node) and event.value is not None:
            self._node(obj, now)
        elif isinstance(obj, Pod):
            self._pod(obj, cast("Pod | None", old), now)
        del view

    def _deployment(self, view: DeploymentView, now: float) -> None:
        key = key_of(view.object)
        shortage = self._shortages.setdefault(key, _Shortage())
        available = view.object.status.available_replicas
        condition = condition_of(view.object.status.conditions, "Available")
        degraded = available < view.desired
        shortage.degraded.set(degraded, now)
        shortage.unavailable.set(condition is None or condition.status != "True", now)
        shortage.down.set(available == 0 and view.desired > 0, now)
        if degraded:
            self._short[key] = None
            for fault in self._faults:
                fault.hurt = fault.hurt or (fault.recovered is None and fault.detected is not None)
        else:
            self._short.pop(key, None)
            self._recovered(now)

    def _gone(self, key: Key, now: float) -> None:
        shortage = self._shortages.get(key)
        if shortage is not None:
            for meter in (shortage.degraded, shortage.unavailable, shortage.down):
                meter.set(False, now)
        self._short.pop(key, None)
        self._recovered(now)

    def _recovered(self, now: float) -> None:
        if not self._short:
            for fault in self._faults:
                if fault.hurt and fault.recovered is None:
                    fault.recovered = now

    def _node(self, node: Node, now: float) -> None:
        condition = condition_of(node.status.conditions, "Ready")
        if condition is not None and condition.status != "True":
            for fault in self._faults:
                if node.metadata.name in fault.nodes and fault.detected is None:
                    fault.detected = now

    def _pod(self, pod: Pod, old: Pod | None, now: float) -> None:
        if pod.metadata.deletion_timestamp is None or old is None:
            return
        if old.metadata.deletion_timestamp is None:
            for fault in self._faults:
                if pod.spec.node_name in fault.nodes and fault.evicted is None:
                    fault.evicted = now

    def deployments(self, view: View, now: float) -> list[DeploymentMeasure]:
        """The measure of each Deployment up to now, in key order."""
        found = []
        for key in sorted(self._shortages):
            shortage = self._shortages[key]
            deployment = cast("Deployment | None", view.state.raw("Deployment").get(key))
            found.append(
                DeploymentMeasure(
                    namespace=key.namespace,
                    name=key.name,
                    replicas=DeploymentView(deployment).desired if deployment else 0,
                    degraded_seconds=round(shortage.degraded.total(now), 6),
                    unavailable_seconds=round(shortage.unavailable.total(now), 6),
                    down_seconds=round(shortage.down.total(now), 6),
                )
            )
        return found

    def faults(self) -> list[FaultMeasure]:
        """Every fault in order, with its answer as far as it came."""
        return [
            FaultMeasure(
                at=fault.at,
                kind=fault.kind,
                target=fault.target,
                detected_seconds=fault.since(fault.detected),
                evicted_seconds=fault.since(fault.evicted),
                recovered_seconds=fault.since(fault.recovered),
            )
            for fault in self._faults
        ]

"""What a kubelet knows of one pod, and the status it makes of that. `pod_sync` and `pod_end` act on it; `lifecycle` decides when."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, TypeAlias

import attrs

from engine import Container, ContainerStatus, Pod, PodStatus, qos_class
from sim_nodes.host import Host
from sim_nodes.pod_status import (
    TERMINAL,
    ContainerView,
    conditions_of,
    container_status,
    is_sidecar,
    phase_of,
    pod_ips,
)
from sim_nodes.probes import ContainerProbes
from sim_nodes.records import ContainerRecord, PodRecord
from sim_nodes.units import NEVER, NS

Program: TypeAlias = Generator[int, int, int]
"""What a worker does for a pod: yields until when it waits, is sent the time at which it goes on, returns the time of its end."""


def waiting_until(due_ns: Callable[[], int], now: int) -> Program:
    """Wait until a moment that may move while it is waited for: a program may be resumed early, to look again."""
    while now < due_ns():
        now = yield due_ns()
    return now


@attrs.frozen
class Remark:
    """One Event about the pod; `container` is the one it is about, if any."""

    type: str
    reason: str
    message: str
    container: str = ""


class PodState:
    """One pod on one node: its newest object, its status as the kubelet sees it, and what the kubelet remembers between syncs."""

    __slots__ = (
        "_known",
        "_old",
        "_overrule",
        "_retries",
        "_ticker_ns",
        "accepted_ns",
        "ending",
        "host",
        "kill_grace_ns",
        "pod",
        "probes",
        "remarks",
        "status",
        "sync_at",
        "uid",
        "waiting",
    )

    def __init__(self, host: Host, pod: Pod, now: int) -> None:
        self.host: Final = host
        self.uid: Final = str(pod.metadata.uid)
        self.pod = pod
        self.status: PodStatus = pod.status
        self.accepted_ns: Final = now
        self.remarks: list[Remark] = []
        """Events since the caller last took them."""
        self.sync_at = now
        """When the next sync is due."""
        self.kill_grace_ns: int | None = None
        """The grace with which the pod is being taken down; None while it is not."""
        self.ending = False
        """It is being taken down: nothing is started any more."""
        self.waiting: dict[str, tuple[str, str]] = {}
        """Containers whose start failed at the last try: reason and message."""
        self.probes: dict[str, ContainerProbes] = {}
        self._overrule: tuple[str, str] | None = None
        self._retries = 0
        self._old = pod.status.conditions
        """The conditions at the last look."""
        statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
        self._known: dict[str, ContainerStatus] = {status.name: status for status in statuses}
        self._ticker_ns = self._draw_ticker()

    @property
    def runtime_record(self) -> PodRecord | None:
        """What the runtime has of the pod."""
        return self.host.runtime.pods.get(self.uid)

    def remark(self, type_: str, reason: str, message: str, container: str = "") -> None:
        """Say an Event about the pod."""
        self.remarks.append(Remark(type_, reason, message, container))

    # -- what is asked of the pod ------------------------------------------------------------------

    def kill(self, grace_seconds: float) -> bool:
        """Ask for the pod's end. A second call may shorten the grace and never lengthens it; returns whether anything changed."""
        grace = round(grace_seconds * NS)
        if self.kill_grace_ns is not None and grace >= self.kill_grace_ns:
            return False
        self.kill_grace_ns = grace
        return True

    def fail(self, reason: str, message: str, grace_seconds: float | None = None) -> None:
        """Make the pod Failed for a reason of the kubelet's own (its deadline, an eviction), and ask for its end."""
        self._overrule = (reason, message)
        own = self.pod.spec.termination_grace_period_seconds or 0
        self.kill(own if grace_seconds is None else grace_seconds)

    def retry(self, now: int, backoff_until: int | None = None) -> None:
        """A try has failed: the next sync is due after a drawn wait, at a tick of the sync loop (6.1.1).

        `backoff_until` is the end of the crash-loop back-off; from 1.35 on the wait is counted to there (MinBackoffExpiration).
        """
        host = self.host
        wait = round(host.settings.pod_sync_backoff * NS)
        if backoff_until is not None and host.texts.exact_backoff:
            wait = min(max(backoff_until - now, 0), 60 * NS)
        factor = host.draws.uniform(f"pod/{self.uid}/retry", self._retries, 1.0, 1.5)
        self._retries += 1
        self.sync_at = min(self.sync_at, host.looks_ns(now + round(wait * factor)))

    def deadline_ns(self) -> int:
        """When activeDeadlineSeconds pass, counted from the status' start time; NEVER without one, or when it is handled."""
        seconds, start = self.pod.spec.active_deadline_seconds, self.status.start_time
        if seconds is None or start is None or self._overrule is not None:
            return NEVER
        return self.host.ns_of(start) + seconds * NS

    # -- its containers ----------------------------------------------------------------------------

    def record(self, name: str) -> ContainerRecord | None:
        """The newest record of that container in the present sandbox."""
        pod = self.runtime_record
        return pod.current(name) if pod is not None else None

    def newest(self, name: str) -> ContainerRecord | None:
        """The newest record of that container in any sandbox."""
        pod = self.runtime_record
        return pod.newest(name) if pod is not None else None

    def newest_records(self) -> list[ContainerRecord]:
        """The newest record of each container."""
        pod = self.runtime_record
        return [records[-1] for records in pod.containers.values()] if pod is not None else []

    def restarts(self, container: Container, exit_code: int) -> bool:
        """Whether a container that ended so is started again (6.5.1, 6.6)."""
        if self.ending:
            return False
        policy = self.pod.spec.restart_policy or "Always"
        if is_sidecar(container):
            policy = "Always"
        elif policy == "Always" and self._is_init(container):
            policy = "OnFailure"
        return policy == "Always" or (policy == "OnFailure" and exit_code != 0)

    def next_attempt(self, name: str) -> int:
        """The restart count of the next container of this name: the runtime knows, and if it does not, the API may."""
        newest = self.newest(name)
        if newest is not None:
            return newest.attempt + 1
        known = self._known.get(name)
        return known.restart_count + 1 if known is not None and known.container_id else 0

    def is_started(self, container: Container, now: int) -> bool:
        """Whether the container runs and its startup probe, if any, has succeeded."""
        record = self.record(container.name)
        if record is None or not record.running(now):
            return False
        return self._probes_of(container, record, now).started

    # -- its status --------------------------------------------------------------------------------

    def refresh(self, now: int, *, ended: bool = False) -> None:
        """Make the status anew from the runtime and the probes; a phase once Succeeded or Failed stays.

        `ended`: nothing of the pod runs any more or ever will; from 1.27 on it then gets its last phase.
        """
        host, pod, spec = self.host, self.pod, self.pod.spec
        ended = ended and host.texts.terminal_phase
        init_statuses = self._statuses(spec.init_containers, now, init=True, ended=ended)
        statuses = self._statuses(spec.containers, now, init=False, ended=ended)
        phase = phase_of(spec, init_statuses, statuses, ending=ended)
        if self._overrule is not None:
            phase = "Failed"
        elif self.status.phase in TERMINAL:
            phase = self.status.phase
        record = self.runtime_record
        sandbox = record.sandbox if record is not None else None
        connected = sandbox is not None and sandbox.ready
        ip = self.status.pod_ip
        if sandbox is not None and connected:
            ip = host.ip if spec.host_network else sandbox.ip
        conditions = conditions_of(
            pod,
            init_statuses,
            statuses,
            phase,
            sandbox_ready=connected and not ended,
            old=self._old,
            now=host.at(now),
            texts=host.texts,
        )
        self._old = conditions
        reason, message = self._overrule or (self.status.reason, self.status.message)
        generation = pod.metadata.generation if host.texts.observed_generation else 0
        status = PodStatus(
            phase=phase,
            conditions=conditions,
            message=message,
            reason=reason,
            host_ip=host.ip,
            pod_ip=ip,
            pod_ips=pod_ips(ip),
            start_time=self.status.start_time or host.at(now),
            init_container_statuses=init_statuses,
            container_statuses=statuses,
            qos_class=pod.status.qos_class or self.status.qos_class or qos_class(spec),
            observed_generation=generation or None,
        )
        if status != self.status:
            self.status = status

    def forget_old_probes(self) -> None:
        """Drop the probes of containers that others have replaced, or whose sandbox is gone."""
        for name in [n for n, p in self.probes.items() if p.record is not self.record(n)]:
            del self.probes[name]

    def _statuses(
        self, containers: tuple[Container, ...], now: int, *, init: bool, ended: bool
    ) -> tuple[ContainerStatus, ...]:
        initializing = bool(self.pod.spec.init_containers)
        return tuple(
            container_status(
                self._view(container, now, init=init),
                now,
                self.host.at,
                initializing=initializing,
                ended=ended,
            )
            for container in containers
        )

    def _view(self, container: Container, now: int, *, init: bool) -> ContainerView:
        name = container.name
        pod = self.runtime_record
        records = pod.containers.get(name, []) if pod is not None else []
        record = records[-1] if records else None
        started = ready = False
        if record is not None and record.running(now) and (not init or is_sidecar(container)):
            probes = self._probes_of(container, record, now)
            started, ready = probes.started, probes.ready
        known = self._known.get(name)
        return ContainerView(
            container=container,
            init=init,
            record=record,
            previous=records[-2] if len(records) > 1 else None,
            waiting=self.waiting.get(name),
            restarts=record is None or self.restarts(container, record.exit_code),
            started=started,
            ready=ready,
            known_restarts=known.restart_count if known is not None else 0,
        )

    def _probes_of(
        self, container: Container, record: ContainerRecord, now: int
    ) -> ContainerProbes:
        probes = self.probes.get(container.name)
        if probes is None or probes.record is not record:
            pod = self.runtime_record
            sandbox = pod.sandbox if pod is not None else None
            probes = self.probes[container.name] = ContainerProbes.begin(
                record,
                container,
                (sandbox.ip if sandbox is not None else "") or self.host.ip,
                seen_ns=now,
                phase_ns=self._ticker_ns,
                at_once=self.host.texts.probe_at_once,
            )
        return probes

    def _draw_ticker(self) -> int:
        """Where the tickers of this pod's probes begin: now, or drawn when the kubelet has just been started again (6.8.2)."""
        host = self.host
        if host.incarnation == 0 and host.texts.probe_at_once:
            return self.accepted_ns
        draw = host.draws.integer(f"kubelet/{host.node}/probe/{self.uid}", host.incarnation, 10_000)
        return self.accepted_ns + draw * NS // 1000

    def _is_init(self, container: Container) -> bool:
        return any(container is each for each in self.pod.spec.init_containers)

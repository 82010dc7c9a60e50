"""Probes: when each runs, what it finds, and what the kubelet concludes.

Theory of operation. A probe runs at the ticks of its period. What it finds is a function of the container's record, so ticks that cannot
change anything are never waken for: while a container answers and its probes have concluded that it does, the next tick that matters is
the first after it hangs. A failing probe is waken for at each tick, since each failure is an Event.

Ticks: readiness is probed first when the container is seen running, and by its period from then on; the other probes tick by the moment
their pod was taken up, drawn after a restart of the kubelet so that not all probe at once (prober/worker.go).
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from engine import Container, Probe
from sim_nodes.records import ContainerRecord
from sim_nodes.units import NEVER, NS, next_tick


class ProbeKind(enum.Enum):
    """The three probes of a container; the value is how messages name it."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


_BEFORE_THE_FIRST: Final = {
    ProbeKind.STARTUP: None,
    ProbeKind.LIVENESS: True,
    ProbeKind.READINESS: False,
}


@attrs.frozen
class ProbeFailure:
    """One attempt that failed, with the text of its Event."""

    kind: ProbeKind
    message: str


@attrs.define(eq=False)
class Prober:
    """One probe of one container: its ticks, its streak and its conclusion.

    What it concludes before its first result: a container is alive, not ready, and neither started nor failed to start (None). With
    failure_threshold 3, the third failure in a row turns True or None into False; with success_threshold 1 the first success
    turns it back.
    """

    kind: ProbeKind
    spec: Probe
    due_ns: int
    """The next tick."""
    concluded: bool | None = attrs.field(init=False)
    _last: bool | None = attrs.field(default=None, init=False)
    _streak: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.concluded = _BEFORE_THE_FIRST[self.kind]

    @property
    def period_ns(self) -> int:
        return (self.spec.period_seconds or 10) * NS

    def next_due(self, record: ContainerRecord) -> int:
        """The next tick that matters; NEVER when none will."""
        due = self.due_ns
        if self.concluded and self._last:
            bad_from = max(due, self._fails_from(record))
            if bad_from >= NEVER:
                return NEVER
            due = next_tick(bad_from, period_ns=self.period_ns, phase_ns=due)
        return due if due < record.ends_ns else NEVER

    def _fails_from(self, record: ContainerRecord) -> int:
        if self.kind is ProbeKind.READINESS:
            return min(record.hangs_ns, record.unready_ns)
        return record.hangs_ns

    def succeeds(self, record: ContainerRecord, now: int) -> bool:
        """What it would find now."""
        return record.answers(now) and now < self._fails_from(record)

    def run(self, at_ns: int, success: bool) -> bool:
        """Take up one result; returns whether the conclusion changed."""
        self.due_ns = at_ns + self.period_ns
        if success is self._last:
            self._streak += 1
        else:
            self._last, self._streak = success, 1
        spec = self.spec
        threshold = spec.success_threshold or 1 if success else spec.failure_threshold or 3
        if self._streak < threshold or self.concluded is success:
            return False
        self.concluded = success
        return True


@attrs.define(eq=False)
class ContainerProbes:
    """The probes of one container record, from the moment the kubelet saw it running.

    `failed` names the probe (`liveness`, `startup`) that wants the container restarted; it is on hold from then on.
    """

    record: ContainerRecord
    container: Container
    address: str
    """Of the pod, for messages."""
    failed: str = attrs.field(default="", init=False)
    _ended: bool = attrs.field(default=False, init=False)
    """The container has ended: there is nothing to probe any more."""
    _startup: Prober | None = attrs.field(default=None, init=False)
    _others: list[Prober] = attrs.field(factory=list, init=False)

    @classmethod
    def begin(  # noqa: PLR0913 - where and when its tickers stand
        cls,
        record: ContainerRecord,
        container: Container,
        address: str,
        *,
        seen_ns: int,
        phase_ns: int,
        at_once: bool,
    ) -> ContainerProbes:
        """The probes of a container seen running at `seen_ns`; `phase_ns` is where the tickers of its pod began.

        With `at_once` readiness does not wait for its ticker (1.27).
        """
        probes = cls(record, container, address)

        def prober(kind: ProbeKind, spec: Probe, *, at_once: bool) -> Prober:
            first = max(seen_ns, record.started_ns + spec.initial_delay_seconds * NS)
            period = (spec.period_seconds or 10) * NS
            phase = seen_ns if at_once else phase_ns
            return Prober(kind, spec, next_tick(first, period_ns=period, phase_ns=phase))

        if container.startup_probe is not None:
            probes._startup = prober(ProbeKind.STARTUP, container.startup_probe, at_once=False)
        if container.liveness_probe is not None:
            probes._others.append(
                prober(ProbeKind.LIVENESS, container.liveness_probe, at_once=False)
            )
        if container.readiness_probe is not None:
            probes._others.append(
                prober(ProbeKind.READINESS, container.readiness_probe, at_once=at_once)
            )
        return probes

    @property
    def started(self) -> bool:
        """Whether the container counts as started."""
        return self._startup is None or self._startup.concluded is True

    @property
    def ready(self) -> bool:
        """Whether the container counts as ready, as far as its probes say."""
        if not self.started:
            return False
        for prober in self._others:
            if prober.kind is ProbeKind.READINESS:
                return prober.concluded is True
        return True

    def next_due(self) -> int:
        """When to call `advance` next; NEVER when nothing can change."""
        if self.failed or self._ended:
            return NEVER
        return min((each.next_due(self.record) for each in self._active()), default=NEVER)

    def advance(self, now: int) -> tuple[bool, list[ProbeFailure]]:
        """Run the probes that are due; returns whether a conclusion changed, and the attempts that failed."""
        changed = False
        failures: list[ProbeFailure] = []
        while not (self.failed or self._ended):
            at, prober = min(
                ((each.next_due(self.record), each) for each in self._active()),
                key=lambda pair: pair[0],
                default=(NEVER, None),
            )
            if prober is None or at > now:
                break
            if self.record.exited(now):  # nobody looked while it lived
                self._ended = True
                break
            if now - at >= prober.period_ns:  # a ticker keeps one tick for who comes late, no more
                at += (now - at) // prober.period_ns * prober.period_ns
            success = prober.succeeds(self.record, now)
            if not success:
                failures.append(ProbeFailure(prober.kind, self._message(prober, now)))
            if prober.run(at, success):
                changed = True
                self._conclude(prober, at)
        return changed, failures

    def _active(self) -> list[Prober]:
        """The others wait until the startup probe has succeeded; then it is over for this container."""
        return self._others if self._startup is None or self.started else [self._startup]

    def _conclude(self, prober: Prober, at_ns: int) -> None:
        if prober.kind is ProbeKind.STARTUP and prober.concluded:
            for other in self._others:
                first = max(at_ns, other.due_ns)
                other.due_ns = next_tick(first, period_ns=other.period_ns, phase_ns=other.due_ns)
        elif prober.kind is not ProbeKind.READINESS and not prober.concluded:
            self.failed = prober.kind.value.lower()

    def _message(self, prober: Prober, at_ns: int) -> str:
        hangs = at_ns >= self.record.hangs_ns
        refuses = not hangs and self.record.answers(at_ns)
        output = _output(prober.spec, self.container, self.address, hangs=hangs)
        if refuses:
            output = "HTTP probe failed with statuscode: 503" if prober.spec.http_get else ""
        return f"{prober.kind.value} probe failed: {output}"


_DEFAULT_PORTS: Final = {"HTTP": 80, "HTTPS": 443}


def _output(probe: Probe, container: Container, address: str, *, hangs: bool) -> str:
    """What the kubelet prints of a failed attempt: nobody listens yet, or nobody answers any more."""
    timeout = probe.timeout_seconds or 1
    if probe.http_get is not None:
        get = probe.http_get
        host = f"{get.host or address}:{_port(get.port, container)}"
        path = get.path if get.path.startswith("/") else f"/{get.path}"
        url = f"{(get.scheme or 'HTTP').lower()}://{host}{path}"
        if hangs:
            why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        else:
            why = f"dial tcp {host}: connect: connection refused"
        return f'Get "{url}": {why}'
    if probe.tcp_socket is not None:
        socket = probe.tcp_socket
        host = f"{socket.host or address}:{_port(socket.port, container)}"
        return f"dial tcp {host}: {'i/o timeout' if hangs else 'connect: connection refused'}"
    if probe.grpc is not None:
        if hangs:
            return f"timeout: health rpc did not complete within {timeout}s"
        host = f"{address}:{probe.grpc.port}"
        return f'timeout: failed to connect service "{host}" within {timeout}s: context deadline exceeded'
    if probe.exec is not None and hangs:
        return f'command timed out: "{" ".join(probe.exec.command)}" timed out after {timeout}s'
    return ""


def _port(port: int | str, container: Container) -> int | str:
    if isinstance(port, int) or port.isdigit():
        return port
    for each in container.ports:
        if each.name == port:
            return each.container_port
    return port

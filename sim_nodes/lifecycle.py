"""The life of one pod on its node: what the kubelet does for it, and when it has to look again.

Theory of operation. A `PodLife` runs one *program* at a time, as the kubelet's worker of a pod does: a sync brings the pod towards its spec
(pod_sync.py), the last one takes it down (pod_end.py). A program is a generator: it yields the time until which it waits (a pull, a start, a
grace period) and is sent the time at which it goes on. Nothing here awaits, reads a clock or writes to the API: `advance(now)` does all that
is due and returns when to call it next; what it has to say is in `status` and `remarks`.

    life = PodLife(host, pod, now=0)
    life.advance(0)         status Pending, ContainerCreating; remarks: Pulling; returns 1.3 s, when the image will be there
    life.advance(1.3 s)     remarks: Pulled; returns 1.8 s, when the container will run
    life.advance(1.8 s)     remarks: Created, Started; returns 2.1 s, the next relist
    life.advance(2.1 s)     status Running and Ready; returns NEVER: nothing will happen by itself

A sync is due when the pod changed, when a relist sees a container start or end, when a probe concluded something, when a retry's time has
come, and when the active deadline passes. What Kubernetes does besides, every 60 to 90 s, changes nothing of an unchanged pod and is left out.
Probes do not run while a pod is being taken down; it stays as ready as it was until its containers end.
"""

from __future__ import annotations

from typing import Final

import attrs

from engine import Pod, qos_class
from sim_nodes.host import Host
from sim_nodes.pod_end import stop_pod
from sim_nodes.pod_state import PodState, Program, waiting_until
from sim_nodes.pod_status import TERMINAL
from sim_nodes.pod_sync import sync_pod
from sim_nodes.texts import DEADLINE_EXCEEDED, DEADLINE_MESSAGE
from sim_nodes.units import NEVER

_STEPS: Final = 1000
"""More steps at one instant than any pod needs: a life that does not come to rest is a bug of ours."""


class PodLife(PodState):
    """See the module's text. `finished` says that nothing of the pod runs on the node, or ever will."""

    __slots__ = (
        "_exit_seen_at",
        "_free_ns",
        "_program",
        "_resume_at",
        "_seen_ended",
        "finished",
    )

    def __init__(self, host: Host, pod: Pod, now: int) -> None:
        super().__init__(host, pod, now)
        self.finished = pod.status.phase in TERMINAL and self.runtime_record is None
        self._program: Program | None = None
        self._resume_at = now
        self._exit_seen_at = NEVER
        self._seen_ended: tuple[str, ...] = ()
        self._free_ns = now

    def __repr__(self) -> str:
        condition = "finished" if self.finished else "ending" if self.ending else "living"
        return f"<PodLife {self.pod.metadata.name} {self.status.phase or 'new'} {condition}>"

    @property
    def removable(self) -> bool:
        """Whether the pod may be removed from the API: it was to be deleted, and nothing of it runs."""
        return self.finished and self.pod.metadata.deletion_timestamp is not None

    def update(self, pod: Pod, now: int) -> bool:
        """The API shows another state of the pod: a new spec, a deletion, a shorter grace, a readiness gate; returns whether
        there is anything to do about it.
        """
        old, self.pod = self.pod, pod
        metadata = pod.metadata
        if metadata.deletion_timestamp is not None:
            return self.end(metadata.deletion_grace_period_seconds or 0, now) or self.finished
        changed = pod.spec is not old.spec and pod.spec != old.spec
        if pod.spec.readiness_gates:
            changed = changed or pod.status.conditions != old.status.conditions
        if changed:
            self.sync_at = min(self.sync_at, now)
        return changed

    def end(self, grace_seconds: float, now: int) -> bool:
        """Take the pod down; again, to shorten its grace. Returns whether that is news."""
        news = self.kill(grace_seconds)
        if news:
            self._resume_at = now
        return news

    def reject(self, reason: str, message: str, now: int) -> None:
        """The node does not admit the pod: Failed, with nothing of it ever run."""
        self.remark("Warning", reason, message)
        status = self.pod.status
        self.status = attrs.evolve(
            status,
            phase="Failed",
            reason=reason,
            message=self.host.texts.rejected(message),
            start_time=status.start_time or self.host.at(now),
            qos_class=status.qos_class or qos_class(self.pod.spec),
        )
        self.finished = True

    def poke(self, now: int) -> None:
        """Something changed behind the kubelet's back (a fault in the runtime): it sees it at the next relist."""
        self.sync_at = min(self.sync_at, self.host.seen_ns(now))
        # The runtime's StopContainer returns when the container is gone, however it went; a pull may be over sooner.
        if self._program is not None:
            self._resume_at = now

    def advance(self, now: int) -> int:
        """Do all that is due; returns when to call again, NEVER when nothing will happen by itself."""
        for _ in range(_STEPS):
            if self.finished or not self._step(now):
                return self._wake()
        raise AssertionError(f"{self!r} does not come to rest at {now} ns")

    def check(self) -> None:
        """Assert that the status is one the rules allow; for tests."""
        status = self.status
        for container, shown in zip(
            self.pod.spec.containers, status.container_statuses, strict=False
        ):
            assert container.name == shown.name
            state = shown.state
            assert state is not None
            assert sum(s is not None for s in (state.waiting, state.running, state.terminated)) == 1
            assert not shown.ready or state.running is not None, "ready and not running"
            assert not shown.ready or shown.started, "ready and not started"

    # -- one step ----------------------------------------------------------------------------------

    def _step(self, now: int) -> bool:
        """Do one thing that is due; False when there is none."""
        if self.kill_grace_ns is not None and not self.ending:
            self._begin_end(now)
            return True
        if not self.ending and self._run_probes(now):
            self.refresh(now)  # readiness shows at once; whatever else follows waits for the sync
            self.sync_at = now
        if self._program is not None:
            if now < self._resume_at:
                return False
            self._resume(self._program, now)
            return True
        if now < self._sync_due_ns():
            return False
        self._begin(self._sync(now))
        return True

    def _begin(self, program: Program) -> None:
        self._program = program
        try:
            self._resume_at = next(program)
        except StopIteration as over:
            self._over(over.value)

    def _resume(self, program: Program, now: int) -> None:
        try:
            self._resume_at = program.send(now)
        except StopIteration as over:
            self._over(over.value)

    def _over(self, now: int) -> None:
        """The program is done. What has ended since it looked is seen at a relist, and so is what will end; and no sync
        begins before the first relist after the last one (podCache.GetNewerThan).
        """
        self._program = None
        self._free_ns = self.host.seen_ns(now + 1)
        unseen = [r for r in self.newest_records() if r.id not in self._seen_ended]
        self._exit_seen_at = min((self.host.seen_ns(r.ends_ns) for r in unseen), default=NEVER)
        # A start that the kubelet before this one began, or that a fault has put off, is waited for by nobody else.
        for record in unseen:
            if record.started_ns > now:
                self.sync_at = min(self.sync_at, self.host.seen_ns(record.started_ns))

    def _begin_end(self, now: int) -> None:
        if self._program is not None:
            self._program.close()
        self.ending = True
        self._begin(self._end(now))

    def _wake(self) -> int:
        if self.finished:
            return NEVER
        if self.ending:
            return self._resume_at
        probes = min((each.next_due() for each in self.probes.values()), default=NEVER)
        if self._program is not None:
            return min(self._resume_at, probes)
        return min(self._sync_due_ns(), probes)

    def _sync_due_ns(self) -> int:
        return max(min(self.sync_at, self._exit_seen_at, self.deadline_ns()), self._free_ns)

    def _run_probes(self, now: int) -> bool:
        """Run the probes that are due; returns whether one concluded something new."""
        changed = False
        for name, probes in self.probes.items():
            if probes.next_due() > now:
                continue
            concluded, failures = probes.advance(now)
            changed = changed or concluded
            for failure in failures:
                self.remark("Warning", "Unhealthy", failure.message, name)
        return changed

    # -- programs ----------------------------------------------------------------------------------

    def _sync(self, now: int) -> Program:
        self.sync_at = NEVER
        if now >= self.deadline_ns():
            self.remark("Normal", DEADLINE_EXCEEDED, DEADLINE_MESSAGE)
            self.fail(DEADLINE_EXCEEDED, DEADLINE_MESSAGE)
        self.forget_old_probes()
        self.refresh(now)
        self._seen_ended = tuple([r.id for r in self.newest_records() if r.exited(now)])
        if self.status.phase in TERMINAL:
            self.kill(self.pod.spec.termination_grace_period_seconds or 0)
        if self.kill_grace_ns is None:
            now = yield from sync_pod(self, now)
        return now

    def _end(self, now: int) -> Program:
        self.refresh(now)
        now = yield from stop_pod(self, now)
        self.refresh(now, ended=True)
        self.host.runtime.stop_sandbox(self.uid)
        seen = self.host.seen_ns(now + 1)
        now = yield from waiting_until(lambda: seen, now)
        self.finished = True
        return now

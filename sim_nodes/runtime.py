"""The container runtime of one node: sandboxes and containers, which outlive the kubelet that asked for them.

Theory of operation. What a container will do is drawn when it is made: when it runs, answers, hangs, ends and how. Its record
holds those moments, and its state is a function of them and of `now`; nothing ticks and nothing waits. Stopping a container moves its
end forward. A kubelet that comes back after a crash reads the records as the old one did.

    r = runtime.start(pod, container, now=0, ...)     created; runs from 0.4 s, answers from 2.4 s
    runtime.stop(r, now=60 s, grace_ns=30 s)          SIGTERM; it ends at 60.3 s with 143
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal

import attrs

from engine import Container, Draws, DurationRange, Pod
from sim_nodes.addresses import PodAddresses
from sim_nodes.disturbances import Disturbances
from sim_nodes.effects import Effect, Effects
from sim_nodes.images import INIT_RUNS, ImageBehaviour, Images, hex_id
from sim_nodes.pulls import Puller
from sim_nodes.records import ContainerRecord, Ending, PodRecord, Sandbox
from sim_nodes.units import NEVER, NS, to_ns

MINIMUM_GRACE_NS: Final = 2 * NS
"""What a container gets at the least between SIGTERM and SIGKILL (minimumGracePeriodInSeconds)."""

LOST_EXIT_CODE: Final = 255
"""Of a container that was running when the node went down (containerd: unknownExitCode)."""

_KILLED: Final = 137
_OOM_SECONDS: Final = 0.1
"""The least time a container needs to touch more memory than it may."""

Containers = Literal["lost", "kept"]
"""What became of a node's containers while it was down."""


@attrs.frozen(kw_only=True)
class RuntimeStatistics:
    """What `Runtime.statistics()` returns."""

    pods: int
    running: int
    """Containers that run now."""
    images: int
    addresses: int


@attrs.define(eq=False, kw_only=True)
class Runtime:
    """The runtime of the node `node`. Pods are known by uid."""

    node: str
    images: Images
    draws: Draws
    puller: Puller
    addresses: PodAddresses
    pods: dict[str, PodRecord] = attrs.field(factory=dict, init=False)
    boot: int = attrs.field(default=0, init=False)
    """How often the machine has been started again with its containers lost."""
    downs: int = attrs.field(default=0, init=False)
    """How often it has lost its power."""
    _down_since: int | None = attrs.field(default=None, init=False)
    _frozen: Effects[None] = attrs.field(factory=Effects, init=False)
    _frozen_since: int = attrs.field(default=0, init=False)

    @property
    def disturbances(self) -> Disturbances:
        """What faults do to the machine."""
        return self.puller.disturbances

    @property
    def down(self) -> bool:
        """Whether the machine is without power."""
        return self._down_since is not None

    @property
    def frozen(self) -> Effects[None]:
        """The faults that let the machine stand still."""
        return self._frozen

    def time(self, now: int) -> int:
        """The time on the machine: when it began to stand still, while it does."""
        return self._frozen_since if self._frozen else now

    def statistics(self, now: int) -> RuntimeStatistics:
        return RuntimeStatistics(
            pods=len(self.pods),
            running=len(self.running(now)),
            images=len(self.puller.present_images(now)),
            addresses=len(self.addresses),
        )

    def running(self, now: int) -> list[ContainerRecord]:
        """All containers that run now; none while the node is down."""
        if self.down:
            return []
        now = self.time(now)
        return [
            record
            for pod in self.pods.values()
            for records in pod.containers.values()
            for record in records
            if record.running(now)
        ]

    # -- sandboxes -------------------------------------------------------------------------------

    def create_sandbox(self, pod: Pod, now: int) -> Sandbox:
        """A new sandbox for the pod. Raises AddressesUsedUp."""
        metadata = pod.metadata
        record = self.pods.get(metadata.uid)
        if record is None:
            record = self.pods[metadata.uid] = PodRecord(metadata.namespace, metadata.name)
        attempt = 0
        if record.sandbox is not None:
            attempt = record.sandbox.attempt + 1
            self.addresses.release(record.sandbox.ip)
        ip = "" if pod.spec.host_network else self.addresses.take()
        record.sandbox = Sandbox(
            id=hex_id(self.draws, "sandbox", metadata.uid, attempt),
            attempt=attempt,
            created_ns=now,
            ip=ip,
        )
        return record.sandbox

    def stop_sandbox(self, uid: str) -> None:
        """Take the pod's network down; its address is free again."""
        record = self.pods.get(uid)
        if record is not None and record.sandbox is not None and record.sandbox.ready:
            record.sandbox.ready = False
            self.addresses.release(record.sandbox.ip)

    def remove(self, uid: str) -> None:
        """Forget the pod: its records are garbage."""
        self.stop_sandbox(uid)
        self.pods.pop(uid, None)

    # -- containers ------------------------------------------------------------------------------

    def start(self, pod: Pod, container: Container, now: int, attempt: int) -> ContainerRecord:
        """Make a container and start it; it runs from its `started_ns` on."""
        uid = pod.metadata.uid
        pod_record = self.pods[uid]
        assert pod_record.sandbox is not None
        behaviour = self.images.behaviour(container.image)
        label = f"container/{uid}/{container.name}"
        draws = self.draws
        starts = to_ns(draws.duration(f"{label}/start", attempt, behaviour.start))
        if self.disturbances.slowdown:
            starts = round(starts * self.disturbances.factor())
        started = now + starts
        answers = started + to_ns(
            draws.duration(f"{label}/ready-after", attempt, behaviour.ready_after)
        )
        hangs = NEVER
        if behaviour.hangs_after is not None:
            hangs = started + to_ns(
                draws.duration(f"{label}/hangs", attempt, behaviour.hangs_after)
            )
        ends = NEVER
        runs = behaviour.runs
        if (
            runs is None
            and container in pod.spec.init_containers
            and container.restart_policy != "Always"
        ):
            runs = INIT_RUNS
        if runs is not None:
            ends = started + to_ns(draws.duration(f"{label}/runs", attempt, runs))
        record = ContainerRecord(
            id=hex_id(draws, "container", uid, container.name, attempt),
            name=container.name,
            attempt=attempt,
            sandbox_attempt=pod_record.sandbox.attempt,
            image=container.image,
            image_id=self.images.image_id(container.image),
            created_ns=now,
            started_ns=started,
            answers_ns=answers,
            hangs_ns=hangs,
            ends_ns=ends,
            exit_code=behaviour.exit_code,
            reason=_reason(behaviour.exit_code),
        )
        _apply_memory_limit(record, container, behaviour)
        if uid in self.disturbances.pods:
            self._disturb(uid, record, now)
        records = pod_record.containers.setdefault(container.name, [])
        records.append(record)
        del records[:-2]
        return record

    def stop(
        self, uid: str, record: ContainerRecord, now: int, grace_ns: int, hook_ns: int
    ) -> None:
        """SIGTERM after the preStop hook, SIGKILL at the end of the grace, 2 s after the SIGTERM at the least.

        A second call with less grace shortens the first; one with more changes nothing.
        """
        if record.exited(now):
            return
        behaviour = self.images.behaviour(record.image)
        takes = to_ns(
            self.draws.duration(
                f"container/{uid}/{record.name}/stop", record.attempt, behaviour.stop
            )
        )
        hook_ns = min(hook_ns, grace_ns)
        allowed = max(grace_ns - hook_ns, MINIMUM_GRACE_NS)
        term = max(now, record.started_ns) + hook_ns
        obeys = takes <= allowed
        ends = term + (takes if obeys else allowed)
        record.stopping = True
        exit_code = behaviour.stop_exit_code if obeys else _KILLED
        record.end(Ending(ends, exit_code, _reason(exit_code)))

    # -- faults: the kubelet has to be told of each (`Kubelet.poke`) --------------------------------

    def kill(self, record: ContainerRecord, now: int, exit_code: int, reason: str) -> None:
        """End a container now, from outside the kubelet."""
        record.end(Ending(self.time(now), exit_code, reason))

    def hang(self, record: ContainerRecord, now: int) -> None:
        """Let a container stop answering its probes, for ever."""
        record.hangs_ns = min(record.hangs_ns, now)
        if record.own_hangs_ns is not None:
            record.own_hangs_ns = record.hangs_ns

    def disturb(self, uid: str, now: int) -> None:
        """The disturbances of the pod have changed: let its containers behave so from now on."""
        for record in self.running_of(uid, now):
            self._disturb(uid, record, self.time(now))

    def _disturb(self, uid: str, record: ContainerRecord, now: int) -> None:
        pod = self.disturbances.pods.get(uid)
        if pod is not None and pod.hanging:
            record.hang(now)
        else:
            record.recover()
        unready = pod is not None and bool(pod.unready)
        record.unready_ns = min(record.unready_ns, now) if unready else NEVER
        crashing: Effects[DurationRange] | tuple[()] = pod.crashing if pod is not None else ()
        for effect in crashing:
            if effect not in record.dooms:
                label = f"{self.node}/{record.name}"
                after = to_ns(effect.seconds(self.draws, label))
                record.doom(effect, max(now, record.started_ns) + after)
        for effect in tuple(record.dooms):
            if not effect.active:
                record.spare(effect, now)

    def running_of(self, uid: str, now: int) -> list[ContainerRecord]:
        """The containers of a pod that run now or are about to; none while the node is down."""
        pod = self.pods.get(uid)
        if pod is None or self.down:
            return []
        newest = [records[-1] for records in pod.containers.values()]
        return [record for record in newest if not record.exited(self.time(now))]

    # -- power -----------------------------------------------------------------------------------

    def freeze(self, reason: str, now: int) -> Effect[None]:
        """The machine stands still, as a virtual one that is suspended, until `thaw`; its kubelet has to be paused."""
        if not self._frozen:
            self._frozen_since = now
        return self._frozen.add(None, reason)

    def thaw(self, now: int, effect: Effect[None] | None = None) -> bool:
        """Take back one freeze, or every one; what was to come comes later by the time it stood still. Returns whether it goes on."""
        frozen = [each for each in self._frozen if effect in (None, each)]
        if not frozen:
            return False
        for each in frozen:
            each.release()
        if self._frozen:
            return False
        since = self._frozen_since
        for pod in self.pods.values():
            for records in pod.containers.values():
                for record in records:
                    record.postpone(since, now - since)
        self.puller.postpone(since, now - since)
        return True

    def power_off(self, now: int) -> None:
        """The machine is down: nothing runs until `power_on` says what became of its containers."""
        if self._down_since is None:
            self.thaw(now)
            self._down_since = now
            self.downs += 1
            self.puller.power_off(now)

    def power_on(self, now: int, containers: Containers) -> None:
        """The machine is back. With `lost` every container that ran ended with it (exit code 255, Unknown) and every
        sandbox is gone; with `kept` they have run on, as if only the kubelet had been away.
        """
        down_since, self._down_since = self._down_since, None
        if down_since is None or containers == "kept":
            return
        self.boot += 1
        for uid, pod in self.pods.items():
            self.stop_sandbox(uid)
            for records in pod.containers.values():
                for record in records:
                    if record.ends_ns > down_since:
                        record.lose(now, LOST_EXIT_CODE)

    def check(self) -> None:
        """Assert the invariants of the records; for tests."""
        taken = [p.sandbox.ip for p in self.pods.values() if p.sandbox is not None and p.sandbox.ip]
        live = [
            p.sandbox.ip
            for p in self.pods.values()
            if p.sandbox is not None and p.sandbox.ready and p.sandbox.ip
        ]
        assert len(live) == len(dict.fromkeys(live)), f"an address is given twice: {taken}"
        assert len(live) == len(self.addresses), "an address is neither used nor free"
        for pod in self.pods.values():
            for records in pod.containers.values():
                assert 1 <= len(records) <= 2
                for older, newer in pairwise(records):
                    assert older.attempt < newer.attempt
                    assert older.ends_ns <= newer.created_ns, "two containers of one name at once"


def _reason(exit_code: int) -> str:
    return "Completed" if exit_code == 0 else "Error"


def _apply_memory_limit(
    record: ContainerRecord, container: Container, behaviour: ImageBehaviour
) -> None:
    """The kernel kills what needs more than its limit, at the moment it would have been ready."""
    resources = container.resources
    limit = resources.limits.get("memory") if resources is not None else None
    if behaviour.memory is None or limit is None or behaviour.memory <= limit:
        return
    oom = max(record.answers_ns, record.started_ns + to_ns(_OOM_SECONDS))
    if oom < record.ends_ns:
        record.ends_ns, record.exit_code, record.reason = oom, _KILLED, "OOMKilled"
    record.answers_ns = NEVER

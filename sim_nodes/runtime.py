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

from engine import Container, Draws, Pod
from sim_nodes.addresses import PodAddresses
from sim_nodes.images import INIT_RUNS, ImageBehaviour, Images, hex_id
from sim_nodes.pulls import Puller
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


@attrs.define(eq=False, kw_only=True)
class ContainerRecord:
    """One container: made once, ends once. Times are ns since the start of the run; NEVER for what will not happen."""

    id: str
    name: str
    attempt: int
    """How many containers of this name the pod had before: its restart count."""
    sandbox_attempt: int
    image: str
    image_id: str
    created_ns: int
    started_ns: int
    answers_ns: int
    hangs_ns: int
    ends_ns: int
    exit_code: int
    reason: str
    """Why it ended, as a status shows it: Completed, Error, OOMKilled, Unknown."""
    stopping: bool = False

    def exited(self, now: int) -> bool:
        return self.ends_ns <= now

    def running(self, now: int) -> bool:
        return self.started_ns <= now < self.ends_ns

    def answers(self, now: int) -> bool:
        """Whether it would answer a probe."""
        return self.answers_ns <= now < min(self.hangs_ns, self.ends_ns)


@attrs.define(eq=False, kw_only=True)
class Sandbox:
    """A pod's own network and cgroup; without it (a reboot) its containers are dead."""

    id: str
    attempt: int
    created_ns: int
    ip: str
    """Empty for a pod in the host's network."""
    ready: bool = True


@attrs.define(eq=False)
class PodRecord:
    """What the runtime knows of one pod: the newest sandbox, and each container's records, newest last, two at the most."""

    namespace: str
    name: str
    sandbox: Sandbox | None = None
    containers: dict[str, list[ContainerRecord]] = attrs.field(factory=dict)

    def newest(self, name: str) -> ContainerRecord | None:
        records = self.containers.get(name)
        return records[-1] if records else None

    def current(self, name: str) -> ContainerRecord | None:
        """The newest record of that container in the newest sandbox."""
        record = self.newest(name)
        if record is None or self.sandbox is None:
            return None
        return record if record.sandbox_attempt == self.sandbox.attempt else None


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
    _down_since: int | None = attrs.field(default=None, init=False)

    def statistics(self, now: int) -> RuntimeStatistics:
        return RuntimeStatistics(
            pods=len(self.pods),
            running=len(self.running(now)),
            images=len(self.puller.present_images(now)),
            addresses=len(self.addresses),
        )

    def running(self, now: int) -> list[ContainerRecord]:
        """All containers that run now; none while the node is down."""
        if self._down_since is not None:
            return []
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
        started = now + to_ns(draws.duration(f"{label}/start", attempt, behaviour.start))
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
        if ends < record.ends_ns:
            record.ends_ns = ends
            record.exit_code = behaviour.stop_exit_code if obeys else _KILLED
            record.reason = _reason(record.exit_code)

    def kill(self, record: ContainerRecord, now: int, exit_code: int, reason: str) -> None:
        """End a container now, from outside the kubelet: a fault. The kubelet has to be told (`Kubelet.poke`)."""
        if not record.exited(now):
            record.ends_ns, record.exit_code, record.reason = now, exit_code, reason

    def hang(self, record: ContainerRecord, now: int) -> None:
        """Let a container stop answering its probes: a fault. The kubelet has to be told (`Kubelet.poke`)."""
        record.hangs_ns = min(record.hangs_ns, now)

    # -- power -----------------------------------------------------------------------------------

    def power_off(self, now: int) -> None:
        """The machine is down: nothing runs until `power_on` says what became of its containers."""
        if self._down_since is None:
            self._down_since = now
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
                        record.ends_ns = now
                        record.started_ns = min(record.started_ns, now)
                        record.exit_code, record.reason = LOST_EXIT_CODE, "Unknown"

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

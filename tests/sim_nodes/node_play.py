"""Plays one pod's life in virtual time without trio: advance, jump to the next wake-up, note what was said and shown."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from engine import (
    EPOCH_US,
    Container,
    ContainerStatus,
    Draws,
    DurationRange,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    Settings,
    Time,
    Uid,
)
from sim_nodes.addresses import PodAddresses
from sim_nodes.host import Host
from sim_nodes.images import ImageBehaviour, Images
from sim_nodes.lifecycle import PodLife
from sim_nodes.pod_state import Remark
from sim_nodes.pulls import Puller
from sim_nodes.runtime import Runtime
from sim_nodes.units import NEVER, NS

FIXED = DurationRange.fixed


def behaviour(match: str = "*", **changes: object) -> ImageBehaviour:
    """An image that pulls in 2 s, starts in 1 s, answers at once and stops in 0.5 s, unless changed."""
    plain = ImageBehaviour(match=match, pull=FIXED(2), start=FIXED(1), stop=FIXED(0.5))
    return attrs.evolve(plain, **changes)  # type: ignore[arg-type]


def make_pod(*containers: Container, name: str = "web", **spec: object) -> Pod:
    """A bound pod as the API serves it."""
    return Pod(
        metadata=ObjectMeta(
            name=name, namespace="default", uid=Uid(f"uid-{name}"), resource_version="1"
        ),
        spec=PodSpec(
            containers=containers or (Container(name="app", image="app:v1"),),
            node_name="n-0",
            restart_policy=str(spec.pop("restart_policy", "Always")),
            termination_grace_period_seconds=30,
            **spec,  # type: ignore[arg-type]
        ),
        status=PodStatus(phase="Pending"),
    )


def make_runtime(*behaviours: ImageBehaviour, seed: int = 1, parallel: bool = False) -> Runtime:
    draws = Draws(seed)
    images = Images(behaviours or (behaviour(),), draws)
    return Runtime(
        node="n-0",
        images=images,
        draws=draws,
        puller=Puller(node="n-0", images=images, max_parallel=None if parallel else 1),
        addresses=PodAddresses("10.244.1.0/24"),
    )


def make_host(
    *behaviours: ImageBehaviour,
    compat: str = "1.35",
    runtime: Runtime | None = None,
    now: int = 0,
    incarnation: int = 0,
    seed: int = 1,
) -> Host:
    return Host.of(
        runtime or make_runtime(*behaviours, seed=seed),
        ip="172.18.0.2",
        settings=Settings.for_version(compat),
        epoch_us=EPOCH_US,
        now=now,
        incarnation=incarnation,
    )


@attrs.define(eq=False)
class Play:
    """A life and its record."""

    host: Host
    pod: Pod
    now: int = 0
    life: PodLife = attrs.field(init=False)
    said: list[tuple[float, Remark]] = attrs.field(factory=list)
    shown: list[tuple[float, PodStatus]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.life = PodLife(self.host, self.pod, self.now)
        self.wake = self.now

    wake: int = attrs.field(default=0, init=False)

    def to(self, seconds: float) -> Play:
        """Play until then."""
        return self.until(lambda _: False, seconds)

    def until(self, condition: Callable[[PodLife], bool], seconds: float = 86_400) -> Play:
        """Play until the condition holds after a step, or until then."""
        limit = round(seconds * NS)
        while True:
            before = self.life.status
            self.wake = self.life.advance(self.now)
            self.life.check()
            self.host.runtime.check()
            at = self.now / NS
            self.said += [(at, remark) for remark in self.life.remarks]
            self.life.remarks.clear()
            if self.life.status != before:
                self.shown.append((at, self.life.status))
            assert self.wake > self.now, "a wake-up in the past"
            if condition(self.life):
                return self
            if self.wake > limit or self.wake >= NEVER:
                self.now = max(self.now, limit) if limit < NEVER else self.now
                return self
            self.now = self.wake

    def delete(self, grace: int = 30) -> Play:
        """The API marks the pod for deletion, now."""
        stamp = Time.of(EPOCH_US + self.now // 1000 + grace * 1_000_000)
        metadata = attrs.evolve(
            self.life.pod.metadata,
            deletion_timestamp=stamp,
            deletion_grace_period_seconds=grace,
        )
        self.life.update(attrs.evolve(self.life.pod, metadata=metadata), self.now)
        return self

    @property
    def reasons(self) -> list[str]:
        return [remark.reason for _, remark in self.said]

    @property
    def messages(self) -> list[str]:
        return [remark.message for _, remark in self.said]

    def times_of(self, reason: str) -> list[float]:
        return [at for at, remark in self.said if remark.reason == reason]

    def phases(self) -> list[str]:
        """The phases shown, without repetition."""
        phases = [status.phase for _, status in self.shown]
        return [p for i, p in enumerate(phases) if i == 0 or phases[i - 1] != p]

    @property
    def container(self) -> ContainerStatus:
        return self.life.status.container_statuses[0]


def condition(status: PodStatus, type_: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition."""
    found = next(each for each in status.conditions if each.type == type_)
    return found.status, found.reason, found.message

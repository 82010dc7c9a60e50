"""Taking a pod down: its containers together, its sidecars after them in reverse order, all within one grace period (6.6.2, 6.7)."""

from __future__ import annotations

from collections.abc import Sequence

from engine import Container
from sim_nodes.hooks import hook_seconds
from sim_nodes.pod_state import PodState, Program
from sim_nodes.pod_status import is_sidecar
from sim_nodes.records import ContainerRecord
from sim_nodes.units import to_ns


def stop_pod(state: PodState, now: int) -> Program:
    """Stop all containers of the pod; ends when none runs."""
    began = now
    spec = state.pod.spec
    sidecars = [container for container in spec.init_containers if is_sidecar(container)]
    others = [c for c in (*spec.init_containers, *spec.containers) if not is_sidecar(c)]
    now = yield from _stop_together(state, others, began, now)
    for sidecar in reversed(sidecars):
        now = yield from _stop_together(state, [sidecar], began, now)
    return now


def _stop_together(
    state: PodState, containers: Sequence[Container], began: int, now: int
) -> Program:
    stopping: list[tuple[Container, ContainerRecord]] = []
    for container in containers:
        record = state.newest(container.name)
        if record is not None and not record.exited(now):
            text = state.host.texts.stopping(container.name)
            state.remark("Normal", "Killing", text, container.name)
            stopping.append((container, record))
    stopped_with: int | None = None
    while any(not record.exited(now) for _, record in stopping):
        if state.kill_grace_ns != stopped_with:  # at first, and when a later delete shortens it
            stopped_with = state.kill_grace_ns
            left = max((stopped_with or 0) - (now - began), 0)
            for container, record in stopping:
                hook = to_ns(hook_seconds(container, "preStop"))
                state.host.runtime.stop(state.uid, record, now, left, hook)
        now = yield max(record.ends_ns for _, record in stopping)
    return now

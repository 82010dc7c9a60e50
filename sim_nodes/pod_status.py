"""The status of a pod, from what the runtime and the probes say: container statuses, phase and conditions.

Rules: controllers reference 6.3 and 6.4 (pkg/kubelet/kubelet_pods.go and status/generate.go).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import attrs

from engine import (
    Condition,
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    Time,
    condition_of,
    replaced,
)
from sim_nodes.records import ContainerRecord
from sim_nodes.texts import (
    CONTAINER_CREATING,
    POD_INITIALIZING,
    STATUS_UNKNOWN,
    STATUS_UNKNOWN_MESSAGE,
    Texts,
)

TERMINAL: Final = ("Succeeded", "Failed")
"""The phases that a pod never leaves."""

OWNED: Final = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
)
"""The conditions a kubelet writes; it keeps all others as they are."""

_UNKNOWN_EXIT: Final = 137


def is_sidecar(container: Container) -> bool:
    """An init container that runs beside the others (restartPolicy Always)."""
    return container.restart_policy == "Always"


@attrs.frozen(kw_only=True)
class ContainerView:
    """What is known of one container at one moment: its records, and what the probes and the last sync said."""

    container: Container
    init: bool
    record: ContainerRecord | None
    previous: ContainerRecord | None
    waiting: tuple[str, str] | None
    """Reason and message of the last failed attempt to start it."""
    restarts: bool
    """Whether it would be started again, had it ended."""
    started: bool
    ready: bool
    known_restarts: int
    """Its restart count as the API has it."""


def container_status(
    view: ContainerView, now: int, at: Callable[[int], Time], *, initializing: bool, ended: bool
) -> ContainerStatus:
    """The status of one container. `ended`: the pod is being finished, what never ran never will."""
    record = view.record
    if record is None:
        return _status_without_record(view, initializing=initializing, ended=ended)
    state = _state(record, now, at)
    last = view.previous
    last_state = _terminated(last, at) if last is not None and last.exited(now) else None
    if state.terminated is not None and view.waiting is not None and view.restarts and not ended:
        last_state, state = state, _waiting(*view.waiting)
    running = state.running is not None
    done = view.init and state.terminated is not None and state.terminated.exit_code == 0
    return ContainerStatus(
        name=view.container.name,
        state=state,
        last_state=last_state,
        ready=(running and view.ready and not (view.init and not is_sidecar(view.container)))
        or (done and not is_sidecar(view.container)),
        restart_count=record.attempt,
        image=record.image,
        image_id=record.image_id,
        container_id=f"containerd://{record.id}",
        started=running and view.started,
    )


def _status_without_record(
    view: ContainerView, *, initializing: bool, ended: bool
) -> ContainerStatus:
    if ended:
        unknown = ContainerStateTerminated(
            exit_code=_UNKNOWN_EXIT, reason=STATUS_UNKNOWN, message=STATUS_UNKNOWN_MESSAGE
        )
        state = ContainerState(terminated=unknown)
    else:
        default = POD_INITIALIZING if initializing else CONTAINER_CREATING
        state = _waiting(*(view.waiting or (default, "")))
    return ContainerStatus(
        name=view.container.name,
        state=state,
        restart_count=view.known_restarts,
        image=view.container.image,
        started=False,
    )


def _waiting(reason: str, message: str) -> ContainerState:
    return ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))


def _state(record: ContainerRecord, now: int, at: Callable[[int], Time]) -> ContainerState:
    if record.exited(now):
        return _terminated(record, at)
    if record.running(now):
        return _running_since(at(record.started_ns))
    return _waiting(CONTAINER_CREATING, "")


@lru_cache(maxsize=4096, typed=True)
def _running_since(started_at: Time) -> ContainerState:
    """One object for all containers that started in the same second."""
    return ContainerState(running=ContainerStateRunning(started_at=started_at))


def _terminated(record: ContainerRecord, at: Callable[[int], Time]) -> ContainerState:
    return ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=record.exit_code,
            reason=record.reason,
            started_at=at(record.started_ns),
            finished_at=at(record.ends_ns),
            container_id=f"containerd://{record.id}",
        )
    )


# -- phase ---------------------------------------------------------------------------------------


def phase_of(
    spec: PodSpec,
    init_statuses: Sequence[ContainerStatus],
    statuses: Sequence[ContainerStatus],
    *,
    ending: bool,
) -> str:
    """The phase by the rules of 6.3.2. `ending`: the pod is being finished, and will not start anything (1.27)."""
    never = spec.restart_policy == "Never"
    pending = False
    for container, status in zip(spec.init_containers, init_statuses, strict=True):
        ended = _ended(status)
        if is_sidecar(container):
            pending = pending or not (status.started or ended is not None)
        elif ended is None:
            pending = True
        elif ended.exit_code != 0 and never:
            return "Failed"
        elif ended.exit_code != 0:
            pending = True
    states = [(status.state, _ended(status)) for status in statuses]
    running = sum(state is not None and state.running is not None for state, _ in states)
    endings = [ended for _, ended in states if ended is not None]
    if ending and running == 0:
        succeeded = not pending and len(endings) == len(states)
        return "Succeeded" if succeeded and not any(e.exit_code for e in endings) else "Failed"
    if pending or running + len(endings) < len(states):
        return "Pending"
    if running or spec.restart_policy in {"", "Always"}:
        return "Running"
    if not any(e.exit_code for e in endings):
        return "Succeeded"
    return "Failed" if never else "Running"


def _ended(status: ContainerStatus) -> ContainerStateTerminated | None:
    """How it ended, if it is not running: now, or before the restart it waits for."""
    state, last = status.state, status.last_state
    if state is None or state.running is not None:
        return None
    if state.terminated is not None:
        return state.terminated
    return last.terminated if last is not None else None


# -- conditions ----------------------------------------------------------------------------------


def _initialized(
    spec: PodSpec, init_statuses: Sequence[ContainerStatus], phase: str
) -> tuple[str, str, str]:
    if phase == "Succeeded":
        return "True", "PodCompleted", ""
    incomplete = []
    for container, status in zip(spec.init_containers, init_statuses, strict=True):
        complete = status.started if is_sidecar(container) else status.ready
        if not complete:
            incomplete.append(status.name)
    if incomplete and phase not in TERMINAL:
        return (
            "False",
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(incomplete)}]",
        )
    return "True", "", ""


def _containers_ready(
    spec: PodSpec,
    init_statuses: Sequence[ContainerStatus],
    statuses: Sequence[ContainerStatus],
    phase: str,
    texts: Texts,
) -> tuple[str, str, str]:
    if phase == "Succeeded":
        return "False", "PodCompleted", ""
    if phase == "Failed" and texts.pod_failed_reason:
        return "False", "PodFailed", ""
    unready = [
        status.name
        for container, status in zip(spec.init_containers, init_statuses, strict=True)
        if is_sidecar(container) and not status.ready
    ]
    unready += [status.name for status in statuses if not status.ready]
    if unready:
        return (
            "False",
            "ContainersNotReady",
            f"containers with unready status: [{' '.join(unready)}]",
        )
    return "True", "", ""


def _ready(
    pod: Pod, containers_ready: tuple[str, str, str], conditions: Sequence[Condition]
) -> tuple[str, str, str]:
    if containers_ready[0] != "True":
        return containers_ready
    messages = []
    for gate in pod.spec.readiness_gates:
        type_ = gate.condition_type
        found = condition_of(tuple(conditions), type_)
        if found is None:
            messages.append(
                f'corresponding condition of pod readiness gate "{type_}" does not exist.'
            )
        elif found.status != "True":
            messages.append(
                f'the status of pod readiness gate "{type_}" is not "True", but {found.status}'
            )
    if messages:
        return "False", "ReadinessGatesNotReady", ", ".join(messages)
    return "True", "", ""


def conditions_of(  # noqa: PLR0913 - what conditions are made of
    pod: Pod,
    init_statuses: Sequence[ContainerStatus],
    statuses: Sequence[ContainerStatus],
    phase: str,
    *,
    sandbox_ready: bool,
    old: tuple[Condition, ...],
    now: Time,
    texts: Texts,
) -> tuple[Condition, ...]:
    """The kubelet's own conditions, in its order; a transition time changes with the status only."""
    spec = pod.spec
    containers_ready = _containers_ready(spec, init_statuses, statuses, phase, texts)
    ready = _ready(pod, containers_ready, pod.status.conditions)
    findings = [("PodReadyToStartContainers", ("True" if sandbox_ready else "False", "", ""))]
    if not texts.ready_to_start:
        findings.clear()
    findings += [
        ("Initialized", _initialized(spec, init_statuses, phase)),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", ("True", "", "")),
    ]
    generation = pod.metadata.generation if texts.observed_generation else 0
    return tuple(
        _condition(type_, finding, condition_of(old, type_), now, generation or None)
        for type_, finding in findings
    )


def _condition(
    type_: str,
    finding: tuple[str, str, str],
    old: Condition | None,
    now: Time,
    generation: int | None,
) -> Condition:
    status, reason, message = finding
    if old is not None and old.status == status:
        if (old.reason, old.message, old.observed_generation) == (reason, message, generation):
            return old
        now = old.last_transition_time or now
    return _condition_since(now, type_, finding, generation)


@lru_cache(maxsize=4096, typed=True)
def _condition_since(
    since: Time, type_: str, finding: tuple[str, str, str], generation: int | None
) -> Condition:
    """One object for all pods that say the same since the same second."""
    status, reason, message = finding
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=generation,
    )


def merged(server: PodStatus, ours: PodStatus) -> PodStatus:
    """What to write: our status, with the conditions and fields of others as the server has them."""
    ours_types = [condition.type for condition in ours.conditions]
    others = tuple(
        condition
        for condition in server.conditions
        if condition.type not in OWNED and condition.type not in ours_types
    )
    return replaced(
        ours,
        conditions=others + ours.conditions,
        nominated_node_name=server.nominated_node_name,
        extra=server.extra,
    )


# -- the rest ------------------------------------------------------------------------------------


def pod_ips(ip: str) -> tuple[PodIP, ...]:
    """The list form of the pod's one address."""
    return (PodIP(ip=ip),) if ip else ()

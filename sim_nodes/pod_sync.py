"""Bringing a pod towards its spec: the sandbox, init containers one by one, then the others in their order (6.2.2, 6.5, 6.6).

A start is a small program of its own: the image is ensured, the container is made and runs, its postStart hook ends. What fails leaves a
reason in `state.waiting` and is tried again by a later sync; it does not stop the containers after it.
"""

from __future__ import annotations

from collections.abc import Generator

from engine import Container
from sim_nodes.addresses import AddressesUsedUp
from sim_nodes.hooks import hook_seconds
from sim_nodes.images import always_pulled
from sim_nodes.pod_state import PodState, Program, waiting_until
from sim_nodes.pod_status import is_sidecar
from sim_nodes.records import ContainerRecord
from sim_nodes.texts import (
    CRASH_LOOP,
    ERR_IMAGE_NEVER_PULL,
    ERR_IMAGE_PULL,
    IMAGE_PULL_BACKOFF,
    SANDBOX_CHANGED_MESSAGE,
)
from sim_nodes.units import NS, to_ns


def sync_pod(state: PodState, now: int) -> Program:
    """One sync: everything that can be done now, in order."""
    began = now
    now = yield from _stop_unwanted(state, now)
    if not _ensure_sandbox(state, now):
        return now
    now, initialized = yield from _start_init_containers(state, began, now)
    if initialized:
        for container in state.pod.spec.containers:
            if _to_start(state, container, now):
                now = yield from _start(state, container, began, now)
    return now


# -- what must not run ---------------------------------------------------------------------------


def _stop_unwanted(state: PodState, now: int) -> Program:
    """Stop containers whose liveness or startup probe failed, or whose image the spec has changed."""
    spec, texts = state.pod.spec, state.host.texts
    for container in (*spec.init_containers, *spec.containers):
        record = state.record(container.name)
        if record is None or not record.running(now) or record.stopping:
            continue
        probes = state.probes.get(container.name)
        if record.image != container.image:
            message = texts.definition_changed(container.name)
        elif probes is not None and probes.record is record and probes.failed:
            message = texts.failed_probe(container.name, probes.failed)
        else:
            continue
        if state.restarts(container, exit_code=1):
            message = texts.then_restarted(message)
        state.remark("Normal", "Killing", message, container.name)
        probe = container.startup_probe if probes and probes.failed == "startup" else None
        probe = container.liveness_probe if probes and probes.failed == "liveness" else probe
        grace = probe.termination_grace_period_seconds if probe is not None else None
        if grace is None:
            grace = spec.termination_grace_period_seconds or 0
        hook = to_ns(hook_seconds(container, "preStop"))
        state.host.runtime.stop(state.uid, record, now, grace * NS, hook)
        while not record.exited(now):
            now = yield record.ends_ns
    return now


# -- the sandbox ---------------------------------------------------------------------------------


def _ensure_sandbox(state: PodState, now: int) -> bool:
    """Make a sandbox when there is none, or a new one when the old one died; False when there is to be none, or can be none yet."""
    pod = state.runtime_record
    sandbox = pod.sandbox if pod is not None else None
    if sandbox is not None and sandbox.ready:
        return True
    if sandbox is not None:
        ended = [state.newest(container.name) for container in state.pod.spec.containers]
        restarts = any(
            record is None or state.restarts(container, record.exit_code)
            for container, record in zip(state.pod.spec.containers, ended, strict=True)
        )
        if not restarts or (state.pod.spec.restart_policy == "Never" and any(ended)):
            return False
        state.remark("Normal", "SandboxChanged", SANDBOX_CHANGED_MESSAGE)
    try:
        state.host.runtime.create_sandbox(state.pod, now)
    except AddressesUsedUp as error:
        message = f"Failed to create pod sandbox: rpc error: code = Unknown desc = {error}"
        state.remark("Warning", "FailedCreatePodSandBox", message)
        state.retry(now)
        return False
    # Seen by the relist as any container's start is, which is why a failed pull shows within a second (6.1.2).
    state.sync_at = min(state.sync_at, state.host.seen_ns(now + 1))
    return True


# -- containers ----------------------------------------------------------------------------------


def _start_init_containers(
    state: PodState, began: int, now: int
) -> Generator[int, int, tuple[int, bool]]:
    """Start the next init container, and sidecars that ended; True when the pod's own containers may start."""
    spec = state.pod.spec
    initialized = any(state.record(container.name) for container in spec.containers)
    for container in spec.init_containers:
        record = state.record(container.name)
        ended = record is not None and record.exited(now)
        if is_sidecar(container):
            if record is None or ended:
                now = yield from _start(state, container, began, now)
            if not initialized and not state.is_started(container, now):
                return now, False
            continue
        if initialized or (record is not None and ended and record.exit_code == 0):
            continue
        if _to_start(state, container, now):
            now = yield from _start(state, container, began, now)
        return now, False
    return now, True


def _to_start(state: PodState, container: Container, now: int) -> bool:
    """Whether the container is to be started: it never ran in this sandbox, or ended in a way that starts it again."""
    record = state.record(container.name)
    if record is not None:
        return record.exited(now) and state.restarts(container, record.exit_code)
    before = state.newest(container.name)
    if before is None or container in state.pod.spec.init_containers:
        return True
    return state.restarts(container, before.exit_code)


def _start(state: PodState, container: Container, began: int, now: int) -> Program:
    """Start one container, or leave in `state.waiting` why not, and when to try again."""
    name, texts = container.name, state.host.texts
    until = _crash_loop_until(state, container, began)
    if until > now:
        key = _backoff_key(state, container)
        delay = state.host.container_backoff.delay(key)
        state.remark("Warning", "BackOff", texts.restart_backoff(name, state.pod), name)
        state.waiting[name] = (CRASH_LOOP, texts.crash_loop(name, state.pod, delay))
        state.retry(now, until)
        return now
    last = _last_exit(state, name, began)
    if last is not None:
        key = _backoff_key(state, container)
        state.host.container_backoff.next(key, last.ends_ns, now)
    now, there = yield from _ensure_image(state, container, now)
    if not there:
        state.retry(now)
        return now
    record = state.host.runtime.start(state.pod, container, now, state.next_attempt(name))
    now = yield from waiting_until(lambda: record.started_ns, now)
    state.remark("Normal", "Created", texts.created(name), name)
    state.remark("Normal", "Started", texts.started(name), name)
    state.waiting.pop(name, None)
    state.sync_at = min(state.sync_at, state.host.seen_ns(record.started_ns))
    hook = hook_seconds(container, "postStart")
    if hook:
        ends = now + to_ns(hook)
        now = yield from waiting_until(lambda: ends, now)
    return now


def _backoff_key(state: PodState, container: Container) -> str:
    """A changed image counts as another container, and begins anew (getStableKey)."""
    return f"{state.uid}/{container.name}/{container.image}"


def _last_exit(state: PodState, name: str, began: int) -> ContainerRecord | None:
    """The newest container of that name that had ended when the sync began: one stopped by this very sync does not count,
    as in the kubelet, whose picture of the runtime is the relist's (doBackOff).
    """
    pod = state.runtime_record
    records = pod.containers.get(name, []) if pod is not None else []
    return next((record for record in reversed(records) if record.exited(began)), None)


def _crash_loop_until(state: PodState, container: Container, began: int) -> int:
    last = _last_exit(state, container.name, began)
    if last is None:
        return 0
    return state.host.container_backoff.holds_until(_backoff_key(state, container), last.ends_ns)


# -- images --------------------------------------------------------------------------------------


def _ensure_image(
    state: PodState, container: Container, now: int
) -> Generator[int, int, tuple[int, bool]]:
    """Have the image on the node, as the container's pull policy wants it (6.10)."""
    host, image, name = state.host, container.image, container.name
    texts, puller = host.texts, host.runtime.puller
    policy = container.image_pull_policy or ("Always" if always_pulled(image) else "IfNotPresent")
    present = puller.present(image, now)
    if policy != "Always" and present:
        state.remark("Normal", "Pulled", texts.present(image), name)
        return now, True
    if policy == "Never":
        message = texts.never_pulled(image)
        state.remark("Warning", ERR_IMAGE_NEVER_PULL, message, name)
        return now, _not_started(state, name, ERR_IMAGE_NEVER_PULL, message)
    key = f"{state.uid}/{image}"
    if host.image_backoff.holds_until_since_update(key, now) > now:
        state.remark("Normal", "BackOff", texts.pull_backoff(image), name)
        message = texts.pull_backoff_waiting(image, puller.last_error(image))
        return now, _not_started(state, name, IMAGE_PULL_BACKOFF, message)
    state.remark("Normal", "Pulling", texts.pulling(image), name)
    asked = now
    pull = puller.pull(image, now)
    now = yield from waiting_until(lambda: pull.ends_ns, now)
    if pull.error:
        state.remark("Warning", "Failed", texts.pull_failed(image, pull.error), name)
        host.image_backoff.next(key, now, now)
        return now, _not_started(state, name, ERR_IMAGE_PULL, pull.error)
    size = host.runtime.images.size_bytes(image)
    took = pull.ends_ns - pull.begins_ns
    state.remark("Normal", "Pulled", texts.pulled(image, took, pull.ends_ns - asked, size), name)
    return now, True


def _not_started(state: PodState, name: str, reason: str, message: str) -> bool:
    """Say why a container was not started; always False."""
    state.remark("Warning", "Failed", f"Error: {reason}", name)
    state.waiting[name] = (reason, message)
    return False

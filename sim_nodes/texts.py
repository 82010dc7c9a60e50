"""Every reason and message a kubelet writes, by Kubernetes version.

Sources: pkg/kubelet/events, kuberuntime, images, status, lifecycle and kubelet_pods.go of Kubernetes; the versions at which they changed are those
of the controllers reference (6, 11). Nothing else in this package spells a message.
"""

from __future__ import annotations

import attrs

from engine import Pod, Settings
from sim_nodes.units import go_duration

CONTAINER_CREATING = "ContainerCreating"
POD_INITIALIZING = "PodInitializing"
CRASH_LOOP = "CrashLoopBackOff"
ERR_IMAGE_PULL = "ErrImagePull"
IMAGE_PULL_BACKOFF = "ImagePullBackOff"
ERR_IMAGE_NEVER_PULL = "ErrImageNeverPull"
STATUS_UNKNOWN = "ContainerStatusUnknown"
STATUS_UNKNOWN_MESSAGE = "The container could not be located when the pod was terminated"
DEADLINE_EXCEEDED = "DeadlineExceeded"
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"
EVICTED = "Evicted"
THRESHOLD_MET = "EvictionThresholdMet"
SANDBOX_CHANGED_MESSAGE = "Pod sandbox changed, it will be killed and re-created."


def pod_full_name(pod: Pod) -> str:
    """`<name>_<namespace>(<uid>)`: how the kubelet's messages name a pod (format.Pod)."""
    metadata = pod.metadata
    return f"{metadata.name}_{metadata.namespace}({metadata.uid})"


def pressure_condition(condition: str) -> str:
    """Why a pod is refused by a node that has that condition."""
    return f"The node had condition: [{condition}]. "


def low_on(resource: str) -> str:
    """Why a pod is evicted."""
    return f"The node was low on resource: {resource}. "


def reclaiming(resource: str) -> str:
    """What the kubelet tells of its node before it evicts a pod."""
    return f"Attempting to reclaim {resource}"


@attrs.frozen(kw_only=True)
class Texts:
    """The texts, and the behaviours that go with them, of one version."""

    names_backoff_container: bool
    """1.27: the BackOff event names the container and its pod."""
    created_with_colon: bool
    """1.32: `Created container: web`."""
    pull_with_waiting: bool
    """1.26: a pull's time is also given including the wait for other pulls."""
    pull_with_size: bool
    """1.30: and the image's size."""
    pull_backoff_with_cause: bool
    """1.32: the message of ImagePullBackOff says why the pull failed."""
    was_rejected: bool
    """1.25: `Pod was rejected: ...`; before: `Pod ...`."""
    terminal_phase: bool
    """1.27: a pod that was deleted ends Succeeded or Failed before it is removed."""
    pod_failed_reason: bool
    """1.27: the conditions of a Failed pod have the reason PodFailed."""
    ready_to_start: bool
    """1.29: the condition PodReadyToStartContainers."""
    observed_generation: bool
    """1.34: status and conditions name the generation they are about."""
    exact_backoff: bool
    """1.35: a pod in back-off is tried again when the back-off ends, not at some later sync."""
    probe_at_once: bool
    """1.27: readiness is probed as soon as a container runs, and from then on by its period."""

    @classmethod
    def of(cls, settings: Settings) -> Texts:
        at_least = settings.at_least
        return cls(
            names_backoff_container=at_least("1.27"),
            created_with_colon=at_least("1.32"),
            pull_with_waiting=at_least("1.26"),
            pull_with_size=at_least("1.30"),
            pull_backoff_with_cause=at_least("1.32"),
            was_rejected=at_least("1.25"),
            terminal_phase=at_least("1.27"),
            pod_failed_reason=at_least("1.27"),
            ready_to_start=at_least("1.29"),
            observed_generation=at_least("1.34"),
            exact_backoff=at_least("1.35"),
            probe_at_once=at_least("1.27"),
        )

    def created(self, container: str) -> str:
        return f"Created container{':' if self.created_with_colon else ''} {container}"

    def started(self, container: str) -> str:
        return f"Started container {container}"

    def stopping(self, container: str) -> str:
        return f"Stopping container {container}"

    def pulling(self, image: str) -> str:
        return f'Pulling image "{image}"'

    def present(self, image: str) -> str:
        return f'Container image "{image}" already present on machine'

    def never_pulled(self, image: str) -> str:
        return f'Container image "{image}" is not present with pull policy of Never'

    def pulled(self, image: str, took_ns: int, with_waiting_ns: int, size_bytes: int) -> str:
        text = f'Successfully pulled image "{image}" in {go_duration(took_ns)}'
        if self.pull_with_waiting:
            text += f" ({go_duration(with_waiting_ns)} including waiting)"
        if self.pull_with_size:
            text += f". Image size: {size_bytes} bytes."
        return text

    def pull_failed(self, image: str, error: str) -> str:
        return f'Failed to pull image "{image}": {error}'

    def pull_backoff(self, image: str) -> str:
        return f'Back-off pulling image "{image}"'

    def pull_backoff_waiting(self, image: str, error: str) -> str:
        text = self.pull_backoff(image)
        return f"{text}: {ERR_IMAGE_PULL}: {error}" if self.pull_backoff_with_cause else text

    def restart_backoff(self, container: str, pod: Pod) -> str:
        text = "Back-off restarting failed container"
        if self.names_backoff_container:
            text += f" {container} in pod {pod_full_name(pod)}"
        return text

    def crash_loop(self, container: str, pod: Pod, delay_ns: int) -> str:
        return (
            f"back-off {go_duration(delay_ns)} restarting failed "
            f"container={container} pod={pod_full_name(pod)}"
        )

    def failed_probe(self, container: str, probe: str) -> str:
        return f"Container {container} failed {probe} probe"

    def then_restarted(self, message: str) -> str:
        return f"{message}, will be restarted"

    def definition_changed(self, container: str) -> str:
        return f"Container {container} definition changed"

    def rejected(self, message: str) -> str:
        return f"Pod was rejected: {message}" if self.was_rejected else f"Pod {message}"

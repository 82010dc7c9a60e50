"""Every timing and limit of the control plane and the kubelets, in one typed value.

The defaults are Kubernetes' own, and the flag or constant each comes from is named beside it. Durations are
seconds. Where a default changed between Kubernetes versions, `Settings.for_version` knows both.
"""

from __future__ import annotations

from typing import Final

import attrs

NEWEST: Final = "1.35"
"""The newest Kubernetes version that the behaviour follows, and the default of `compat`."""


def parse_version(text: str) -> tuple[int, int]:
    """`"1.32"` as `(1, 32)`. Raises ValueError."""
    major, _, minor = text.removeprefix("v").partition(".")
    return int(major), int(minor.partition(".")[0])


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of one cluster; `attrs.evolve` or `Settings.for_version` make others."""

    compat: str = NEWEST
    """The Kubernetes version whose behaviour and messages are followed."""

    # -- kubelet ---------------------------------------------------------------------------------
    node_lease_duration: float = 40.0
    """kubelet nodeLeaseDurationSeconds; the lease is renewed every quarter of it, 10 s."""
    node_status_update_frequency: float = 10.0
    """kubelet --node-status-update-frequency."""
    node_status_report_frequency: float = 300.0
    """kubelet nodeStatusReportFrequency: an unchanged status is sent this often."""
    kubelet_request_timeout: float = 10.0
    """Time-out of the kubelet's heartbeat client: the node status update frequency."""
    pleg_relist_period: float = 1.0
    """kubelet plegRelistPeriod: how late at most a container's death is seen."""
    pod_sync_backoff: float = 10.0
    """kubelet backOffPeriod: least time between tries of a failing pod sync."""
    container_backoff_base: float = 10.0
    """kubelet MaxContainerBackOff's first step: 10 s, doubled for each crash."""
    container_backoff_max: float = 300.0
    """kubelet MaxContainerBackOff."""
    image_backoff_base: float = 10.0
    image_backoff_max: float = 300.0
    """kubelet image pull back-off: 10 s doubled up to 5 min."""
    max_pods: int = 110
    """kubelet --max-pods."""

    # -- node lifecycle --------------------------------------------------------------------------
    node_monitor_period: float = 5.0
    """kube-controller-manager --node-monitor-period."""
    node_monitor_grace_period: float = 50.0
    """kube-controller-manager --node-monitor-grace-period: 40 s, from 1.32 on 50 s."""
    node_startup_grace_period: float = 60.0
    """kube-controller-manager --node-startup-grace-period."""
    node_eviction_rate: float = 0.1
    """Nodes tainted NoExecute per second and zone (--node-eviction-rate)."""
    secondary_node_eviction_rate: float = 0.01
    """The same for a large zone in partial disruption (--secondary-node-eviction-rate)."""
    large_cluster_size_threshold: int = 50
    """--large-cluster-size-threshold, nodes."""
    unhealthy_zone_threshold: float = 0.55
    """--unhealthy-zone-threshold, share of nodes not ready."""
    node_eviction_loop_period: float = 0.1
    """nodeEvictionPeriod of the NoExecute tainting loop."""
    cluster_cidr: str = "10.244.0.0/16,10.128.0.0/10"
    """kube-controller-manager --cluster-cidr: what the nodes' pod ranges are cut from. Several, by commas, are used in
    that order: the first is the usual one and serves 256 nodes, the second 16,384 more. (The real flag reads two as
    IPv4 and IPv6.)"""
    node_cidr_mask_size: int = 24
    """--node-cidr-mask-size: a node's range, 254 pod addresses."""
    default_not_ready_toleration: int = 300
    """kube-apiserver --default-not-ready-toleration-seconds."""
    default_unreachable_toleration: int = 300
    """kube-apiserver --default-unreachable-toleration-seconds."""

    # -- pod GC, garbage collector, namespaces ---------------------------------------------------
    pod_gc_period: float = 20.0
    """gcCheckPeriod of the pod garbage collector."""
    pod_gc_quarantine: float = 40.0
    """quarantineTime: how long a node must be gone before its pods are removed."""
    terminated_pod_gc_threshold: int = 12500
    """--terminated-pod-gc-threshold, pods."""
    namespace_deletion_grace: float = 5.0
    """namespaceDeletionGracePeriod."""

    # -- workloads -------------------------------------------------------------------------------
    burst_replicas: int = 500
    """BurstReplicas of the ReplicaSet controller: most pods made or deleted by one sync."""
    expectations_timeout: float = 300.0
    """ExpectationsTimeout."""
    default_termination_grace: int = 30
    """DefaultTerminationGracePeriodSeconds."""

    # -- scheduler -------------------------------------------------------------------------------
    pod_initial_backoff: float = 1.0
    """KubeSchedulerConfiguration podInitialBackoffSeconds."""
    pod_max_backoff: float = 10.0
    """KubeSchedulerConfiguration podMaxBackoffSeconds."""
    pod_max_in_unschedulable: float = 300.0
    """podMaxInUnschedulablePodsDuration: 60 s, from 1.21 on 5 min."""
    percentage_of_nodes_to_score: int = 0
    """KubeSchedulerConfiguration percentageOfNodesToScore; 0 is adaptive."""
    assumed_pod_ttl: float = 30.0
    """durationToExpireAssumedPod."""

    # -- client machinery ------------------------------------------------------------------------
    queue_base_delay: float = 0.005
    queue_max_delay: float = 1000.0
    """client-go DefaultControllerRateLimiter: 5 ms doubled up to 1000 s per item."""
    queue_rate: float = 10.0
    queue_burst: int = 100
    """and a bucket of 10 per second, burst 100, for the whole queue."""
    relist_backoff_base: float = 0.8
    relist_backoff_max: float = 30.0
    """client-go reflector back-off: 800 ms doubled up to 30 s, with jitter up to twice."""
    event_ttl: float = 3600.0
    """kube-apiserver --event-ttl."""

    # -- leader election -------------------------------------------------------------------------
    control_plane_replicas: int = 1
    """Replicas of each control-plane process; with more than one they elect a leader."""
    leader_lease_duration: float = 15.0
    """--leader-elect-lease-duration."""
    leader_renew_deadline: float = 10.0
    """--leader-elect-renew-deadline."""
    leader_retry_period: float = 2.0
    """--leader-elect-retry-period."""

    # -- API server ------------------------------------------------------------------------------
    watch_cache_window: int = 10_000
    """Events kept per kind for watches that resume; older ones answer 410 Gone."""
    request_timeout: float = 60.0
    """kube-apiserver --request-timeout: how long a client waits for an answer at the most."""

    @classmethod
    def for_version(cls, compat: str) -> Settings:
        """The defaults of that Kubernetes version, for instance "1.20". Raises ValueError."""
        version = parse_version(compat)
        return cls(
            compat=compat,
            node_monitor_grace_period=50.0 if version >= (1, 32) else 40.0,
            pod_max_in_unschedulable=300.0 if version >= (1, 21) else 60.0,
        )

    def at_least(self, version: str) -> bool:
        """Whether the behaviour of that Kubernetes version is in force."""
        return parse_version(self.compat) >= parse_version(version)

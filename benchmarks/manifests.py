"""What the benchmarks apply to their clusters."""

from __future__ import annotations

from collections.abc import Iterator

from engine import Deployment, KubeObject, Pod, default_scheme

REPLICAS = 100
"""Of one Deployment; a cluster has as many Deployments as its pods need."""
NAMESPACE = "default"


def _template(app: str, version: str) -> dict[str, object]:
    return {
        "metadata": {"labels": {"app": app, "version": version}},
        "spec": {
            "containers": [
                {
                    "name": "server",
                    "image": f"registry.example/{app}:{version}",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [{"name": "LEVEL", "value": "info"}],
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                }
            ]
        },
    }


def deployment(name: str, replicas: int, version: str = "1") -> Deployment:
    """A Deployment of a typical web server."""
    found = default_scheme().from_dict(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": _template(name, version),  # type: ignore[dict-item]  # JSON as it is
            },
        }
    )
    assert isinstance(found, Deployment)
    return found


def deployments(pods: int, version: str = "1") -> Iterator[KubeObject]:
    """As many Deployments of 100 replicas as it takes for `pods` pods; the last may be smaller."""
    for number, first in enumerate(range(0, pods, REPLICAS)):
        yield deployment(f"app-{number}", min(REPLICAS, pods - first), version)


def running_pod(name: str = "app-0-7c9d8-x2k4p", node: str = "node-1") -> Pod:
    """A pod as it looks in the log once it is Running and Ready; about 1.6 KB."""
    time = "2026-01-01T00:00:0{}Z"
    conditions = (
        ("PodReadyToStartContainers", 4),
        ("Initialized", 1),
        ("Ready", 6),
        ("ContainersReady", 6),
        ("PodScheduled", 1),
    )
    found = default_scheme().from_dict(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "generateName": "app-0-7c9d8-",
                "namespace": NAMESPACE,
                "uid": f"3f0c6a52-7d0e-4d6b-9a3c-{sum(map(ord, name)):012x}",
                "creationTimestamp": time.format(0),
                "generation": 1,
                "labels": {"app": "app-0", "version": "1", "pod-template-hash": "7c9d8"},
                "ownerReferences": [
                    {
                        "apiVersion": "apps/v1",
                        "kind": "ReplicaSet",
                        "name": "app-0-7c9d8",
                        "uid": "0d8b1c44-5a55-4a52-8f0b-0f3d2f6f9a11",
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": {
                **_template("app-0", "1")["spec"],  # type: ignore[dict-item]
                "nodeName": node,
                "restartPolicy": "Always",
                "schedulerName": "default-scheduler",
                "serviceAccountName": "default",
                "terminationGracePeriodSeconds": 30,
                "tolerations": [
                    {
                        "key": f"node.kubernetes.io/{what}",
                        "operator": "Exists",
                        "effect": "NoExecute",
                        "tolerationSeconds": 300,
                    }
                    for what in ("not-ready", "unreachable")
                ],
            },
            "status": {
                "phase": "Running",
                "hostIP": "10.0.0.1",
                "podIP": "10.244.1.7",
                "podIPs": [{"ip": "10.244.1.7"}],
                "qosClass": "Burstable",
                "startTime": time.format(1),
                "conditions": [
                    {"type": kind, "status": "True", "lastTransitionTime": time.format(second)}
                    for kind, second in conditions
                ],
                "containerStatuses": [
                    {
                        "name": "server",
                        "image": "registry.example/app-0:1",
                        "imageID": "registry.example/app-0@sha256:" + "0123456789abcdef" * 4,
                        "containerID": "containerd://" + "0123456789abcdef" * 4,
                        "ready": True,
                        "started": True,
                        "restartCount": 0,
                        "state": {"running": {"startedAt": time.format(5)}},
                    }
                ],
            },
        }
    )
    assert isinstance(found, Pod)
    return found

"""The experiment of the command line's contract, every key of it, and a small one to spoil."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CONTRACT: Final = """\
apiVersion: wavetank/v1
kind: Experiment
metadata: {name: node-failure}
spec:
  seed: 7
  cluster:
    nodes:
      - {prefix: a, count: 4, zone: zone-a, capacity: {cpu: "4", memory: 8Gi, pods: "110"}, labels: {disk: ssd}}
      - {prefix: b, count: 3, zone: zone-b, taints: [{key: dedicated, value: batch, effect: NoSchedule}]}
    settings: {nodeMonitorGracePeriod: 40s}
  manifests: [shop.yaml]
  images:
    - {match: "busybox*", runs: 30s, exitCode: 0}
    - {match: "*", pull: 1s..5s, start: 500ms..2s, readyAfter: 1s..3s, memory: 64Mi}
  steadyState:
    - deploymentAvailable: {namespace: default, name: frontend}
    - podsReady: {selector: "app=frontend", count: 3}
    - nodeReady: {name: a-0}
    - python: mychecks:no_orphans
  method:
    - {at: 1m, crashNode: {busiest: true}}
    - {at: 12m, restartNode: {busiest: true}}
    - {at: 2m, partitionNode: {name: a-1, for: 90s}}
    - {at: 3m, pauseKubelet: {name: a-2, for: 20s}}
    - {at: 4m, scale: {deployment: frontend, replicas: 5}}
    - {at: 5m, apply: second-version.yaml}
    - {at: 6m, delete: {kind: Pod, selector: "app=cart"}}
    - {at: 7m, cordon: {node: b-0}}
    - {at: 8m, restartReconciler: {name: deployment}}
  invariants: [withinSurge, noOvercommit, oneLeader, boundOnce]
  until: 20m
"""

DEPLOYMENT: Final = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
        - name: main
          image: registry.example/{name}:{version}
          resources: {{requests: {{cpu: 500m, memory: 128Mi}}}}
---
"""
BATCH: Final = """\
apiVersion: v1
kind: Pod
metadata: {name: batch}
spec:
  restartPolicy: Never
  tolerations: [{key: dedicated, operator: Exists}]
  nodeSelector: {topology.kubernetes.io/zone: zone-b}
  containers: [{name: main, image: "busybox:1.36"}]
"""
MYCHECKS: Final = '''\
"""A check of the user's own."""


def no_orphans(view):
    owners = {obj.metadata.uid for kind in ("ReplicaSet", "Pod") for obj in view.list(kind)}
    for pod in view.pods():
        for owner in pod.metadata.owner_references:
            if owner.uid not in owners:
                return f"pod {pod.metadata.name} has no owner"
    return True
'''

SMALL: Final = """\
apiVersion: wavetank/v1
kind: Experiment
metadata: {name: small}
spec:
  seed: 1
  cluster:
    nodes:
      - {prefix: w, count: 2, zone: z}
    settings: {nodeMonitorGracePeriod: 40s}
  manifests: [app.yaml]
  images:
    - {match: "*", pull: 1s..2s}
  steadyState:
    - deploymentAvailable: {name: web}
    - podsReady: {selector: "app=web", count: 2}
  method:
    - {at: 10s, scale: {deployment: web, replicas: 3}}
    - {at: 40s, crashNode: {name: w-0}}
  invariants: [boundOnce]
  until: 1m
"""


def write_contract(folder: Path) -> Path:
    """The contract's example with its files; returns its path."""
    shop = DEPLOYMENT.format(name="frontend", replicas=3, version=1)
    shop += DEPLOYMENT.format(name="cart", replicas=2, version=1)
    (folder / "shop.yaml").write_text(shop + BATCH)
    second = DEPLOYMENT.format(name="frontend", replicas=5, version=2)
    (folder / "second-version.yaml").write_text(second)
    (folder / "mychecks.py").write_text(MYCHECKS)
    path = folder / "experiment.yaml"
    path.write_text(CONTRACT)
    return path


def write_small(folder: Path, old: str = "", new: str = "", *, app: str = "") -> Path:
    """The small experiment, with one text in it replaced; its manifest is `app` or a Deployment of two pods."""
    assert old in SMALL, old
    (folder / "app.yaml").write_text(app or DEPLOYMENT.format(name="web", replicas=2, version=1))
    path = folder / "small.yaml"
    path.write_text(SMALL.replace(old, new, 1) if old else SMALL)
    return path

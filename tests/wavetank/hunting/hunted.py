"""Experiments that are hunted in these tests: a small shop, and an operator of the user's own with a planted bug."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SHOP: Final = """\
apiVersion: wavetank/v1
kind: Experiment
metadata: {name: shop}
spec:
  cluster:
    nodes:
      - {prefix: a, count: 2, zone: zone-a}
      - {prefix: b, count: 1, zone: zone-b}
  manifests: [web.yaml]
  steadyState:
    - deploymentAvailable: {name: web}
"""

WEB: Final = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: registry.example/web:1, resources: {requests: {cpu: 100m, memory: 64Mi}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: colours}
data: {sky: blue}
"""

BRITTLE: Final = '''\
"""A reconciler that cannot bear a Deployment that lacks replicas once it had all of them."""

from wavetank import Deployment, Done, For, Reconciler, sometimes


class Brittle(Reconciler):
    name = "brittle"

    def sources(self):
        return [For(Deployment)]

    async def setup(self):
        self._whole = {}

    async def reconcile(self, key):
        deployment = self.informer(Deployment).get(key)
        if deployment is None:
            return Done()
        lacking = deployment.spec.replicas - deployment.status.available_replicas
        sometimes("a Deployment that is gone", False)
        sometimes("a whole Deployment", lacking == 0)
        if lacking == 0:
            self._whole[key] = True
        elif key in self._whole:
            raise RuntimeError(f"{lacking} replicas are lacking")
        return Done()
'''


def write_shop(folder: Path) -> Path:
    """The shop, as a user's file; its operators are Kubernetes' own."""
    (folder / "web.yaml").write_text(WEB)
    path = folder / "shop.yaml"
    path.write_text(SHOP)
    return path


def write_brittle(folder: Path) -> Path:
    """The shop with the operator that breaks."""
    path = write_shop(folder)
    (folder / "brittle.py").write_text(BRITTLE)
    spec = SHOP.replace("  cluster:\n", '  cluster:\n    reconcilers: ["brittle:Brittle"]\n')
    path.write_text(spec)
    return path

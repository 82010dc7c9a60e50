"""How the lists of each kind merge: the strategic merge patch's merge keys, as data (reference/api.md, 4.3).

A `Shape` describes one JSON object: which of its lists merge and by which key, which merge as plain values, which maps keep only what the patch
names (`$retainKeys`, for unions), and the shapes of its children. What no shape names is a scalar, a map that merges by its keys, or a
list that is replaced whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs


@attrs.frozen(kw_only=True)
class Shape:
    """The merge rules of one JSON object; `children` are the shapes of its maps and of its lists' elements."""

    keys: Mapping[str, str] = {}
    """List field: the key by which its elements are told apart."""
    values: tuple[str, ...] = ()
    """Lists of plain values that merge as sets."""
    retain: tuple[str, ...] = ()
    """Fields (a map, or the elements of a keyed list) that keep only what the manifest names, once it changes them."""
    children: Mapping[str, Shape] = {}

    def child(self, field: str) -> Shape:
        """The shape below `field`."""
        return self.children.get(field, PLAIN)


PLAIN: Final = Shape()

METADATA: Final = Shape(keys={"ownerReferences": "uid"}, values=("finalizers",))
_CONTAINER: Final = Shape(
    keys={
        "ports": "containerPort",
        "env": "name",
        "volumeMounts": "mountPath",
        "volumeDevices": "devicePath",
    }
)
_POD_SPEC: Final = Shape(
    keys={
        "containers": "name",
        "initContainers": "name",
        "ephemeralContainers": "name",
        "imagePullSecrets": "name",
        "schedulingGates": "name",
        "volumes": "name",
        "resourceClaims": "name",
        "hostAliases": "ip",
        "topologySpreadConstraints": "topologyKey",
    },
    retain=("volumes", "resourceClaims"),
    children={
        "containers": _CONTAINER,
        "initContainers": _CONTAINER,
        "ephemeralContainers": _CONTAINER,
    },
)
_TEMPLATE: Final = Shape(children={"metadata": METADATA, "spec": _POD_SPEC})
_CONDITIONS: Final = Shape(keys={"conditions": "type"})


def _kind(
    spec: Shape = PLAIN, status: Shape = _CONDITIONS, keys: Mapping[str, str] | None = None
) -> Shape:
    return Shape(keys=keys or {}, children={"metadata": METADATA, "spec": spec, "status": status})


_WORKLOAD: Final = Shape(children={"template": _TEMPLATE})

SHAPES: Final[Mapping[tuple[str, str], Shape]] = {
    ("", "Pod"): _kind(
        _POD_SPEC, Shape(keys={"conditions": "type", "podIPs": "ip", "hostIPs": "ip"})
    ),
    ("", "ReplicationController"): _kind(_WORKLOAD),
    ("apps", "ReplicaSet"): _kind(_WORKLOAD),
    ("apps", "Deployment"): _kind(Shape(retain=("strategy",), children={"template": _TEMPLATE})),
    ("", "Service"): _kind(Shape(keys={"ports": "port"})),
    ("", "Node"): _kind(
        Shape(values=("podCIDRs",)), Shape(keys={"conditions": "type", "addresses": "type"})
    ),
    ("", "ServiceAccount"): _kind(keys={"secrets": "name"}),
}
"""By group and kind. Kinds not named here merge their metadata and conditions only."""

BUILT_IN: Final = _kind()


def shape_of(group: str, kind: str, *, custom: bool) -> Shape:
    """The merge rules of a kind; custom kinds have none, as kubectl has no schema for them."""
    return PLAIN if custom else SHAPES.get((group, kind), BUILT_IN)

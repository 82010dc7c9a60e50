"""What faults have left in a cluster: nothing, once they are healed.

Each family looks at its own mechanisms, not at what the faults remember of themselves: a hold, an entry, a write that was not taken back.
"""

from __future__ import annotations

from wavetank.faults import (
    kubelet,
    link,
    node,
    node_object,
    process,
    server,
    store,
    watch,
    workload,
)
from wavetank.faults.world import World


def residue(world: World) -> list[str]:
    """Every disturbance that is in force anywhere in the cluster, one line each; an undisturbed cluster has none."""
    return [
        *node.residue(world),
        *node_object.residue(world),
        *kubelet.residue(world),
        *workload.residue(world),
        *process.residue(world),
        *store.residue(world),
        *link.residue(world),
        *server.residue(world),
        *watch.residue(world),
    ]

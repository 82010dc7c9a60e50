"""Generated names and uids, each caused by what asked for it.

A name's suffix is drawn from (kind, base, owner's uid or namespace, ordinal), where the ordinal counts what was created for that
owner and base. One injected fault therefore renames nothing outside of what it touched, and two runs can be compared object by object.
A uid is drawn from the same path, or from (kind, namespace, name, incarnation) for a name that was given.

The counts are the server's memory. A restarted server starts them anew, and so mixes into every path the `epoch` it is given: the
store's head when it started (0 for a new cluster).
"""

from __future__ import annotations

from typing import Final

import attrs

from engine.objects.meta import ObjectMeta, Uid
from engine.objects.scheme import Resource
from engine.sim.draws import Draws

MAX_BASE_LENGTH: Final = 58
"""Of generateName (`maxGeneratedNameLength` in k8s.io/apiserver/pkg/storage/names)."""


@attrs.frozen
class NewName:
    """The name and uid of an object to be created."""

    name: str
    uid: Uid


@attrs.define(eq=False)
class Names:
    """Gives names and uids; O(1), memory per owner and per deleted object with a given name."""

    draws: Draws
    epoch: int
    shared: bool = False
    """Another API server writes to the same store: what it has deleted is not known here, so every object is told by
    the time, and by how often this server has made one of its name. Each of them has draws of its own."""
    _ordinals: dict[tuple[str, str, str], int] = attrs.field(factory=dict, init=False)
    _incarnations: dict[str, int] = attrs.field(factory=dict, init=False)

    def generate(self, resource: Resource, namespace: str, metadata: ObjectMeta) -> NewName:
        """The next name from `generate_name`; each call gives another."""
        base = metadata.generate_name
        owner = metadata.controller
        if owner is None and metadata.owner_references:
            owner = metadata.owner_references[0]
        parent = owner.uid if owner is not None else namespace
        path = (resource.group_resource, parent, base)
        ordinal = self._ordinals.get(path, 0)
        self._ordinals[path] = ordinal + 1
        suffix = self.draws.suffix(*path, self.epoch, ordinal)
        return NewName(
            base[:MAX_BASE_LENGTH] + suffix,
            Uid(self.draws.uid("generated", *path, self.epoch, ordinal)),
        )

    def given(self, resource: Resource, key: str, now_us: int) -> NewName:
        """The uid for an object whose name the client gave; `key` is its key in the store.

        What nothing refers to (Events) takes the time for an incarnation, as there are many and each name is used once.
        """
        name = key.rpartition("/")[2]
        if self.shared:
            count = self._incarnations[key] = self._incarnations.get(key, 0) + 1
            return NewName(name, Uid(self.draws.uid("given", key, self.epoch, now_us, count)))
        life = self._incarnations.get(key, 0) if resource.garbage_collected else now_us
        return NewName(name, Uid(self.draws.uid("given", key, self.epoch, life)))

    def ended(self, resource: Resource, key: str, metadata: ObjectMeta) -> None:
        """An object was removed: the next one of its name is another."""
        if not metadata.generate_name and resource.garbage_collected:
            self._incarnations[key] = self._incarnations.get(key, 0) + 1

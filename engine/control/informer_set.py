"""The informers of one process: one for each kind, made on demand until the process has set itself up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar, cast

import attrs

from engine.control.client import Client
from engine.control.informer import Informer
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource
from engine.settings import Settings
from engine.sim.draws import Draws

T = TypeVar("T", bound=KubeObject)


@attrs.define(eq=False)
class InformerSet:
    """See the module's text; what a reconciler sees of it is `InformerSource`."""

    client: Client
    settings: Settings
    draws: Draws
    actor: str
    _informers: dict[Resource, Informer[KubeObject]] = attrs.field(factory=dict, init=False)
    _by_kind: dict[type[KubeObject] | Resource, Informer[KubeObject]] = attrs.field(
        factory=dict, init=False
    )
    """The same by what they were asked for with: reconcilers ask all the time."""
    _sealed: bool = attrs.field(default=False, init=False)

    def __call__(self, kind: type[T] | Resource) -> Informer[T]:
        known = self._by_kind.get(kind)
        if known is None:
            known = self._by_kind[kind] = cast("Informer[KubeObject]", self.get(kind))
        return cast("Informer[T]", known)

    def __iter__(self) -> Iterator[Informer[KubeObject]]:
        return iter(self._informers.values())

    def __len__(self) -> int:
        return len(self._informers)

    def get(self, kind: type[T] | Resource) -> Informer[T]:
        """The informer of a kind, of whatever it selects. Raises LookupError for a new kind once sealed."""
        resource = self.client.scheme.resource_of(kind)
        informer = self._informers.get(resource)
        if informer is None:
            return self.declare(kind)
        return cast("Informer[T]", informer)

    def declare(
        self, kind: type[T] | Resource, label_selector: str = "", field_selector: str = ""
    ) -> Informer[T]:
        """The informer of a kind with these selectors. Raises ValueError when it has others already."""
        resource = self.client.scheme.resource_of(kind)
        informer = self._informers.get(resource)
        if informer is None:
            if self._sealed:
                raise LookupError(
                    f"{self.actor} asked for {resource.plural} after its start; "
                    "declare the kind in sources() or ask for it in setup()"
                )
            informer = Informer(
                self.client,
                resource,
                self.settings,
                self.draws,
                f"{self.actor}/informer/{resource.plural}",
                label_selector=label_selector,
                field_selector=field_selector,
            )
            self._informers[resource] = informer
        elif (informer.label_selector, informer.field_selector) != (label_selector, field_selector):
            raise ValueError(
                f"{self.actor} declares {resource.plural} twice with different selectors; "
                "a process has one picture of a kind: declare the wider one and filter in `keys`"
            )
        return cast("Informer[T]", informer)

    def seal(self) -> None:
        """No new kinds from now on: the informers start."""
        self._sealed = True

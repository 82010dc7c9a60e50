"""The cluster as admission sees it: a few kinds, by name, from the watch cache."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from engine.api.registry import RegistryCache
from engine.objects.core import Namespace, PriorityClass, ServiceAccount
from engine.objects.kinds import NAMESPACE, PRIORITY_CLASS, SERVICE_ACCOUNT
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource


@attrs.frozen
class CacheView:
    """A `View` (engine.api.admission) of the cache."""

    cache: RegistryCache

    def namespace(self, name: str) -> Namespace | None:
        """The namespace of that name."""
        found = self._find(NAMESPACE, "", name)
        return found if isinstance(found, Namespace) else None

    def service_account(self, namespace: str, name: str) -> ServiceAccount | None:
        """The service account of that name."""
        found = self._find(SERVICE_ACCOUNT, namespace, name)
        return found if isinstance(found, ServiceAccount) else None

    def priority_class(self, name: str) -> PriorityClass | None:
        """The priority class of that name."""
        found = self._find(PRIORITY_CLASS, "", name)
        return found if isinstance(found, PriorityClass) else None

    def priority_classes(self) -> Iterator[PriorityClass]:
        """All priority classes, in name order."""
        for found in self.cache.all_known(PRIORITY_CLASS):
            if isinstance(found, PriorityClass):
                yield found

    def _find(self, resource: Resource, namespace: str, name: str) -> KubeObject | None:
        entry = self.cache.newest_known(resource, resource.storage_key(namespace, name))
        return entry.value if entry is not None else None

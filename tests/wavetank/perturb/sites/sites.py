"""A small operator, right and with one mistake planted in each copy: a Site that is enabled has a ConfigMap with its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs

import wavetank
from engine import AlreadyExists, ConfigMap, NotFound, key_of
from wavetank import ApiType, Done, For, Key, Owns, Reconciler, TypedObject


@attrs.frozen(kw_only=True)
class SiteSpec(ApiType):
    page: str
    enabled: bool = True


@attrs.frozen(kw_only=True)
class SiteStatus(ApiType):
    config: str = ""
    """The name of its ConfigMap."""


@attrs.frozen(kw_only=True)
class Site(TypedObject):
    api_version: ClassVar[str] = "example.dev/v1"
    kind: ClassVar[str] = "Site"

    spec: SiteSpec
    status: SiteStatus = SiteStatus()


SITES = wavetank.custom_resource(Site, plural="sites", status_subresource=True)


def config_for(site: Site, *, drawn: bool = False) -> ConfigMap:
    """What the site needs, under its own name or under a drawn one."""
    return ConfigMap(
        metadata=wavetank.ObjectMeta(
            name="" if drawn else site.metadata.name,
            generate_name=f"{site.metadata.name}-" if drawn else "",
            namespace=site.metadata.namespace,
            owner_references=(wavetank.controller_ref(site),),
        ),
        data={"page": site.spec.page},
    )


class Sites(Reconciler):
    """Right: what it does depends on what there is, and what it removes is the very object it has seen."""

    name: ClassVar[str] = "sites"

    def sources(self) -> Sequence[For[Site] | Owns[ConfigMap]]:
        return [For(Site), Owns(ConfigMap)]

    async def reconcile(self, key: Key) -> Done:
        site = self.informer(Site).get(key)
        if site is None or site.metadata.deletion_timestamp is not None:
            return Done()
        config = self.informer(ConfigMap).get(key)
        if site.spec.enabled and config is None:
            await self.make(site)
        elif not site.spec.enabled and config is not None:
            await self.remove(config)
        await self.report(site, key.name if site.spec.enabled else "")
        return Done()

    async def make(self, site: Site) -> None:
        await self.client.create(config_for(site))

    async def remove(self, config: ConfigMap) -> None:
        await self.client.delete(config)

    async def report(self, site: Site, config: str) -> None:
        if site.status.config != config:
            status = SiteStatus(config=config)
            await self.client.update_status(attrs.evolve(site, status=status))


class Recording(Sites):
    """Makes a ConfigMap under a drawn name, and then writes the name down: one that was not written down is forgotten."""

    async def reconcile(self, key: Key) -> Done:
        site = self.informer(Site).get(key)
        if site is None or site.metadata.deletion_timestamp is not None:
            return Done()
        if site.spec.enabled and not site.status.config:
            made = await self.client.create(config_for(site, drawn=True))
            await self.report(site, made.metadata.name)
        elif not site.spec.enabled and site.status.config:
            await self.client.delete(ConfigMap, site.status.config, key.namespace)
            await self.report(site, "")
        return Done()


class HalfDone(Sites):
    """Reports first, and takes what it reported for done: a page that was not made is never made."""

    async def reconcile(self, key: Key) -> Done:
        site = self.informer(Site).get(key)
        if site is None or site.metadata.deletion_timestamp is not None:
            return Done()
        if site.spec.enabled and not site.status.config:
            await self.report(site, key.name)
            await self.make(site)
        elif not site.spec.enabled and site.status.config:
            await self.report(site, "")
            await self.client.delete(ConfigMap, key.name, key.namespace)
        return Done()


class ByName(Sites):
    """Removes by name: whatever bears it now."""

    async def remove(self, config: ConfigMap) -> None:
        metadata = config.metadata
        await self.client.delete(ConfigMap, metadata.name, metadata.namespace)


class Edge(Sites):
    """Removes the page of a site when it is told that the site has gone, and owns nothing: what it is not told of stays."""

    def sources(self) -> Sequence[For[Site] | Owns[ConfigMap]]:
        return [For(Site, on_change=self._changed), Owns(ConfigMap)]

    async def setup(self) -> None:
        self.gone: dict[Key, None] = {}

    def _changed(self, change: wavetank.Change[Site]) -> None:
        if change.new is None:
            self.gone[key_of(change.object)] = None

    async def reconcile(self, key: Key) -> Done:
        if self.gone.pop(key, False) is None:
            try:
                await self.client.delete(ConfigMap, key.name, key.namespace)
            except NotFound:
                return Done()
        return await super().reconcile(key)

    async def make(self, site: Site) -> None:
        config = config_for(site)
        metadata = attrs.evolve(config.metadata, owner_references=())
        try:
            await self.client.create(attrs.evolve(config, metadata=metadata))
        except AlreadyExists:
            return

"""An operator with a bug in it, and the same without: a `Site` is served by a Deployment whose name the API server makes up.

wavetank hunt examples/hunt/buggy.yaml --faults process     finds the bug
wavetank shrink hunts/buggy/seed-N                          says what it takes
wavetank hunt examples/hunt/fixed.yaml --faults process     finds nothing
"""

from collections.abc import Sequence
from typing import ClassVar

import attrs

import wavetank
from wavetank import ApiType, Deployment, Done, For, Key, Owns, Reconciler, TypedObject


@attrs.frozen(kw_only=True)
class SiteSpec(ApiType):
    """What its author asks for."""

    image: str
    replicas: int = 1


@attrs.frozen(kw_only=True)
class SiteStatus(ApiType):
    """Which Deployment serves it."""

    deployment: str = ""


@attrs.frozen(kw_only=True)
class Site(TypedObject):
    """A custom kind."""

    api_version: ClassVar[str] = "example.dev/v1"
    kind: ClassVar[str] = "Site"

    spec: SiteSpec
    status: SiteStatus = SiteStatus()


SITES = wavetank.custom_resource(Site, plural="sites", status_subresource=True)


def deployment_for(site: Site) -> Deployment:
    """What serves the site, without a name."""
    labels = {"site": site.metadata.name}
    return Deployment(
        metadata=wavetank.ObjectMeta(
            generate_name=f"{site.metadata.name}-",
            namespace=site.metadata.namespace,
            labels=labels,
            owner_references=(wavetank.controller_ref(site),),
        ),
        spec=wavetank.DeploymentSpec(
            replicas=site.spec.replicas,
            selector=wavetank.LabelSelector(match_labels=labels),
            template=wavetank.PodTemplateSpec(
                metadata=wavetank.ObjectMeta(labels=labels),
                spec=wavetank.PodSpec(
                    containers=(wavetank.Container(name="web", image=site.spec.image),)
                ),
            ),
        ),
    )


class BuggySites(Reconciler):
    """Creates the Deployment, then notes its name. What it has created and not yet noted it keeps in mind, and forgets when it dies in between."""

    name: ClassVar[str] = "sites"

    def sources(self) -> Sequence[For[Site] | Owns[Deployment]]:
        """A site is looked at when it changes, and when its Deployment does."""
        return [For(Site), Owns(Deployment)]

    async def reconcile(self, key: Key) -> Done:
        """One Deployment for each site."""
        site = self.informer(Site).get(key)
        if site is None or site.metadata.deletion_timestamp is not None:
            return Done()
        if not site.status.deployment:
            created = await self.existing_or_new(site)
            status = SiteStatus(deployment=created.metadata.name)
            await self.client.update_status(attrs.evolve(site, status=status))
        return Done()

    async def setup(self) -> None:
        """Begin with an empty mind."""
        self.created: dict[str, Deployment] = {}

    async def existing_or_new(self, site: Site) -> Deployment:
        """The one that it has in mind, or a new one: that is the bug."""
        uid = site.metadata.uid
        if uid not in self.created:
            self.created[uid] = await self.client.create(deployment_for(site))
        return self.created[uid]


class Sites(BuggySites):
    """Looks for a Deployment of its own first, in the API and not in its mind or its cache: so nothing is created twice."""

    async def existing_or_new(self, site: Site) -> Deployment:
        """The one that an earlier life of this operator made, or a new one."""
        label = f"site={site.metadata.name}"
        found = await self.client.list(Deployment, site.metadata.namespace, label_selector=label)
        wavetank.sometimes("a Deployment is adopted", found)
        for deployment in found:
            owner = deployment.metadata.controller
            if owner is not None and owner.uid == site.metadata.uid:
                return deployment
        return await self.client.create(deployment_for(site))


def one_deployment_for_each_site(view: wavetank.View) -> str | None:
    """The steady state: each site has one Deployment, and it is the one that its status names."""
    for site in view.list(Site):
        names = [
            each.object.metadata.name
            for each in view.deployments()
            if each.object.metadata.labels.get("site") == site.metadata.name
        ]
        if names != [site.status.deployment]:
            return f"site {site.metadata.name} names {site.status.deployment!r}, there are {names}"
    return None

"""An operator of your own: a `Website` becomes a Deployment, and says how many of its replicas answer.

python examples/websites/websites.py
"""

from collections.abc import Sequence
from typing import ClassVar

import attrs

import wavetank
from wavetank import ApiType, Deployment, Done, For, Key, Owns, Reconciler, TypedObject


@attrs.frozen(kw_only=True)
class WebsiteSpec(ApiType):
    """What its author asks for."""

    image: str
    replicas: int = 1


@attrs.frozen(kw_only=True)
class WebsiteStatus(ApiType):
    """What there is."""

    answering: int = 0


@attrs.frozen(kw_only=True)
class Website(TypedObject):
    """A custom kind: an attrs class, and nothing more."""

    api_version: ClassVar[str] = "example.dev/v1"
    kind: ClassVar[str] = "Website"

    spec: WebsiteSpec
    status: WebsiteStatus = WebsiteStatus()


WEBSITES = wavetank.custom_resource(Website, plural="websites", status_subresource=True)


def deployment_for(site: Website) -> Deployment:
    """What the website needs: pure, so that it can be tested without a cluster."""
    labels = {"website": site.metadata.name}
    return Deployment(
        metadata=wavetank.ObjectMeta(
            name=site.metadata.name,
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


class Websites(Reconciler):
    """Makes it so. A website that goes takes its Deployment along: the garbage collector follows the owner reference."""

    name: ClassVar[str] = "websites"

    def sources(self) -> Sequence[For[Website] | Owns[Deployment]]:
        """A website is looked at when it changes, and when its Deployment does."""
        return [For(Website), Owns(Deployment)]

    async def reconcile(self, key: Key) -> Done:
        """Apply what the website needs, then say what there is."""
        site = self.informer(Website).get(key)
        if site is None or site.metadata.deletion_timestamp is not None:
            return Done()
        await self.client.apply(deployment_for(site))
        found = self.informer(Deployment).get(key)
        answering = found.status.available_replicas if found is not None else 0
        if site.status.answering != answering:
            status = attrs.evolve(site.status, answering=answering)
            await self.client.update_status(attrs.evolve(site, status=status))
        return Done()


async def main(cluster: wavetank.Cluster) -> float:
    """Publish a blog, crash the node that carries most of it, and wait until it answers in full again."""

    def answering(view: wavetank.View) -> int:
        return view.the(Website, "blog").status.answering

    await cluster.apply(
        Website(
            metadata=wavetank.ObjectMeta(name="blog"),
            spec=WebsiteSpec(image="registry.example/blog:1", replicas=3),
        )
    )
    await cluster.until(lambda view: answering(view) == 3, "5m")
    began = cluster.clock.now()
    await cluster.chaos.crash(cluster.busiest_node())
    await cluster.until(lambda view: answering(view) < 3, "5m")
    await cluster.until(lambda view: answering(view) == 3, "10m")
    return cluster.clock.now() - began


def run(seed: int) -> wavetank.Result[float]:
    """The whole run: Kubernetes' reconcilers, and ours."""
    scheme = wavetank.default_scheme()
    scheme.register(WEBSITES)
    reconcilers = [*wavetank.default_reconcilers(), Websites()]
    return wavetank.run(main, nodes=3, seed=seed, scheme=scheme, reconcilers=reconcilers)


if __name__ == "__main__":
    result = run(seed=1)
    print(f"the blog answers in full {result.value:.0f} s after the crash; digest {result.digest}")

"""An operator of your own: a `Website` becomes a Deployment, and says how many of its replicas answer.

python examples/websites/websites.py
"""

from typing import ClassVar

import attrs

import wavetank
from wavetank import Deployment, Done, For, Key, Owns, Reconciler


@attrs.frozen(kw_only=True)
class WebsiteSpec(wavetank.ApiType):
    image: str
    replicas: int = 1


@attrs.frozen(kw_only=True)
class WebsiteStatus(wavetank.ApiType):
    answering: int = 0


@attrs.frozen(kw_only=True)
class Website(wavetank.TypedObject):
    api_version: ClassVar[str] = "example.dev/v1"
    kind: ClassVar[str] = "Website"

    spec: WebsiteSpec
    status: WebsiteStatus = WebsiteStatus()


def scheme() -> wavetank.Scheme:
    """Kubernetes' kinds, and ours."""
    known = wavetank.default_scheme()
    known.register(
        wavetank.Resource(
            group="example.dev",
            version="v1",
            kind="Website",
            plural="websites",
            singular="website",
            type=Website,
            custom=True,
            status_subresource=True,
        )
    )
    return known


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
    name: ClassVar[str] = "websites"

    def sources(self):
        return [For(Website), Owns(Deployment)]

    async def reconcile(self, key: Key):
        site = self.informer(Website).get(key)
        if site is None:
            return (
                Done()
            )  # its Deployment goes with it: the garbage collector sees the owner reference
        wanted = deployment_for(site)
        found = self.informer(Deployment).get(key)
        if found is None:
            await self.client.create(wanted)
            return Done()
        template = wanted.spec.template
        image = template.spec.containers[0].image
        if (
            found.spec.replicas != wanted.spec.replicas
            or found.spec.template.spec.containers[0].image != image
        ):
            spec = attrs.evolve(found.spec, replicas=wanted.spec.replicas, template=template)
            await self.client.update(attrs.evolve(found, spec=spec))
        answering = found.status.available_replicas
        if site.status.answering != answering:
            status = attrs.evolve(site.status, answering=answering)
            await self.client.update_status(attrs.evolve(site, status=status))
        return Done()


async def main(cluster: wavetank.Cluster) -> int:
    await cluster.client.create(
        Website(
            metadata=wavetank.ObjectMeta(name="blog", namespace="default"),
            spec=WebsiteSpec(image="registry.example/blog:1", replicas=3),
        )
    )
    await cluster.until(lambda view: view.get(Website, "blog").status.answering == 3, "5m")
    await cluster.chaos.crash(cluster.busiest_node())
    await cluster.until(lambda view: view.get(Website, "blog").status.answering < 3, "5m")
    await cluster.until(lambda view: view.get(Website, "blog").status.answering == 3, "10m")
    return cluster.log.head


if __name__ == "__main__":
    reconcilers = [*wavetank.default_reconcilers(), Websites()]
    result = wavetank.run(main, nodes=3, seed=1, scheme=scheme(), reconcilers=reconcilers)
    print(f"the blog answers again after {result.virtual_seconds:.0f} s; digest {result.digest}")

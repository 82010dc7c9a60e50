"""A user's operator, correct: a `Shop` is a ConfigMap, a Deployment for each version of its image, and a Database in somebody else's cloud.

Three reconcilers: `Shops` makes a shop what it should be, `Cloud` stands for the provider of the databases, and `Sweeper` removes databases that
belong to no shop. The mutants of `mutants.py` break one line each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

import attrs

from wavetank import (
    AlreadyExists,
    ApiError,
    ApiType,
    ConfigMap,
    Conflict,
    Container,
    Deployment,
    DeploymentSpec,
    DeploymentView,
    Done,
    For,
    Key,
    KubeObject,
    LabelSelector,
    NotFound,
    ObjectMeta,
    Owns,
    PodSpec,
    PodTemplateSpec,
    Reconciler,
    ReconcileResult,
    RequeueAfter,
    TypedObject,
    View,
    Watches,
    controller_ref,
    custom_resource,
)

FINALIZER = "example.dev/database"
CLOUD = "cloud"
"""The namespace of the databases: no garbage collector follows from there to a shop."""
POLL_SECONDS = 10.0
SWEEP_SECONDS = 30.0
STEP_NS = 3_000_000_000


@attrs.frozen(kw_only=True)
class ShopSpec(ApiType):
    image: str
    replicas: int = 1
    theme: str = "plain"
    storage: int = 10


@attrs.frozen(kw_only=True)
class ShopStatus(ApiType):
    observed_generation: int = 0
    ready: int = 0
    database: str = ""
    message: str = ""


@attrs.frozen(kw_only=True)
class Shop(TypedObject):
    api_version: ClassVar[str] = "example.dev/v1"
    kind: ClassVar[str] = "Shop"

    spec: ShopSpec
    status: ShopStatus = ShopStatus()


@attrs.frozen(kw_only=True)
class DatabaseSpec(ApiType):
    shop: str
    namespace: str
    shop_uid: str
    storage: int = 10


@attrs.frozen(kw_only=True)
class DatabaseStatus(ApiType):
    storage: int = 0
    backups: int = 0


@attrs.frozen(kw_only=True)
class Database(TypedObject):
    api_version: ClassVar[str] = "cloud.example.dev/v1"
    kind: ClassVar[str] = "Database"

    spec: DatabaseSpec
    status: DatabaseStatus = DatabaseStatus()


SHOPS = custom_resource(Shop, plural="shops", status_subresource=True)
DATABASES = custom_resource(Database, plural="databases", status_subresource=True)


def database_name(shop: Shop) -> str:
    return f"db-{shop.metadata.uid}"


def database_for(shop: Shop) -> Database:
    return Database(
        metadata=ObjectMeta(name=database_name(shop), namespace=CLOUD),
        spec=DatabaseSpec(
            shop=shop.metadata.name,
            namespace=shop.metadata.namespace,
            shop_uid=shop.metadata.uid,
            storage=shop.spec.storage,
        ),
    )


def config_for(shop: Shop) -> ConfigMap:
    return ConfigMap(
        metadata=ObjectMeta(
            name=f"{shop.metadata.name}-config",
            namespace=shop.metadata.namespace,
            labels={"shop": shop.metadata.name},
            owner_references=(controller_ref(shop),),
        ),
        data={"theme": shop.spec.theme},
    )


def deployment_name(shop: Shop) -> str:
    return f"{shop.metadata.name}-{shop.spec.image.rpartition(':')[2]}"


def deployment_for(shop: Shop) -> Deployment:
    labels = {"shop": shop.metadata.name, "version": deployment_name(shop)}
    return Deployment(
        metadata=ObjectMeta(
            name=deployment_name(shop),
            namespace=shop.metadata.namespace,
            labels=labels,
            owner_references=(controller_ref(shop),),
        ),
        spec=DeploymentSpec(
            replicas=shop.spec.replicas,
            selector=LabelSelector(match_labels=labels),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels=labels),
                spec=PodSpec(containers=(Container(name="shop", image=shop.spec.image),)),
            ),
        ),
    )


def message_for(shop: Shop, ready: int) -> str:
    return f"{ready} of {shop.spec.replicas} answer"


def is_of(child: KubeObject, shop: Shop) -> bool:
    owner = child.metadata.controller
    return owner is not None and owner.uid == shop.metadata.uid


def with_finalizers(shop: Shop, finalizers: tuple[str, ...]) -> Shop:
    return attrs.evolve(shop, metadata=attrs.evolve(shop.metadata, finalizers=finalizers))


class Shops(Reconciler):
    """Makes each shop what it should be. Idempotent: it may be cut off at any write."""

    name: ClassVar[str] = "shops"

    def sources(self) -> Sequence[For[Shop] | Owns[ConfigMap] | Owns[Deployment]]:
        """A shop is looked at when it or a child of it changes; its database, which nobody tells of, is polled while it grows."""
        return [For(Shop), Owns(ConfigMap), Owns(Deployment)]

    async def setup(self) -> None:
        self._databases: dict[str, str] = {}
        """Names by the shop's uid: saves a look; whoever starts again knows none."""

    async def reconcile(self, key: Key) -> ReconcileResult:
        shop = self.informer(Shop).get(key)
        if shop is None:
            return Done()
        if shop.metadata.deletion_timestamp is not None:
            await self._leave(shop)
            return Done()
        if FINALIZER not in shop.metadata.finalizers:
            # Before the database is made: what is not signed for would be left behind.
            await self.client.update(with_finalizers(shop, (*shop.metadata.finalizers, FINALIZER)))
            return Done()
        database = await self._database(shop)
        await self._config(shop)
        await self._deployment(shop)
        await self._retire(shop)
        await self._report(shop, database)
        grown = database.status.storage == database.spec.storage
        return Done() if grown else RequeueAfter(POLL_SECONDS)

    async def _database(self, shop: Shop) -> Database:
        name = shop.status.database
        try:
            if name:
                database = await self.client.get(Database, name, CLOUD)
            else:
                database = await self.client.create(database_for(shop))
        except (AlreadyExists, NotFound):
            # Made by a reconcile that came to no end, or lost since: the name says whose it is.
            try:
                database = await self.client.create(database_for(shop))
            except AlreadyExists:
                database = await self.client.get(Database, database_name(shop), CLOUD)
        self._databases[shop.metadata.uid] = database.metadata.name
        if database.spec.storage != shop.spec.storage:
            spec = attrs.evolve(database.spec, storage=shop.spec.storage)
            database = await self.client.update(attrs.evolve(database, spec=spec))
        return database

    async def _config(self, shop: Shop) -> None:
        wanted = config_for(shop)
        found = self.informer(ConfigMap).get(Key(shop.metadata.namespace, wanted.metadata.name))
        if found is None:
            await self._create(wanted)
        elif is_of(found, shop) and found.data != wanted.data:
            await self.client.update(attrs.evolve(found, data=wanted.data))

    async def _deployment(self, shop: Shop) -> None:
        wanted = deployment_for(shop)
        found = self.informer(Deployment).get(Key(shop.metadata.namespace, wanted.metadata.name))
        if found is None:
            await self._create(wanted)
        elif is_of(found, shop) and found.spec.replicas != shop.spec.replicas:
            spec = attrs.evolve(found.spec, replicas=shop.spec.replicas)
            await self.client.update(attrs.evolve(found, spec=spec))

    async def _create(self, child: KubeObject) -> None:
        try:
            await self.client.create(child)
        except AlreadyExists:
            # Ours and not delivered yet, or of a shop of the same name that is gone: its delivery, or its end, wakes us.
            return

    async def _retire(self, shop: Shop) -> None:
        """Delete the Deployments of former versions once the new one serves."""
        deployments = self.informer(Deployment)
        name = deployment_name(shop)
        current = deployments.get(Key(shop.metadata.namespace, name))
        if current is None or not is_of(current, shop) or not DeploymentView(current).complete:
            return
        for former in deployments.list(shop.metadata.namespace):
            metadata = former.metadata
            if is_of(former, shop) and metadata.name != name and not metadata.deletion_timestamp:
                try:
                    await self.client.delete(former)
                except NotFound:
                    continue

    async def _report(self, shop: Shop, database: Database) -> None:
        name = Key(shop.metadata.namespace, deployment_name(shop))
        current = self.informer(Deployment).get(name)
        serves = current is not None and is_of(current, shop) and DeploymentView(current).observed
        ready = current.status.available_replicas if current is not None and serves else 0
        status = ShopStatus(
            observed_generation=shop.metadata.generation,
            ready=ready,
            database=database.metadata.name,
            message=message_for(shop, ready),
        )
        if status != shop.status:
            await self.client.update_status(attrs.evolve(shop, status=status))

    async def _leave(self, shop: Shop) -> None:
        """Give the database back, and only then let the shop go."""
        if FINALIZER not in shop.metadata.finalizers:
            return
        name = self._databases.get(shop.metadata.uid) or database_name(shop)
        with contextlib.suppress(NotFound):  # given back by a reconcile that came to no end
            await self.client.delete(Database, name, CLOUD)
        kept = tuple(each for each in shop.metadata.finalizers if each != FINALIZER)
        try:
            await self.client.update(with_finalizers(shop, kept))
        except NotFound:
            return


class Cloud(Reconciler):
    """The provider: a database grows by 5 every 3 s, and is backed up every 20 s."""

    name: ClassVar[str] = "cloud"

    def sources(self) -> Sequence[For[Database]]:
        return [For(Database)]

    async def setup(self) -> None:
        self._last: dict[str, int] = {}
        """When each was last worked on, in ns."""

    async def reconcile(self, key: Key) -> ReconcileResult:
        database = self.informer(Database).get(key)
        if database is None:
            return Done()
        status, now = database.status, self.clock.now_ns()
        due = self._last.get(database.metadata.uid, 0) + STEP_NS
        if now < due:
            return RequeueAfter((due - now) / 1e9)
        self._last[database.metadata.uid] = now
        if status.storage < database.spec.storage:
            storage = min(status.storage + 5, database.spec.storage)
            changed = attrs.evolve(status, storage=storage)
        else:
            changed = attrs.evolve(
                status, storage=database.spec.storage, backups=status.backups + 1
            )
        await self.client.update_status(attrs.evolve(database, status=changed))
        return RequeueAfter(3.0 if changed.storage < database.spec.storage else 20.0)


class Sweeper(Reconciler):
    """Removes databases whose shop is gone without having given them back, as after a finalizer was taken off by hand."""

    name: ClassVar[str] = "sweeper"

    def sources(self) -> Sequence[Watches[Shop]]:
        return [Watches(Shop)]

    def loops(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return [self.sweep]

    async def reconcile(self, key: Key) -> ReconcileResult:
        raise AssertionError(f"{key}: nothing is enqueued")

    async def sweep(self) -> None:
        while True:
            with contextlib.suppress(ApiError):  # the next pass finds it again
                for database in await self.client.list(Database, CLOUD):
                    if not await self._is_wanted(database.spec):
                        await self._remove(database)
            await self.sleep(SWEEP_SECONDS)

    async def _is_wanted(self, spec: DatabaseSpec) -> bool:
        known = self.informer(Shop).get(Key(spec.namespace, spec.shop))
        if known is not None and known.metadata.uid == spec.shop_uid:
            return True
        # What the cache lacks may be newer than the cache.
        try:
            shop = await self.client.get(Shop, spec.shop, spec.namespace)
        except NotFound:
            return False
        return shop.metadata.uid == spec.shop_uid

    async def _remove(self, database: Database) -> None:
        try:
            await self.client.delete(database)
        except (NotFound, Conflict):
            return


# -- what its user would check ---------------------------------------------------------------------


def shops_serve(view: View) -> str | None:
    """Every shop has what it asks for, once, and says so."""
    for shop in view.list(Shop):
        if wrong := _wrong_with(shop, view):
            return f"shop {shop.metadata.name}: {wrong}"
    return None


def _wrong_with(shop: Shop, view: View) -> str | None:
    if shop.metadata.deletion_timestamp is not None:
        return "is still being deleted"
    deployments = [each for each in view.deployments() if is_of(each.object, shop)]
    names = [each.object.metadata.name for each in deployments]
    if names != [deployment_name(shop)]:
        return f"has the Deployments {names}"
    if not deployments[0].complete or deployments[0].desired != shop.spec.replicas:
        return f"{names[0]} is not complete with {shop.spec.replicas} replicas"
    configs = [each for each in view.list(ConfigMap) if is_of(each, shop)]
    if [each.data.get("theme") for each in configs] != [shop.spec.theme]:
        return f"has the ConfigMaps {[each.data for each in configs]}"
    databases = [each for each in view.list(Database) if each.spec.shop_uid == shop.metadata.uid]
    if [each.spec.storage for each in databases] != [shop.spec.storage]:
        return (
            f"has the databases {[(each.metadata.name, each.spec.storage) for each in databases]}"
        )
    expected = ShopStatus(
        observed_generation=shop.metadata.generation,
        ready=shop.spec.replicas,
        database=databases[0].metadata.name,
        message=message_for(shop, shop.spec.replicas),
    )
    return None if shop.status == expected else f"reports {shop.status}"


def nothing_is_left(view: View) -> str | None:
    """Nothing belongs to a shop that is gone."""
    shops = {shop.metadata.uid: None for shop in view.list(Shop)}
    for database in view.list(Database):
        if database.spec.shop_uid not in shops:
            return f"database {database.metadata.name} belongs to no shop"
    for child in [*view.list(Deployment, selector="shop"), *view.list(ConfigMap, selector="shop")]:
        owner = child.metadata.controller
        if owner is None or owner.uid not in shops:
            return f"{child.kind} {child.metadata.name} belongs to no shop"
    return None

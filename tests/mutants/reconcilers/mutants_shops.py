"""Broken operators: each a small change to the one of `shops.py`."""

from __future__ import annotations

from tests.mutants.mutation import Mutant
from tests.mutants.reconcilers.shops import (
    Cloud,
    Shops,
    Sweeper,
    database_for,
    database_name,
    deployment_for,
)

MUTANTS = (
    Mutant(
        "child made together with its sibling only",
        Shops.reconcile,
        "await self._config(shop)\n    await self._deployment(shop)",
        "new = self.informer(ConfigMap).get(Key(key.namespace, f'{key.name}-config')) is None\n"
        "    await self._config(shop)\n"
        "    if new or shop.status.ready:\n"
        "        await self._deployment(shop)",
        "the ConfigMap stands for both: who is stopped between the two writes never makes the second",
        "Sieve, intermediate state (OSDI 2022)",
    ),
    Mutant(
        "create that is not idempotent",
        database_for,
        "name=database_name(shop)",
        'generate_name="db-"',
        "each try makes another database; only the last is recorded",
        "generateName and a retry",
    ),
    Mutant(
        "created, then recorded, never adopted",
        Shops._database,
        "except AlreadyExists:\n            database = await self.client.get(Database, database_name(shop), CLOUD)",
        "except AlreadyExists:\n            raise",
        "a database that was made and not recorded is in the way for ever",
        "create-then-record without adoption",
    ),
    Mutant(
        "finalizer removed first",
        Shops._leave,
        "    with contextlib.suppress(NotFound):  # given back by a reconcile that came to no end\n        await self.client.delete(Database, name, CLOUD)\n",
        "    await self.client.update(with_finalizers(shop, ()))\n"
        "    await self.client.delete(Database, name, CLOUD)\n    return\n",
        "stopped between the two writes, the operator never gives the database back",
        "finalizer removed too early",
    ),
    Mutant(
        "deletionTimestamp ignored",
        Shops.reconcile,
        "if shop.metadata.deletion_timestamp is not None:",
        "if shop.metadata.deletion_timestamp is not None and not shop.status.ready:",
        "a shop that serves is not let go",
        "deletionTimestamp ignored",
    ),
    Mutant(
        "conflict is not tried again",
        Shops._database,
        "        database = await self.client.update(attrs.evolve(database, spec=spec))",
        "        try:\n            database = await self.client.update(attrs.evolve(database, spec=spec))\n"
        "        except Conflict:\n            return database",
        "what the cloud wrote meanwhile wins for ever",
        "missing requeue on conflict",
    ),
    Mutant(
        "error swallowed",
        Shops._create,
        "except AlreadyExists:",
        "except ApiError:",
        "a child that could not be made is thought to be made",
        "swallowed error",
    ),
    Mutant(
        "believes its own status",
        Shops.reconcile,
        "database = await self._database(shop)",
        "if shop.status.observed_generation == shop.metadata.generation and shop.status.ready == shop.spec.replicas:\n"
        "        return Done()\n    database = await self._database(shop)",
        "what was reported once is not looked at again",
        "status taken for the state of the world",
    ),
    Mutant(
        "observedGeneration lags",
        Shops._report,
        "if status != shop.status:",
        "if attrs.evolve(status, observed_generation=shop.status.observed_generation) != shop.status:",
        "a change that changes no number is never reported as seen",
        "observedGeneration ignored",
    ),
    Mutant(
        "owner reference lost",
        deployment_for,
        "owner_references=(controller_ref(shop),),",
        "owner_references=(attrs.evolve(controller_ref(shop), controller=False),),",
        "the child is not known as its own any more",
        "lost owner reference",
    ),
    Mutant(
        "rename in two steps",
        Shops._deployment,
        "if found is None:\n        await self._create(wanted)\n    elif is_of",
        "former = [each for each in self.informer(Deployment).list(shop.metadata.namespace) if is_of(each, shop)]\n"
        "    if found is None and (former or not shop.status.observed_generation):\n"
        "        for each in former:\n            await self.client.delete(each)\n"
        "        await self._create(wanted)\n    elif found is not None and is_of",
        "the old child is deleted and then the new one made; nobody remembers between the two",
        "two-step rename",
    ),
    Mutant(
        "memory trusted after a restart",
        Shops._leave,
        "name = self._databases.get(shop.metadata.uid) or database_name(shop)",
        'name = self._databases.get(shop.metadata.uid, "")',
        "a database that was made by an earlier process is not given back",
        "leak on restart",
    ),
    Mutant(
        "finalizer added too late",
        Shops.reconcile,
        "await self.client.update(with_finalizers(shop, (*shop.metadata.finalizers, FINALIZER)))",
        "await self._database(shop)\n"
        "        await self.client.update(with_finalizers(shop, (*shop.metadata.finalizers, FINALIZER)))",
        "a shop deleted right after it was made leaves its database",
        "external resource made before the finalizer",
    ),
    Mutant(
        "sweeps by a stale cache",
        Sweeper._is_wanted,
        "try:\n",
        "return False\n    try:\n",
        "what the cache does not show yet is taken for gone",
        "acting on a stale cache",
    ),
    Mutant(
        "identity by name",
        database_name,
        "shop.metadata.uid",
        "shop.metadata.name",
        "two shops of one name, in two namespaces, share a database",
        "name taken for identity",
    ),
    Mutant(
        "two owners of one field",
        Cloud.reconcile,
        "self._last[database.metadata.uid] = now",
        "self._last[database.metadata.uid] = now\n"
        "    if database.spec.storage % 20:\n"
        "        spec = attrs.evolve(database.spec, storage=database.spec.storage // 20 * 20 + 20)\n"
        "        await self.client.update(attrs.evolve(database, spec=spec))\n"
        "        return Done()",
        "the provider rounds up what the operator asks for, and the operator asks again",
        "oscillation between two owners",
    ),
    Mutant(
        "hot loop",
        Shops._report,
        "message=message_for(shop, ready),",
        "message=f'{ready} of {shop.spec.replicas} answer at {self.clock.now():.0f}',",
        "each look writes the time, and each write is looked at",
        "unbounded retry",
    ),
    Mutant(
        "reads its own write too early",
        Shops._report,
        "ready = current.status.available_replicas if current is not None and serves else 0",
        "ready = current.status.available_replicas",
        "the cache is taken to hold what was just created",
        "read-your-writes assumed of a cache",
    ),
    Mutant(
        "does not watch what it made",
        Shops.sources,
        "[For(Shop), Owns(ConfigMap), Owns(Deployment)]",
        "[For(Shop), Watches(ConfigMap), Owns(Deployment)]",
        "a child that somebody deletes stays away",
        "edge-triggered logic",
    ),
)

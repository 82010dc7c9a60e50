"""What an experiment's cluster is made of: the scheme, the reconcilers and the objects that it names, loaded and checked once for many runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from engine import (
    Draws,
    Json,
    KubeObject,
    Reconciler,
    Resource,
    Scheme,
    Simulation,
    default_scheme,
    load_manifests_text,
)
from reconcilers import default_reconcilers
from store import Durability, Keep
from wavetank.cluster import Cluster, in_namespace
from wavetank.errors import BadInput
from wavetank.experiment.checks import Checks
from wavetank.experiment.code import Code
from wavetank.experiment.model import CodeReference, Experiment
from wavetank.faults.inventory import Inventory, inventory_of
from wavetank.faults.plan import Plan
from wavetank.faults.request import materialise


def scheme_with(kinds: Sequence[CodeReference], code: Code) -> Scheme:
    """The default scheme with kinds of the user's own. Raises BadInput."""
    scheme = default_scheme()
    for kind in kinds:
        resource = code.get(kind.target, kind.where, "kind")
        if not isinstance(resource, Resource):
            found = type(resource).__name__
            what = f"{kind.target} is a {found}; allowed: what wavetank.custom_resource returns"
            raise BadInput(f"{kind.where}: {what}")
        scheme.register(resource)
    return scheme


def reconcilers_with(references: Sequence[CodeReference], code: Code) -> list[Reconciler]:
    """Kubernetes' reconcilers, and the user's own: one of the same name stands in the place of ours. Raises BadInput."""
    found = {reconciler.name: reconciler for reconciler in default_reconcilers()}
    for reference in references:
        made = code.get(reference.target, reference.where, "reconciler")
        if not (isinstance(made, type) and issubclass(made, Reconciler)):
            what = f"{reference.target} is no class of Reconciler"
            raise BadInput(f"{reference.where}: {what}")
        try:
            reconciler = made()
        except TypeError as error:
            raise BadInput(f"{reference.where}: {reference.target}() fails: {error}") from None
        found[reconciler.name] = reconciler
    return list(found.values())


@attrs.frozen(kw_only=True)
class Assembly:
    """One experiment, ready to be run."""

    experiment: Experiment
    scheme: Scheme
    reconcilers: Sequence[Reconciler]
    checks: Checks
    inventory: Inventory

    def plan(self, seed: int) -> Plan:
        """The experiment's own faults, every choice made. Raises BadInput."""
        return materialise(self.experiment.faults, self.inventory, Draws(seed))

    def cluster(  # noqa: PLR0913 - the options of a run
        self,
        simulation: Simulation | None,
        *,
        seed: int,
        header: Mapping[str, Json],
        log: Path | str | None = None,
        store: str = "",
        durability: Durability = Durability.BUFFERED,
        keep: Keep | str = "all",
    ) -> Cluster:
        """The cluster, not entered yet."""
        experiment = self.experiment
        return Cluster(
            nodes=experiment.nodes,
            settings=experiment.settings,
            reconcilers=self.reconcilers,
            images=experiment.images,
            scheme=self.scheme,
            log_path=log,
            store=store,
            durability=durability,
            keep=keep,
            header=header,
            seed=seed,
            simulation=simulation,
        )


def assemble(experiment: Experiment) -> Assembly:
    """Load what the experiment names. Raises BadInput."""
    code = Code(experiment.files)
    scheme = scheme_with(experiment.kinds, code)
    reconcilers = reconcilers_with(experiment.reconcilers, code)
    return Assembly(
        experiment=experiment,
        scheme=scheme,
        reconcilers=reconcilers,
        checks=Checks(experiment.steady_state, code),
        inventory=inventory_of(
            nodes=experiment.nodes,
            reconcilers=reconcilers,
            settings=experiment.settings,
            api_servers=experiment.api_servers,
            objects=_objects(experiment, scheme),
        ),
    )


def _objects(experiment: Experiment, scheme: Scheme) -> list[KubeObject]:
    """What its manifests hold, each in its namespace."""
    found: list[KubeObject] = []
    for name in experiment.manifests:
        text = experiment.files.texts[name]
        for loaded in load_manifests_text(text, experiment.files.shown(name), scheme):
            obj = loaded.object
            if scheme.resource_of(obj).namespaced and not obj.metadata.namespace:
                obj = in_namespace(obj, "default")
            found.append(obj)
    return found

"""The control plane's processes: one for each reconciler, and with several replicas an election among them.

With one replica every reconciler is a process `controller/<name>` and simply runs. With more, each replica has a candidate
process; who holds the Lease starts its reconcilers, and who loses it kills them, as kube-controller-manager does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from engine import (
    ApiServers,
    Client,
    Clock,
    ControllerRuntime,
    Draws,
    EventRecorder,
    Key,
    LeaderElector,
    Link,
    LinkedEndpoint,
    Process,
    Processes,
    Reconciler,
    Route,
    Scheme,
    Seam,
    Settings,
    current_origin,
    set_origin,
)
from store import Origin

LEASES: Final = {"scheduler": "kube-scheduler"}
"""Reconcilers that are components of their own; all others belong to kube-controller-manager."""
MANAGER: Final = "kube-controller-manager"

RESTART_SECONDS: Final = 1.0
"""How long a process of the control plane that failed stays away (client-go `wait.Until(worker, 1s)`)."""

FailureListener = Callable[[str, Key, Exception], None]


@attrs.define(eq=False)
class ControllerProcess:
    """One reconciler of one replica: its process, its link and its runtime."""

    name: str
    process: Process
    link: Link
    runtime: ControllerRuntime


@attrs.define(eq=False, kw_only=True)
class ControlPlane:
    """Builds and runs the processes of the control plane."""

    servers: ApiServers
    scheme: Scheme
    clock: Clock
    draws: Draws
    settings: Settings
    processes: Processes
    reconcilers: Sequence[Reconciler]
    on_failure: FailureListener
    links: dict[str, Link]
    """Of all processes, by name; those made here are added."""
    seams: dict[str, Seam] = attrs.field(factory=dict, init=False)
    """Of all processes, kubelets included, by name."""
    routes: dict[str, Route] = attrs.field(factory=dict, init=False)
    """The same processes' ways to the API servers."""
    controllers: dict[str, ControllerProcess] = attrs.field(factory=dict, init=False)
    """By the reconciler's name; with several replicas those of the first to lead, then of whoever led last."""
    electors: dict[str, LeaderElector] = attrs.field(factory=dict, init=False)
    candidates: dict[str, Process] = attrs.field(factory=dict, init=False)
    """With several replicas: the process of each, by its identity such as `kube-scheduler-0`."""

    def start(self) -> None:
        """Start everything; returns at once."""
        replicas = self.settings.control_plane_replicas
        if replicas <= 1:
            for reconciler in self.reconcilers:
                self._start_controller(reconciler, "")
            return
        groups: dict[str, list[Reconciler]] = {}
        for reconciler in self.reconcilers:
            groups.setdefault(LEASES.get(reconciler.name, MANAGER), []).append(reconciler)
        for lease, members in groups.items():
            for replica in range(replicas):
                self._start_candidate(lease, f"{lease}-{replica}", members)

    def client_of(self, process: Process, link: Link) -> Client:
        """A client for `process` over `link`, by the route and with the seam that are made for it."""
        seam = self.seams[process.name] = Seam(process)
        route = self.routes[process.name] = self.servers.route()
        return Client(
            endpoint=LinkedEndpoint(route, link, process, seam),
            scheme=self.scheme,
            timeout_seconds=self.settings.request_timeout,
        )

    def _start_controller(self, template: Reconciler, replica: str) -> ControllerProcess:
        actor = f"{template.actor()}{'@' + replica if replica else ''}"
        runtime: ControllerRuntime

        async def main() -> None:
            await runtime.run()

        process = self.processes.start(actor, main)
        link = self.links[actor] = Link(actor, draws=self.draws, process=process)
        runtime = ControllerRuntime(
            template=template,
            client=self.client_of(process, link),
            clock=self.clock,
            draws=self.draws,
            settings=self.settings,
            gate=process.passed,
            actor=actor,
            on_failure=self.on_failure,
        )
        controller = ControllerProcess(template.name, process, link, runtime)
        self.controllers[template.name] = controller
        return controller

    def _start_candidate(self, lease: str, name: str, members: Sequence[Reconciler]) -> None:
        """One replica of a group. Each start of its process is a candidate of its own, as each start of a real one has a
        new identity: a restarted leader waits for its former lease to run out like anybody else.
        """
        started: list[ControllerProcess] = []
        starts = itertools.count()

        async def lead() -> None:
            if not started:
                started.extend(self._start_controller(member, name) for member in members)
            else:
                for controller in started:
                    controller.process.start()
                    self.controllers[controller.name] = controller
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    for controller in reversed(started):
                        if controller.process.living:
                            await controller.process.crash()

        async def main() -> None:
            identity = f"{name}_{self.draws.uid('candidate', name, next(starts))}"
            recorder = EventRecorder(
                client=client, clock=self.clock, draws=self.draws, component=lease, host=name
            )
            elector = LeaderElector(
                client=client,
                clock=self.clock,
                draws=self.draws,
                settings=self.settings,
                recorder=recorder,
                name=lease,
                identity=identity,
                gate=process.passed,
            )
            self.electors[name] = elector
            set_origin(Origin(actor=name, causes=current_origin().causes))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(recorder.run, name=f"{name} events")
                while True:
                    await elector.run(lead)

        process = self.candidates[name] = self.processes.start(name, main)
        link = self.links[name] = Link(name, draws=self.draws, process=process)
        client = self.client_of(process, link)

    def owns(self, process: Process) -> bool:
        """Whether it is one of the control plane's."""
        return any(process is candidate for candidate in self.candidates.values()) or any(
            process is controller.process for controller in self.controllers.values()
        )

    async def revive(self, process: Process) -> None:
        """Start a process that failed again, after a while, as the kubelet does with a static pod."""
        await trio.sleep(RESTART_SECONDS)
        if not process.living:
            process.start()

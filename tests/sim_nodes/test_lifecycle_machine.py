"""Random lives: whatever happens to a pod on its node, the rules that Kubernetes never breaks hold after each step."""

from __future__ import annotations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from node_play import FIXED, Play, behaviour, make_host, make_pod, make_runtime

from engine import Container, DurationRange, Probe, TCPSocketAction
from sim_nodes.images import ImageBehaviour
from sim_nodes.units import NS

POLICIES = st.sampled_from(["Always", "OnFailure", "Never"])
SECONDS = st.one_of(st.none(), st.integers(0, 90).map(FIXED))
BEHAVIOURS = st.builds(
    behaviour,
    runs=SECONDS,
    exit_code=st.sampled_from([0, 1]),
    ready_after=st.integers(0, 40).map(FIXED),
    hangs_after=SECONDS,
    stop=st.integers(0, 60).map(FIXED),
    pull_error=st.sampled_from(["", "", "not found"]),
    pull_failures=st.sampled_from([None, 1]),
)
PROBE = Probe(tcp_socket=TCPSocketAction(port=80), period_seconds=7, failure_threshold=2)
PROBES = st.sampled_from([None, PROBE, attrs.evolve(PROBE, initial_delay_seconds=5)])


class Lives(RuleBasedStateMachine):
    """One pod with an init container, perhaps a sidecar, and two containers, on one node."""

    @initialize(
        own=BEHAVIOURS,
        init=BEHAVIOURS,
        policy=POLICIES,
        readiness=PROBES,
        liveness=PROBES,
        startup=PROBES,
        sidecar=st.booleans(),
        compat=st.sampled_from(["1.20", "1.35"]),
    )
    def begin(
        self,
        *,
        own: ImageBehaviour,
        init: ImageBehaviour,
        policy: str,
        readiness: Probe | None,
        liveness: Probe | None,
        startup: Probe | None,
        sidecar: bool,
        compat: str,
    ) -> None:
        self.compat = compat
        runtime = make_runtime(
            attrs.evolve(init, match="init*", runs=init.runs or FIXED(3)),
            attrs.evolve(own, match="app*"),
            behaviour(),
        )
        inits = [Container(name="init", image="init:1")]
        if sidecar:
            inits.append(Container(name="side", image="side:1", restart_policy="Always"))
        probed = Container(
            name="a",
            image="app:1",
            readiness_probe=readiness,
            liveness_probe=liveness,
            startup_probe=startup,
        )
        pod = make_pod(
            probed,
            Container(name="b", image="other:1"),
            init_containers=tuple(inits),
            restart_policy=policy,
        )
        self.starts = 0
        self.play = Play(make_host(runtime=runtime, compat=compat), pod)
        self.play.to(0)
        self.deleted_at: int | None = None
        self.stood_until = 0
        """Until when the machine stood still last: nobody looked at its containers."""
        self.phase = ""
        self.restarts: dict[str, int] = {}

    @rule(seconds=st.floats(0.001, 120))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.play.to(self.play.now / NS + round(seconds, 3))

    @rule(name=st.sampled_from(["init", "side", "a", "b"]), code=st.sampled_from([0, 1, 137]))
    def container_dies(self, name: str, code: int) -> None:
        """A container ends behind the kubelet's back."""
        life = self.play.life
        record = life.newest(name)
        if record is not None and record.running(self.play.now):
            reason = "Completed" if code == 0 else "Error"
            life.host.runtime.kill(record, self.play.now, code, reason)
            life.poke(self.play.now)

    @rule()
    def container_hangs(self) -> None:
        life = self.play.life
        record = life.newest("a")
        if record is not None and record.running(self.play.now):
            life.host.runtime.hang(record, self.play.now)
            life.poke(self.play.now)

    @rule(what=st.sampled_from(["hanging", "unready"]))
    def pod_is_disturbed(self, what: str) -> None:
        """A fault, and its heal a little later."""
        life = self.play.life
        runtime = life.host.runtime
        effect = getattr(runtime.disturbances.disturb(life.uid), what).add(None, "fault")
        self._tell()
        self.play.to(self.play.now / NS + 7)
        runtime.disturbances.relieve(life.uid, effect)
        self._tell()

    @rule(after=st.integers(0, 9))
    def pod_crashes_for_a_while(self, after: int) -> None:
        life = self.play.life
        runtime = life.host.runtime
        span = DurationRange.fixed(float(after))
        effect = runtime.disturbances.disturb(life.uid).crashing.add(span, "fault")
        self._tell()
        self.play.to(self.play.now / NS + 25)
        runtime.disturbances.relieve(life.uid, effect)
        self._tell()

    def _tell(self) -> None:
        self.play.life.host.runtime.disturb(self.play.life.uid, self.play.now)
        self.play.life.poke(self.play.now)

    @precondition(lambda self: self.deleted_at is None)
    @rule(away=st.integers(1, 100))
    def machine_stands_still(self, away: int) -> None:
        runtime = self.play.life.host.runtime
        pause = runtime.freeze("fault", self.play.now)
        self.play.now += away * NS
        assert runtime.thaw(self.play.now, pause)
        self.stood_until = self.play.now
        self.play.life.poke(self.play.now)
        self.play.to(self.play.now / NS)

    @precondition(lambda self: self.deleted_at is None)
    @rule(grace=st.integers(1, 60))
    def delete(self, grace: int) -> None:
        self.play.delete(grace)
        self.play.to(self.play.now / NS)
        self.deleted_at = self.play.now + grace * NS

    @rule(lost=st.booleans(), away=st.integers(0, 300))
    def kubelet_restarts(self, lost: bool, away: int) -> None:
        """The kubelet dies and another takes over what is left; with `lost`, the machine has rebooted."""
        old = self.play
        runtime = old.host.runtime
        now = old.now + away * NS
        if lost:
            runtime.power_off(old.now)
            runtime.power_on(now, "lost")
        self.starts += 1
        host = make_host(runtime=runtime, compat=self.compat, now=now, incarnation=self.starts)
        pod = attrs.evolve(old.life.pod, status=old.life.status)
        self.play = Play(host, pod, now=now)
        if pod.metadata.deletion_timestamp is not None:
            self.play.life.update(pod, now)
        if self.deleted_at is not None:
            self.deleted_at = max(self.deleted_at, now + 60 * NS)
        self.play.to(now / NS)

    @invariant()
    def phases_are_sticky(self) -> None:
        phase = self.play.life.status.phase
        assert self.phase not in {"Succeeded", "Failed"} or phase == self.phase
        assert self.phase != "Running" or phase != "Pending" or self.starts
        self.phase = phase

    @invariant()
    def restarts_only_grow(self) -> None:
        status = self.play.life.status
        for each in (*status.init_container_statuses, *status.container_statuses):
            assert each.restart_count >= self.restarts.get(each.name, 0)
            self.restarts[each.name] = each.restart_count

    @invariant()
    def running_means_running(self) -> None:
        """Within two relists of a machine that does not stand still a container that has ended does not show as running (while a pod is being taken down, its status
        waits for the last of them; and a pod's one worker, while it stops a container, does not look at the others).
        """
        play = self.play
        if play.life.ending:
            return
        settled = play.life.advance(play.now) - play.now > 0
        for each in play.life.status.container_statuses:
            record = play.life.newest(each.name)
            if each.state is not None and each.state.running is not None:
                assert record is not None
                assert settled
                stopping = any(
                    other.stopping and not other.exited(play.now)
                    for other in play.life.newest_records()
                )
                if stopping and not record.stopping:
                    continue
                unseen_since = max(record.ends_ns, self.stood_until)
                assert unseen_since > play.now - 2 * NS, f"{each.name} shown running, and is not"

    @invariant()
    def nothing_outlives_the_grace(self) -> None:
        play = self.play
        if self.deleted_at is not None and play.now > self.deleted_at + 10 * NS:
            assert play.life.removable
            assert play.host.runtime.running(play.now) == []

    @invariant()
    def structures_are_sound(self) -> None:
        self.play.life.check()
        self.play.host.runtime.check()


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

"""A pod's life on its node, played without trio: phases, conditions, Events and times by the rules of Kubernetes."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
from node_play import FIXED, Play, behaviour, condition, make_host, make_pod

from engine import (
    NO_TIME,
    Condition,
    Container,
    PodReadinessGate,
    Probe,
    Quantity,
    ResourceRequirements,
    TCPSocketAction,
)
from sim_nodes.lifecycle import PodLife
from sim_nodes.units import NS

PROBE = Probe(tcp_socket=TCPSocketAction(port=8080), period_seconds=10, failure_threshold=3)


def gaps(play: Play) -> list[float]:
    """From each end of the container to its next start is made."""
    starts = play.times_of("Started")
    # With runs=0 a container ends in the moment it starts; the next start began one second before it shows.
    return [later - 1 - earlier for earlier, later in pairwise(starts)]


def test_a_pod_starts() -> None:
    """Pending with ContainerCreating, then Running and Ready at the relist after the start; Events in the order of 6.11."""
    play = Play(make_host(), make_pod()).to(60)

    assert play.reasons == ["Pulling", "Pulled", "Created", "Started"]
    assert play.phases() == ["Pending", "Running"]
    first = play.shown[0][1]
    assert first.container_statuses[0].state.waiting.reason == "ContainerCreating"
    assert condition(first, "Ready") == (
        "False",
        "ContainersNotReady",
        "containers with unready status: [app]",
    )
    assert condition(first, "Initialized") == ("True", "", "")
    at, last = play.shown[-1]
    assert 3 < at <= 4
    assert len(play.shown) == 2
    assert [(c.type, c.status) for c in last.conditions[:3]] == [
        ("PodReadyToStartContainers", "True"),
        ("Initialized", "True"),
        ("Ready", "True"),
    ]
    assert last.container_statuses[0].ready
    assert "10.244.1.2" == last.pod_ip == last.pod_ips[0].ip
    assert last.host_ip == "172.18.0.2"
    assert last.qos_class == "BestEffort"


def test_an_image_that_is_there_is_not_pulled() -> None:
    """The second pod of an image finds it on the node and says so."""
    host = make_host()
    Play(host, make_pod()).to(10)
    play = Play(host, make_pod(name="second"), now=20 * NS).to(60)

    assert play.reasons == ["Pulled", "Created", "Started"]
    assert play.messages[0] == 'Container image "app:v1" already present on machine'


@pytest.mark.parametrize(
    ("compat", "pulled", "created"),
    [
        ("1.20", 'Successfully pulled image "app:v1" in 2s', "Created container app"),
        (
            "1.28",
            'Successfully pulled image "app:v1" in 2s (2s including waiting)',
            "Created container app",
        ),
        (
            "1.35",
            'Successfully pulled image "app:v1" in 2s (2s including waiting). Image size: 5 bytes.',
            "Created container: app",
        ),
    ],
)
def test_event_texts_follow_the_version(compat: str, pulled: str, created: str) -> None:
    play = Play(make_host(behaviour(size_bytes=5), compat=compat), make_pod()).to(60)

    assert ['Pulling image "app:v1"', pulled, created, "Started container app"] == play.messages


def test_pulls_of_one_node_are_serial() -> None:
    """A second pull waits for the first, and its message tells both times (serializeImagePulls)."""
    pod = make_pod(Container(name="a", image="a:1"), name="one")
    host = make_host()
    one, two = Play(host, pod), Play(host, make_pod(Container(name="b", image="b:1"), name="two"))
    one.life.advance(0)
    two.to(10)

    pulled = next(m for m in two.messages if m.startswith("Successfully"))
    assert pulled.startswith('Successfully pulled image "b:1" in 2s (4s including waiting)')


def test_crash_loop_gaps_of_old_versions() -> None:
    """10.8: gaps between exit and next start of about 0-2 s, then 10-25, 20-35, 40-55, 80-95, 160-175, 300-315 s."""
    host = make_host(behaviour(runs=NO_TIME, exit_code=1), compat="1.20")
    play = Play(host, make_pod()).to(1300)

    bounds = [(0, 2), (10, 26), (20, 36), (40, 56), (80, 96), (160, 176), (300, 316), (300, 316)]
    for (low, high), gap in zip(bounds, gaps(play), strict=False):
        assert low <= gap <= high
    assert len(gaps(play)) >= 7


def test_crash_loop_gaps_since_1_35() -> None:
    """From 1.35 on the next try is drawn from one to one and a half times the back-off (at most a minute at once)."""
    play = Play(make_host(behaviour(runs=NO_TIME, exit_code=1)), make_pod()).to(700)

    for (low, high), gap in zip(
        [(0, 2), (10, 17), (20, 32), (40, 62), (80, 122)], gaps(play), strict=False
    ):
        assert low <= gap <= high


def test_crash_loop_shows_as_running_and_waiting() -> None:
    """6.3.3, 6.5.2: phase Running, CrashLoopBackOff with the delay, the last exit in lastState, restarts counted."""
    play = Play(make_host(behaviour(runs=FIXED(5), exit_code=3)), make_pod()).to(60)

    waiting = play.container.state.waiting
    assert play.life.status.phase == "Running"
    assert waiting.reason == "CrashLoopBackOff"
    assert (
        waiting.message == "back-off 20s restarting failed container=app pod=web_default(uid-web)"
    )
    assert play.container.last_state.terminated.exit_code == 3
    assert play.container.last_state.terminated.reason == "Error"
    assert play.container.restart_count == 2
    assert "Back-off restarting failed container app in pod web_default(uid-web)" in play.messages


def test_a_container_that_ran_long_starts_its_back_off_anew() -> None:
    """6.5.2: after twice the longest back-off the next crash counts as the first."""
    play = Play(make_host(behaviour(runs=FIXED(700), exit_code=1)), make_pod()).to(3600)

    assert play.times_of("BackOff") == []
    assert all(gap <= 703 for gap in gaps(play))


@pytest.mark.parametrize(
    ("policy", "exit_code", "phases", "reason"),
    [
        ("Never", 0, ["Pending", "Running", "Succeeded"], "Completed"),
        ("Never", 1, ["Pending", "Running", "Failed"], "Error"),
        ("OnFailure", 0, ["Pending", "Running", "Succeeded"], "Completed"),
    ],
)
def test_pods_that_end(policy: str, exit_code: int, phases: list[str], reason: str) -> None:
    """A pod whose containers are not started again ends Succeeded or Failed, and is not removed by that."""
    host = make_host(behaviour(runs=FIXED(10), exit_code=exit_code))
    play = Play(host, make_pod(restart_policy=policy)).to(300)

    assert phases == play.phases()
    assert reason == play.container.state.terminated.reason
    assert condition(play.life.status, "Ready")[0] == "False"
    assert play.life.finished
    assert not play.life.removable


def test_image_pull_back_off() -> None:
    """10.9: ErrImagePull and ImagePullBackOff in turn, tries at 10, 20, 40, ... s (+ up to 15), phase Pending."""
    play = Play(make_host(behaviour(pull_error="not found")), make_pod()).to(400)

    tries = play.times_of("Pulling")
    for (low, high), first, then in zip(
        [(10, 26), (20, 36), (40, 56), (80, 96)], tries, tries[1:], strict=False
    ):
        assert low <= then - first - 2 <= high
    reasons = [s.container_statuses[0].state.waiting.reason for _, s in play.shown[1:5]]
    assert reasons == ["ErrImagePull", "ImagePullBackOff"] * 2
    assert play.phases() == ["Pending"]
    assert play.messages[:5] == [
        'Pulling image "app:v1"',
        'Failed to pull image "app:v1": not found',
        "Error: ErrImagePull",
        'Back-off pulling image "app:v1"',
        "Error: ImagePullBackOff",
    ]


def test_a_pull_that_succeeds_in_the_end() -> None:
    """After two failures the third pull succeeds, and the container starts with restart count 0."""
    play = Play(make_host(behaviour(pull_error="busy", pull_failures=2)), make_pod()).to(120)

    assert play.life.status.phase == "Running"
    assert play.container.restart_count == 0


def test_pull_policy_never() -> None:
    """An image that is not there is never pulled: ErrImageNeverPull."""
    container = Container(name="app", image="app:v1", image_pull_policy="Never")
    play = Play(make_host(), make_pod(container)).to(5)

    assert play.container.state.waiting.reason == "ErrImageNeverPull"
    assert play.messages[:2] == [
        'Container image "app:v1" is not present with pull policy of Never',
        "Error: ErrImageNeverPull",
    ]


def test_memory_beyond_the_limit_is_killed() -> None:
    """A container whose image needs more than its limit is OOMKilled when it would be ready, with 137."""
    limits = ResourceRequirements(limits={"memory": Quantity.parse("64Mi")})
    container = Container(name="app", image="app:v1", resources=limits)
    host = make_host(behaviour(memory=Quantity.parse("65Mi"), ready_after=FIXED(2)))
    play = Play(host, make_pod(container)).until(lambda life: "app" in life.waiting)

    ended = play.container.state.terminated or play.container.last_state.terminated
    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)
    assert play.container.restart_count >= 1


def test_init_containers_run_one_by_one() -> None:
    """6.6.1: PodInitializing until all have ended with 0; Initialized turns True; they are not run again."""
    host = make_host(behaviour("init*", runs=FIXED(5)), behaviour())
    pod = make_pod(
        init_containers=(Container(name="i1", image="init:1"), Container(name="i2", image="init:2"))
    )
    play = Play(host, pod).to(120)

    assert [r.container for _, r in play.said if r.reason == "Started"] == ["i1", "i2", "app"]
    first = play.shown[0][1]
    assert condition(first, "Initialized") == (
        "False",
        "ContainersNotInitialized",
        "containers with incomplete status: [i1 i2]",
    )
    assert first.container_statuses[0].state.waiting.reason == "PodInitializing"
    last = play.life.status
    assert last.phase == "Running"
    assert [status.ready for status in last.init_container_statuses] == [True, True]
    assert condition(last, "Initialized") == ("True", "", "")


@pytest.mark.parametrize(("policy", "phase"), [("Never", "Failed"), ("Always", "Pending")])
def test_a_failing_init_container(policy: str, phase: str) -> None:
    """With Never the pod fails; otherwise the container is tried again with back-off."""
    host = make_host(behaviour("init*", runs=FIXED(1), exit_code=2), behaviour())
    pod = make_pod(init_containers=(Container(name="i", image="init:1"),), restart_policy=policy)
    play = Play(host, pod).to(60)

    assert phase == play.life.status.phase
    assert "app" not in [r.container for _, r in play.said]


def test_sidecars() -> None:
    """6.6.2: a sidecar is started before the containers, and stopped after them; its exit code is nobody's phase."""
    sidecar = Container(name="side", image="side:1", restart_policy="Always")
    host = make_host(behaviour("side*"), behaviour(runs=FIXED(20)))
    play = Play(host, make_pod(init_containers=(sidecar,), restart_policy="Never")).to(120)

    assert [r.container for _, r in play.said if r.reason == "Started"] == ["side", "app"]
    assert [r.message for _, r in play.said if r.reason == "Killing"] == ["Stopping container side"]
    assert play.life.status.phase == "Succeeded"
    assert play.life.status.init_container_statuses[0].state.terminated.exit_code == 143


def test_sidecars_stop_last_and_in_reverse() -> None:
    one, two = (Container(name=n, image="side:1", restart_policy="Always") for n in ("s1", "s2"))
    play = Play(make_host(), make_pod(init_containers=(one, two))).to(60)
    play.delete().to(120)

    assert [r.container for _, r in play.said if r.reason == "Killing"] == ["app", "s2", "s1"]
    killed = play.times_of("Killing")
    assert killed == sorted(killed)
    assert killed[2] - killed[0] >= 1


# -- probes --------------------------------------------------------------------------------------


def test_readiness_follows_the_probe() -> None:
    """The first probe runs when the container is seen running (1.27), fails as nobody listens yet, and the next one, a
    period later, makes the pod ready.
    """
    container = Container(name="app", image="app:v1", readiness_probe=PROBE)
    play = Play(make_host(behaviour(ready_after=FIXED(4))), make_pod(container)).to(60)

    unhealthy = [(at, r.message) for at, r in play.said if r.reason == "Unhealthy"]
    running_at = next(at for at, s in play.shown if s.phase == "Running")
    ready_at = next(at for at, s in play.shown if condition(s, "Ready")[0] == "True")
    assert [
        (
            running_at,
            "Readiness probe failed: dial tcp 10.244.1.2:8080: connect: connection refused",
        )
    ] == unhealthy
    assert running_at + 10 == ready_at


def test_a_hanging_container_is_restarted_by_its_liveness_probe() -> None:
    """6.8.6: three failures, ten seconds apart, then killed with its grace and started again at once."""
    container = Container(name="app", image="app:v1", liveness_probe=PROBE)
    host = make_host(behaviour(hangs_after=FIXED(100)))
    play = Play(host, make_pod(container)).to(160)

    failures = play.times_of("Unhealthy")
    assert len(failures) == 3
    assert failures[2] - failures[0] == 20
    assert 103 <= failures[0] <= 113
    assert "Container app failed liveness probe, will be restarted" in play.messages
    assert play.container.restart_count == 1
    killed = play.times_of("Killing")[0]
    assert killed - failures[2] <= 1
    assert play.times_of("BackOff") == []


def test_a_startup_probe_holds_the_others_back() -> None:
    """6.8.2: liveness is not asked before the startup probe has succeeded; ready waits for it too."""
    container = Container(
        name="app",
        image="app:v1",
        startup_probe=attrs.evolve(PROBE, failure_threshold=30),
        liveness_probe=PROBE,
    )
    play = Play(make_host(behaviour(ready_after=FIXED(45))), make_pod(container)).to(120)

    assert all("Startup" in r.message for _, r in play.said if r.reason == "Unhealthy")
    assert play.container.restart_count == 0
    ready_at = next(at for at, s in play.shown if condition(s, "Ready")[0] == "True")
    assert 48 <= ready_at <= 58
    assert play.container.started


def test_a_slow_start_is_killed_by_a_liveness_probe_alone() -> None:
    """What a startup probe is for: without it, an app slower than period x threshold never comes up."""
    container = Container(name="app", image="app:v1", liveness_probe=PROBE)
    play = Play(make_host(behaviour(ready_after=FIXED(45))), make_pod(container)).to(600)

    assert play.container.restart_count >= 2


def test_readiness_gates() -> None:
    """A pod is Ready only when the conditions that its gates name are True."""
    pod = make_pod(readiness_gates=(PodReadinessGate(condition_type="lb"),))
    play = Play(make_host(), pod).to(10)

    text = 'corresponding condition of pod readiness gate "lb" does not exist.'
    assert ("False", "ReadinessGatesNotReady", text) == condition(play.life.status, "Ready")
    status = attrs.evolve(pod.status, conditions=(Condition(type="lb", status="True"),))
    play.life.update(attrs.evolve(pod, status=status), play.now)
    play.to(20)
    assert condition(play.life.status, "Ready")[0] == "True"


# -- the end -------------------------------------------------------------------------------------


def test_graceful_termination() -> None:
    """6.7.2: Killing, SIGTERM, 143, a last status, and only then may the object go."""
    play = Play(make_host(), make_pod()).to(60)
    play.delete().to(120)

    assert play.times_of("Killing") == [60.0]
    at, last = play.shown[-1]
    assert at == 60.5
    assert last.container_statuses[0].state.terminated.exit_code == 143
    assert (last.phase, condition(last, "Ready")[1]) == ("Failed", "PodFailed")
    assert play.life.removable
    assert play.host.runtime.running(play.now) == []


def test_old_versions_keep_the_phase_to_the_end() -> None:
    """6.7.3: before 1.27 a deleted pod stays Running until it is removed."""
    play = Play(make_host(compat="1.20"), make_pod()).to(60)
    play.delete().to(120)

    assert play.phases() == ["Pending", "Running"]
    assert play.life.removable


@pytest.mark.parametrize(
    ("stop", "ends", "code"), [(10, 70.0, 143), (30, 90.0, 143), (31, 90.0, 137), (600, 90.0, 137)]
)
def test_the_grace_period_ends_in_a_kill(stop: float, ends: float, code: int) -> None:
    play = Play(make_host(behaviour(stop=FIXED(stop))), make_pod()).to(60)
    play.delete().to(120)

    at, last = play.shown[-1]
    assert (ends, code) == (at, last.container_statuses[0].state.terminated.exit_code)


def test_a_later_delete_shortens_the_grace() -> None:
    play = Play(make_host(behaviour(stop=FIXED(600))), make_pod()).to(60)
    play.delete(30).to(65)
    play.delete(10).to(120)

    assert play.shown[-1][0] == 70.0


def test_pre_stop_takes_its_time_from_the_grace() -> None:
    """6.6.4: SIGTERM comes after the hook; a hook that uses the grace up leaves two seconds."""
    lifecycle = {"preStop": {"exec": {"command": ["sh", "-c", "sleep 20"]}}}
    container = Container(name="app", image="app:v1", extra={"lifecycle": lifecycle})
    play = Play(make_host(behaviour(stop=FIXED(3))), make_pod(container)).to(60)
    play.delete(30).to(120)
    assert play.shown[-1][0] == 83.0

    play = Play(make_host(behaviour(stop=FIXED(3))), make_pod(container)).to(60)
    play.delete(10).to(120)
    assert play.shown[-1][0] == 72.0


def test_deleted_during_the_pull() -> None:
    """The work under way is dropped; what never ran is shown as such, and the pod ends Failed (1.27)."""
    play = Play(make_host(), make_pod()).to(1)
    play.delete().to(10)

    assert play.container.state.terminated.reason == "ContainerStatusUnknown"
    assert play.life.status.phase == "Failed"
    assert play.life.removable
    assert play.reasons == ["Pulling"]


def test_active_deadline() -> None:
    """6.5.7: counted from the start time; the pod fails with DeadlineExceeded and its containers are stopped."""
    play = Play(make_host(), make_pod(active_deadline_seconds=30)).to(60)

    status = play.life.status
    assert (status.phase, status.reason) == ("Failed", "DeadlineExceeded")
    assert play.times_of("DeadlineExceeded") == [30.0]
    assert "Stopping container app" in play.messages
    assert play.container.state.terminated.exit_code == 143


# -- crashes -------------------------------------------------------------------------------------


def test_a_reboot_restarts_the_containers() -> None:
    """6.5.4, 6.5.5: SandboxChanged, exit code 255 in lastState, a restart counted, a new address."""
    play = Play(make_host(), make_pod()).to(60)
    runtime, pod = play.host.runtime, attrs.evolve(play.life.pod, status=play.life.status)
    runtime.power_off(60 * NS)
    assert runtime.running(70 * NS) == []
    runtime.power_on(100 * NS, "lost")
    again = Play(make_host(runtime=runtime, now=100 * NS, incarnation=1), pod, now=100 * NS).to(130)

    assert again.reasons == ["SandboxChanged", "Pulled", "Created", "Started"]
    assert again.container.restart_count == 1
    lost = again.container.last_state.terminated
    assert (lost.exit_code, lost.reason) == (255, "Unknown")
    assert again.life.status.phase == "Running"
    assert pod.status.pod_ip != again.life.status.pod_ip
    assert pod.status.start_time == again.life.status.start_time


def test_a_kubelet_restart_keeps_the_containers() -> None:
    """6.1.7: the new kubelet finds the containers as they are and says nothing new."""
    play = Play(make_host(), make_pod()).to(60)
    pod = attrs.evolve(play.life.pod, status=play.life.status)
    host = make_host(runtime=play.host.runtime, now=100 * NS, incarnation=1)
    again = Play(host, pod, now=100 * NS).to(130)

    assert again.said == []
    assert again.shown == []


def test_a_finished_pod_is_left_alone() -> None:
    """Failed and Succeeded are for ever: a kubelet that meets such a pod does not start it."""
    pod = make_pod()
    pod = attrs.evolve(pod, status=attrs.evolve(pod.status, phase="Succeeded"))
    play = Play(make_host(), pod).to(60)

    assert play.life.finished
    assert play.said == []
    assert play.shown == []


def test_reject() -> None:
    """A pod the kubelet refuses is Failed with the reason, and finished."""
    life = PodLife(make_host(), make_pod(), 0)
    life.reject("OutOfcpu", "Node didn't have enough resource: cpu", 0)

    assert (life.status.phase, life.status.reason) == ("Failed", "OutOfcpu")
    assert life.status.message == "Pod was rejected: Node didn't have enough resource: cpu"
    assert life.finished

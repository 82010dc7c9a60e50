"""The small pure parts: images, pulls, back-off, addresses, ticks, hooks, durations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_play import FIXED, behaviour, make_pod, make_runtime

from engine import Container, Draws, DurationRange
from sim_nodes.addresses import AddressesUsedUp, PodAddresses, fallback_cidr
from sim_nodes.backoff import Backoff
from sim_nodes.hooks import hook_seconds
from sim_nodes.images import DEFAULT_BEHAVIOUR, Images, always_pulled
from sim_nodes.pulls import Puller
from sim_nodes.units import NEVER, NS, go_duration, next_tick


def test_the_first_behaviour_that_matches_decides() -> None:
    busybox, rest = behaviour("busybox*"), behaviour("*")
    images = Images((busybox, rest), Draws(1))

    assert images.behaviour("busybox:1.36") is busybox
    assert images.behaviour("nginx") is rest
    assert Images((busybox,), Draws(1)).behaviour("nginx") is DEFAULT_BEHAVIOUR


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("nginx", "nginx"),
        ("nginx:1.25", "nginx"),
        ("registry:5000/shop/cart:v2", "registry:5000/shop/cart"),
        ("nginx@sha256:abc", "nginx"),
    ],
)
def test_image_ids(image: str, repository: str) -> None:
    """An image id is the repository and a digest, the same on every node of a seed."""
    one = Images((), Draws(1)).image_id(image)

    name, _, digest = one.partition("@sha256:")
    assert name == repository
    assert len(digest) == 64
    assert one == Images((), Draws(1)).image_id(image)
    assert one != Images((), Draws(2)).image_id(image)


@pytest.mark.parametrize(
    ("image", "always"),
    [
        ("nginx", True),
        ("nginx:latest", True),
        ("nginx:1", False),
        ("host:5000/nginx", True),
        ("nginx@sha256:0", False),
    ],
)
def test_pull_policy_defaults_by_tag(image: str, always: bool) -> None:
    assert always_pulled(image) is always


def test_serial_and_parallel_pulls() -> None:
    """One lane queues; no limit pulls all at once; two lanes let two through."""
    images = Images((behaviour(pull=FIXED(2)),), Draws(1))

    def ends(lanes: int | None) -> list[int]:
        puller = Puller(node="n", images=images, max_parallel=lanes)
        return [puller.pull(image, 0).ends_ns // NS for image in ("a:1", "b:1", "c:1")]

    assert ends(1) == [2, 4, 6]
    assert ends(2) == [2, 2, 4]
    assert ends(None) == [2, 2, 2]


def test_images_survive_a_crash_and_pulls_do_not() -> None:
    puller = Puller(node="n", images=Images((behaviour(pull=FIXED(2)),), Draws(1)))
    puller.pull("a:1", 0)
    puller.pull("b:1", 0)
    puller.power_off(3 * NS)

    assert puller.present_images(10 * NS) == ["a:1"]


def test_the_registry_is_asked_again_cheaply() -> None:
    """A pull of an image that is there (policy Always) takes a moment only."""
    puller = Puller(node="n", images=Images((behaviour(pull=FIXED(2)),), Draws(1)))
    puller.pull("a:latest", 0)

    again = puller.pull("a:latest", 10 * NS)
    assert again.ends_ns - again.begins_ns == NS // 10


def test_backoff_doubles_and_heals() -> None:
    backoff = Backoff(10 * NS, 300 * NS)
    delays = []
    now = 0
    for _ in range(7):
        backoff.next("a", now, now)
        delays.append(backoff.delay("a") // NS)
        now += backoff.delay("a")
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    assert backoff.holds_until("b", now) == 0
    assert backoff.holds_until("a", now + 601 * NS) == 0
    backoff.next("a", now + 900 * NS, now + 900 * NS)
    assert backoff.delay("a") == 10 * NS
    backoff.forget("a")
    assert backoff.delay("a") == 0


def test_addresses_go_round() -> None:
    """Each is given once; a freed one is given again after the others; a full range says so."""
    addresses = PodAddresses("10.0.0.0/29")
    taken = [addresses.take() for _ in range(5)]
    assert taken == [f"10.0.0.{n}" for n in range(2, 7)]
    with pytest.raises(AddressesUsedUp):
        addresses.take()
    addresses.release("10.0.0.4")
    addresses.release("192.168.0.1")
    assert addresses.take() == "10.0.0.4"
    assert fallback_cidr(1) == "10.128.1.0/24"


@given(st.integers(0, 10**15), st.integers(1, 10**11), st.integers(0, 10**12))
def test_next_tick_is_the_first_at_or_after(time: int, period: int, phase: int) -> None:
    tick = next_tick(time, period_ns=period, phase_ns=phase)

    assert time <= tick < time + period
    assert (tick - phase) % period == 0
    assert next_tick(NEVER, period_ns=period, phase_ns=phase) == NEVER


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0s"),
        (350_000_000, "350ms"),
        (1_200_000_000, "1.2s"),
        (80 * NS, "1m20s"),
        (300 * NS, "5m0s"),
        (3_725_040_000_000, "1h2m5.04s"),
    ],
)
def test_durations_as_go_prints_them(duration_ns: int, text: str) -> None:
    assert go_duration(duration_ns) == text


@pytest.mark.parametrize(
    ("handler", "seconds"),
    [
        ({"sleep": {"seconds": 5}}, 5.0),
        ({"exec": {"command": ["sleep", "15"]}}, 15.0),
        ({"exec": {"command": ["/bin/sh", "-c", "/bin/sleep 7; nginx -s quit"]}}, 7.0),
        ({"exec": {"command": ["nginx", "-s", "quit"]}}, 0.0),
        ({"httpGet": {"path": "/stop"}}, 0.0),
    ],
)
def test_hooks_that_sleep(handler: dict[str, object], seconds: float) -> None:
    """A hook lasts as long as it says it sleeps; one that is not there takes no time."""
    container = Container(name="a", extra={"lifecycle": {"preStop": handler}})  # type: ignore[dict-item]

    assert hook_seconds(container, "preStop") == seconds
    assert hook_seconds(container, "postStart") == 0.0


def test_draws_of_a_container_follow_its_pod() -> None:
    """What a container does is drawn by its pod's uid, so a fault elsewhere does not change it."""
    ranged = behaviour(start=DurationRange(low=0.5, high=2))

    def starts(seed: int) -> int:
        runtime = make_runtime(ranged, seed=seed)
        pod = make_pod()
        runtime.create_sandbox(pod, 0)
        return runtime.start(pod, pod.spec.containers[0], 0, 0).started_ns

    assert starts(1) == starts(1)
    assert starts(1) != starts(2)

"""The pytest plugin, in sessions of its own: what a user of the mark sees, beside pytest-trio, hypothesis and pytest-xdist."""

from __future__ import annotations

import re

import pytest

from tests.wavetank.hunting.hunted import WEB

pytest_plugins = ("pytester",)

HEAD = f"""
import pytest
import trio
from hypothesis import given, settings, strategies as st

WEB = {WEB!r}
"""

SOUND = """
@pytest.mark.wavetank(nodes=3, seeds=2, faults=["node"], horizon=60.0)
async def test_sound(cluster, tmp_path):
    assert tmp_path.exists()
    await cluster.apply(WEB)
    await cluster.until(lambda view: view.deployment("web").available)

async def test_trio():
    await trio.lowlevel.checkpoint()

@settings(max_examples=2, deadline=None)
@given(replicas=st.integers(1, 2))
@pytest.mark.wavetank(nodes=1, seeds=1)
async def test_with_hypothesis(cluster, replicas):
    await cluster.apply(WEB.replace("replicas: 3", f"replicas: {replicas}"))
    await cluster.settled()
    assert len(cluster.view.pods("app=web")) == replicas
"""

BROKEN = """
@pytest.mark.wavetank(nodes=3, seeds=[5, 6, 7], faults=["node.crash"], horizon=50.0)
async def test_broken(cluster):
    await cluster.apply(WEB)
    await trio.sleep(95)
    down = [node for node in cluster.view.nodes() if not node.ready]
    assert not down
"""


def configured(pytester: pytest.Pytester, body: str) -> None:
    pytester.makeini("[pytest]\ntrio_mode = true\n")
    pytester.makepyfile(test_it=HEAD + body)


def test_it_works_beside_other_plugins(pytester: pytest.Pytester) -> None:
    configured(pytester, SOUND)
    pytester.runpytest_subprocess("-n", "2").assert_outcomes(passed=3)


def test_a_failure_is_told_kept_and_run_first(pytester: pytest.Pytester) -> None:
    """In at most 40 lines: the token, the shrunk plan, the causes, and the command; what was kept fails again before any seed."""
    configured(pytester, BROKEN)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    report = text[text.index("wavetank: seed") :]
    report = report[: report.index("--wavetank-token")]
    assert len(report.splitlines()) <= 40
    assert re.search(r"f\d: node.crash node-\d at \d+s$", report, re.MULTILINE)
    assert "assert not down" in text
    token = re.search(r"--wavetank-token (wt1-\S+)", text)
    assert token is not None
    again = pytester.runpytest_subprocess("--wavetank-token", token[1])
    digest = re.search(r"digest (\w+)", text)
    assert digest is not None
    assert digest[1] in again.stdout.str()
    kept = pytester.runpytest_subprocess("--wavetank-seeds", "1")
    assert digest[1] in kept.stdout.str()


@pytest.mark.parametrize(
    ("body", "arguments", "said"),
    [
        ("@pytest.mark.wavetank\ndef test_it(cluster): pass", (), "is for async tests"),
        ("def test_it(cluster): cluster.view", (), "marked with @pytest.mark.wavetank"),
        (
            "@pytest.mark.wavetank(faults=['nodes'])\nasync def test_it(cluster): pass",
            (),
            "faults: unknown 'nodes'; allowed: node",
        ),
        (
            "@pytest.mark.wavetank(colour=3)\nasync def test_it(cluster): pass",
            (),
            "unexpected keyword argument 'colour'",
        ),
        (
            "@pytest.mark.wavetank(seeds=0)\nasync def test_it(cluster): pass",
            (),
            "seeds=0; allowed",
        ),
        (
            "@pytest.mark.wavetank(nodes=1)\nasync def test_it(cluster): pass",
            ("--wavetank-token", "wt1-nonsense"),
            "--wavetank-token: this is no token",
        ),
    ],
)
def test_what_is_wrong_is_said(
    pytester: pytest.Pytester, body: str, arguments: tuple[str, ...], said: str
) -> None:
    configured(pytester, body)
    result = pytester.runpytest_inprocess("-p", "no:trio", *arguments)
    assert said in result.stdout.str() + result.stderr.str()
    assert result.ret != 0

"""The README's examples run, and its experiment has the shape that the loader asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import wavetank
from wavetank.experiment.validate import faults

pytest_plugins = ("pytester",)

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_library_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first example prints a passing result with its digest."""
    monkeypatch.chdir(README.parent)
    source = blocks("python")[0].replace('log="run.wtl"', f"log={str(tmp_path / 'run.wtl')!r}")
    names: dict[str, object] = {}
    exec(compile(source, str(README), "exec"), names)  # noqa: S102 - our own text

    result = names["result"]
    assert isinstance(result, wavetank.Result)
    assert result.passed
    assert result.digest in capsys.readouterr().out


def test_the_reconciler_example_runs() -> None:
    """The example labels the pods of a cluster."""

    async def main(cluster: wavetank.Cluster) -> None:
        pod = wavetank.Pod(
            metadata=wavetank.ObjectMeta(name="web", namespace="default"),
            spec=wavetank.PodSpec(containers=(wavetank.Container(name="c", image="i:1"),)),
        )
        await cluster.client.create(pod)
        await cluster.until(lambda view: view.pods("seen=yes"), "1m")

    names: dict[str, object] = {"main": main, "wavetank": wavetank}
    exec(compile(blocks("python")[2], str(README), "exec"), names)  # noqa: S102 - our own text


def test_the_test_example_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marked test passes, under fewer seeds."""
    source = blocks("python")[1].replace(
        "examples/shop.yaml", str(README.parent / "examples/shop.yaml")
    )
    pytester.makepyfile(test_shop=f"import pytest\n\n{source}")
    pytester.runpytest_subprocess("--wavetank-seeds", "2").assert_outcomes(passed=1)


def test_the_experiment_has_the_right_shape() -> None:
    """The JSON Schema finds no fault with the experiment shown."""
    assert list(faults(yaml.safe_load(blocks("yaml")[0]))) == []

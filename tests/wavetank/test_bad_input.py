"""Whatever is wrong with an experiment or its manifests: one line, FILE:LINE: field.path: what is wrong, what is allowed; exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from engine import Settings, field_name_outside
from reconcilers import default_reconcilers
from tests.wavetank.conftest import Call
from tests.wavetank.contract import DEPLOYMENT, write_small
from wavetank.invariants import INVARIANTS

WEB = DEPLOYMENT.format(name="web", replicas=2, version=1)
SETTINGS = ", ".join(field_name_outside(field.name) for field in attrs.fields(Settings))
RECONCILERS = ", ".join(reconciler.name for reconciler in default_reconcilers())

SPOILT = {
    "unknown field": (
        "invariants:",
        "invariant:",
        (
            "19: spec.invariant: unknown field (did you mean invariants?); allowed: seed, cluster, manifests, images, "
            "steadyState, method, faults, invariants, settleTimeout, until"
        ),
    ),
    "unknown field deep down": (
        "{prefix: w, count: 2, zone: z}",
        "{prefix: w, count: 2, zones: z}",
        (
            "8: spec.cluster.nodes[0].zones: unknown field (did you mean zone?); allowed: prefix, count, zone, "
            "region, capacity, labels, taints"
        ),
    ),
    "missing field": (
        "{prefix: w, count: 2, zone: z}",
        "{prefix: w}",
        "8: spec.cluster.nodes[0].count: required field is missing",
    ),
    "bad quantity": (
        "zone: z",
        "capacity: {cpu: 4 cores}",
        (
            "8: spec.cluster.nodes[0].capacity.cpu: quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ),
    ),
    "negative quantity": (
        "zone: z",
        'capacity: {memory: "-1Gi"}',
        "8: spec.cluster.nodes[0].capacity.memory: -1Gi is negative; allowed: 0 or more",
    ),
    "bad selector": (
        '"app=web"',
        '"app in web"',
        "15: spec.steadyState[1].podsReady.selector: ",
    ),
    "bad duration": (
        "until: 1m",
        "until: 1 minute",
        (
            "20: spec.until: '1 minute' is no duration: allowed are numbers with the units h, m, s, ms, us, such as "
            "500ms, 90s, 1h30m"
        ),
    ),
    "duration without a unit": (
        "at: 40s",
        "at: 20",
        "18: spec.method[1].at: 20 is a number; allowed: a duration such as 500ms, 90s, 5m or 1h30m",
    ),
    "bad range": (
        "1s..2s",
        "2s..1s",
        "12: spec.images[0].pull: the range 2s..1s is empty or negative: allowed is 0 <= low <= high",
    ),
    "a word that YAML reads otherwise": (
        "prefix: w",
        "prefix: n",
        (
            "8: spec.cluster.nodes[0].prefix: false is true or false (YAML reads words like y, n, on and off so; "
            "quote them); allowed: a name such as worker: nodes are called PREFIX-0 ... PREFIX-(count-1)"
        ),
    ),
    "two actions in one step": (
        "{at: 40s, crashNode: {name: w-0}}",
        "{at: 40s, crashNode: {name: w-0}, cordon: {node: w-1}}",
        (
            "18: spec.method[1]: 2 of these are given, exactly one is needed: crashNode, restartNode, partitionNode, "
            "pauseKubelet, scale, apply, delete, cordon, uncordon, restartReconciler"
        ),
    ),
    "no action in a step": (
        "{at: 40s, crashNode: {name: w-0}}",
        "{at: 40s}",
        "18: spec.method[1]: 0 of these are given, exactly one is needed: ",
    ),
    "two targets": (
        "crashNode: {name: w-0}",
        "crashNode: {name: w-0, busiest: true}",
        "18: spec.method[1].crashNode: 2 of these are given, exactly one is needed: name, busiest",
    ),
    "step after the end": (
        "at: 40s",
        "at: 2m",
        "18: spec.method[1].at: is after the end of the experiment; allowed: up to spec.until",
    ),
    "unknown node": (
        "crashNode: {name: w-0}",
        "crashNode: {name: w-7}",
        "18: spec.method[1].crashNode.name: no node is called 'w-7'; allowed: w-0, w-1",
    ),
    "unknown node to cordon": (
        "crashNode: {name: w-0}",
        "cordon: {node: w-7}",
        "18: spec.method[1].cordon.node: no node is called 'w-7'; allowed: w-0, w-1",
    ),
    "unknown node in a check": (
        "deploymentAvailable: {name: web}",
        "nodeReady: {name: w-7}",
        "14: spec.steadyState[0].nodeReady.name: no node is called 'w-7'; allowed: w-0, w-1",
    ),
    "unknown reconciler": (
        "crashNode: {name: w-0}",
        "restartReconciler: {name: deploy}",
        f"18: spec.method[1].restartReconciler.name: no reconciler is called 'deploy'; allowed: {RECONCILERS}",
    ),
    "unknown invariant": (
        "[boundOnce]",
        "[boundOnce, neverFails]",
        f"19: spec.invariants[1]: unknown invariant 'neverFails'; allowed: {', '.join(INVARIANTS)}",
    ),
    "unknown setting": (
        "nodeMonitorGracePeriod",
        "nodeMonitorGrace",
        f"9: spec.cluster.settings.nodeMonitorGrace: unknown setting; allowed: {SETTINGS}",
    ),
    "bad setting": (
        "nodeMonitorGracePeriod: 40s",
        "maxPods: many",
        "9: spec.cluster.settings.maxPods: 'many' is no duration: allowed are ",
    ),
    "version that YAML cuts short": (
        "nodeMonitorGracePeriod: 40s",
        "compat: 1.30",
        '9: spec.cluster.settings.compat: 1.3 is a number; allowed: a version in quotes, such as "1.30"',
    ),
    "unknown kind to delete": (
        "crashNode: {name: w-0}",
        "delete: {kind: Pood, name: x}",
        '18: spec.method[1].delete.kind: no matches for kind "Pood"; did you mean Pod (v1)?',
    ),
    "delete of everything": (
        "crashNode: {name: w-0}",
        "delete: {kind: Pod}",
        "18: spec.method[1].delete: exactly one of these is needed: name, selector",
    ),
    "missing manifest": (
        "[app.yaml]",
        "[apps.yaml]",
        "10: spec.manifests[0]: cannot read FOLDER/apps.yaml: No such file or directory",
    ),
    "missing manifest in the method": (
        "crashNode: {name: w-0}",
        "apply: v2.yaml",
        "18: spec.method[1].apply: cannot read FOLDER/v2.yaml: No such file or directory",
    ),
    "two groups of one name": (
        "- {prefix: w, count: 2, zone: z}",
        "- {prefix: w, count: 2}\n      - {prefix: w, count: 3}",
        "9: spec.cluster.nodes[1].prefix: node w-0 is in another group already",
    ),
    "check without its module": (
        "deploymentAvailable: {name: web}",
        "python: nowhere:check",
        (
            "14: spec.steadyState[0].python: FOLDER/nowhere.py does not exist and nowhere cannot be imported: "
            "No module named 'nowhere'"
        ),
    ),
    "check without its function": (
        "deploymentAvailable: {name: web}",
        "python: json:check",
        "14: spec.steadyState[0].python: ",
    ),
    "invalid YAML": (
        "zone: z}",
        "zone: z",
        "9: invalid YAML: ",
    ),
    "a key twice": (
        "  until: 1m",
        "  until: 1m\n  until: 2m",
        '21: spec.until: the key "until" stands twice in this map',
    ),
    "another kind": (
        "kind: Experiment",
        "kind: Deployment",
        '2: kind: "Deployment" is not allowed; allowed: Experiment',
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_experiment(name: str, tmp_path: Path, wavetank_command: Call) -> None:
    """The line begins with what is told here, and is the only one."""
    old, new, said = SPOILT[name]
    path = write_small(tmp_path, old, new)
    outcome = wavetank_command("run", path)
    expected = f"{path}:{said.replace('FOLDER', str(tmp_path))}"

    assert 2 == outcome.code
    assert "" == outcome.out
    assert expected == outcome.err[: len(expected)]
    assert "\n" not in outcome.err.strip()
    if not said.endswith(" "):
        assert expected == outcome.err


MANIFESTS = {
    "unknown kind": (
        WEB.replace("kind: Deployment", "kind: Deploiment"),
        'app.yaml:2: kind: no matches for kind "Deploiment" in version "apps/v1"; did you mean Deployment (apps/v1)?',
    ),
    "bad quantity": (
        WEB.replace("cpu: 500m", "cpu: lots"),
        "app.yaml:13: spec.template.spec.containers[0].resources.requests[cpu]: ",
    ),
    "wrong type": (
        WEB.replace("replicas: 2", "replicas: two"),
        "app.yaml:5: spec.replicas: ",
    ),
    "invalid YAML": (WEB.replace("spec:", "spec", 1), "app.yaml:5: invalid YAML: "),
    "refused by the API server": (
        "---\n" + WEB.replace("matchLabels: {app: web}", "matchLabels: {app: wob}"),
        'app.yaml:2: Deployment.apps "web" is invalid: spec.template.metadata.labels: Invalid value: ',
    ),
    "namespace that is not there": (
        WEB.replace("{name: web}", "{name: web, namespace: shop}", 1),
        'app.yaml:1: namespaces "shop" not found',
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_spoilt_manifest(name: str, tmp_path: Path, wavetank_command: Call) -> None:
    """What the file says and what the API server refuses are told in the same way, with the manifest's own file and line."""
    app, said = MANIFESTS[name]
    outcome = wavetank_command("run", write_small(tmp_path, app=app))
    expected = f"{tmp_path}/{said}"

    assert (2, expected) == (outcome.code, outcome.err[: len(expected)])
    assert "\n" not in outcome.err.strip()


def test_a_step_that_the_api_server_refuses(tmp_path: Path, wavetank_command: Call) -> None:
    """Only the run can tell: the step's line."""
    path = write_small(tmp_path, "deployment: web", "deployment: wob")
    outcome = wavetank_command("run", path, "--quiet")

    assert 2 == outcome.code
    assert f'{path}:17: spec.method[0].scale: deployments.apps "wob" not found' == outcome.err


def test_a_check_file_that_is_no_python(tmp_path: Path, wavetank_command: Call) -> None:
    (tmp_path / "own.py").write_text("x = 1\ndef check(view)\n    pass\n")
    path = write_small(tmp_path, "deploymentAvailable: {name: web}", "python: own:check")
    outcome = wavetank_command("run", path)

    assert (2, f"{tmp_path}/own.py:2: invalid Python: expected ':'") == (outcome.code, outcome.err)


def test_a_check_file_without_the_function(tmp_path: Path, wavetank_command: Call) -> None:
    (tmp_path / "own.py").write_text("def chekc(view): pass\n")
    path = write_small(tmp_path, "deploymentAvailable: {name: web}", "python: own:check")
    outcome = wavetank_command("run", path)
    said = f"{path}:14: spec.steadyState[0].python: {tmp_path}/own.py has no function check"

    assert (2, said) == (outcome.code, outcome.err)


@pytest.mark.parametrize("text", ["", "# nothing\n", "a: 1\n---\nb: 2\n"])
def test_not_one_document(text: str, tmp_path: Path, wavetank_command: Call) -> None:
    """A file with no document or several is refused in one line."""
    path = tmp_path / "e.yaml"
    path.write_text(text)
    outcome = wavetank_command("run", path)

    assert 2 == outcome.code
    assert outcome.err.startswith(f"{path}:1: ")
    assert outcome.err.endswith("allowed: one Experiment")


@pytest.mark.parametrize("text", ["[1, 2]", "hello", "42"])
def test_not_a_map(text: str, tmp_path: Path, wavetank_command: Call) -> None:
    """A file that holds something other than a map is refused in one line."""
    path = tmp_path / "e.yaml"
    path.write_text(text)
    outcome = wavetank_command("run", path)

    assert 2 == outcome.code
    assert outcome.err.startswith(f"{path}:1: ")
    assert outcome.err.endswith("allowed: a map")


def test_a_log_that_is_there_is_not_replaced(tmp_path: Path, wavetank_command: Call) -> None:
    """Unless it is asked for."""
    path, log = write_small(tmp_path), tmp_path / "run.wtl"
    first = wavetank_command("run", path, "--log", log, "--quiet")
    again = wavetank_command("run", path, "--log", log, "--quiet")
    forced = wavetank_command("run", path, "--log", log, "--quiet", "--overwrite")

    assert [0, 2, 0] == [first.code, again.code, forced.code]
    assert f"{log}: a log is there already; give another path, or --overwrite" == again.err


def test_overwrite_removes_logs_only(tmp_path: Path, wavetank_command: Call) -> None:
    """A file of another kind is never removed."""
    path, precious = write_small(tmp_path), tmp_path / "thesis.txt"
    precious.write_text("years of work")
    outcome = wavetank_command("run", path, "--log", precious, "--quiet", "--overwrite")

    assert 2 == outcome.code
    assert "years of work" == precious.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nowhere.yaml"), "nowhere.yaml: No such file or directory"),
        (("run",), "wavetank: Missing argument 'EXPERIMENT'."),
        (
            ("run", "x.yaml", "--seed", "-1"),
            "wavetank: Invalid value for '--seed': -1 is not in the range x>=0.",
        ),
        (("log", "show", "nowhere.wtl"), "nowhere.wtl: no such log"),
        (("replay", "nowhere.wtl"), "nowhere.wtl: no such log"),
        (("sail",), "wavetank: No such command 'sail'."),
    ],
)
def test_the_process_ends_with_two_and_one_line(arguments: tuple[str, ...], said: str) -> None:
    """Through the installed entry point: nothing on stdout, no traceback."""
    program = "import sys; from wavetank.cli import main; sys.exit(main())"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )

    assert (2, "", said) == (done.returncode, done.stdout, done.stderr.strip())

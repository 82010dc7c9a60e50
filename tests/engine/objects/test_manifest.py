"""Manifests: read as kubectl reads them, written back unchanged, and wrong ones named by file and line."""

import json
from pathlib import Path

import pytest
import yaml

from engine.objects import (
    Json,
    ManifestError,
    ObjectCodec,
    ObjectMeta,
    Pod,
    default_scheme,
    load_manifests,
    load_yaml,
)

SCHEME = default_scheme()
BOUTIQUE = Path(__file__).parents[4] / "shared" / "data" / "online-boutique.yaml"
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"


def test_boutique_survives_unchanged() -> None:
    """A real shop's manifests, with fields that no type models, come back as the data they were."""
    if not BOUTIQUE.exists():
        pytest.skip(f"{BOUTIQUE} is not beside this repository")
    raw = [data for data in yaml.safe_load_all(BOUTIQUE.read_text()) if data]
    codec = ObjectCodec(SCHEME)
    loaded = load_manifests(BOUTIQUE, SCHEME)

    assert raw == [SCHEME.to_dict(item.object) for item in loaded]
    assert raw == [SCHEME.to_dict(codec.decode(codec.encode(item.object))) for item in loaded]


def test_documents_have_lines() -> None:
    """Each object knows the line at which its document begins; empty documents are skipped."""
    text = f"# first\n{CONFIG_MAP}---\n---\n# none\n---\n{CONFIG_MAP}data: {{k: v}}\n"
    loaded = load_manifests(text, SCHEME)

    assert [(item.source, item.line) for item in loaded] == [("<text>", 2), ("<text>", 10)]


def test_every_kind_of_source(tmp_path: Path) -> None:
    """A path, a directory, text, JSON with tabs, data, objects, and lists of them."""
    data: dict[str, Json] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    file = tmp_path / "a.yaml"
    file.write_text(CONFIG_MAP)
    (tmp_path / "notes.txt").write_text("not a manifest")
    obj = SCHEME.from_dict(data)
    text = json.dumps(data, indent="\t")

    for source in (file, str(file), tmp_path, CONFIG_MAP, text, data, obj, [obj]):
        assert [obj] == [item.object for item in load_manifests(source, SCHEME)]
    assert [obj] * 3 == [item.object for item in load_manifests([file, data, [obj]], SCHEME)]


def test_lists_are_taken_apart() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: 3\n"

    with pytest.raises(ManifestError) as caught:
        load_manifests(text, SCHEME)

    assert (
        str(caught.value) == '<text>:10: items[1].metadata.name: 3 must be a string, in quotes: "3"'
    )
    assert len(load_manifests(text.replace("name: 3", "name: b"), SCHEME)) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", True),
        ("No", False),
        ("on", True),
        ("~", None),
        ("", None),
        ("12", 12),
        ("0644", 420),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("-3", -3),
        ("08", 8),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("=", "="),
        ("1.2.3", "1.2.3"),
        ('"3"', "3"),
        ("!!str 3", "3"),
        ("100m", "100m"),
        ("|\n  text\n", "text\n"),
        ("&a [1, 2]", [1, 2]),
    ],
)
def test_scalars(text: str, expected: Json) -> None:
    """As Go's yaml.v2 reads them, which kubectl uses."""
    documents = load_yaml(f"a: {text}", "f")

    assert [{"a": expected}] == [document.data for document in documents]


def test_anchors_and_merges() -> None:
    """Anchors and merge keys mean what YAML says they mean."""
    text = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nboth: {<<: [*base, {c: 4}]}\n"
    data = load_yaml(text, "f")[0].data

    assert data == {
        "base": {"a": 1, "b": 2},
        "other": {"a": 1, "b": 3},
        "both": {"a": 1, "b": 2, "c": 4},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "apiVersion: apps/v1\nkind: Deploymnt\nmetadata: {name: x}\n",
            'f.yaml:2: kind: no matches for kind "Deploymnt" in version "apps/v1"; did you mean Deployment (apps/v1)?',
        ),
        ("metadata: {name: a}\nkind: Pod\n", "f.yaml:1: apiVersion: Required value"),
        (
            "apiVersion: v1\nkind: Pod\n",
            "f.yaml:1: metadata.name: Required value: name or generateName is required",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    example.org/on: true\n",
            'f.yaml:6: metadata.labels[example.org/on]: true must be a string, in quotes: "true"',
        ),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 'f.yaml:4: b.c: the key "c" stands twice in this map'),
        ("a:\n - [\n", "f.yaml:3: invalid YAML: did not find expected node content"),
        ("a: \x01\n", "f.yaml:1: invalid YAML: control characters are not allowed"),
        ("a: .inf\n", "f.yaml:1: a: .inf is no number"),
        ("a: !!python/object:x {}\n", None),
        ("a: !thing 3\n", "f.yaml:1: a: the tag !thing is not supported"),
        ("? [a]\n: 1\n", "f.yaml:1: a key must be a string"),
        ("a: &a [*a]\n", "f.yaml: nested too deep, or an alias of itself"),
        (
            "- 1\n",
            "f.yaml:1: [1] is no object; a manifest is a map with apiVersion, kind and metadata",
        ),
        ("apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a}\n", None),
    ],
)
def test_bad_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str | None
) -> None:
    """One line each: file, line, field, what is wrong, what is allowed."""
    monkeypatch.chdir(tmp_path)
    Path("f.yaml").write_text(text)

    with pytest.raises(ManifestError) as caught:
        load_manifests(Path("f.yaml"), SCHEME)

    assert "\n" not in str(caught.value)
    if message is not None:
        assert message == caught.value.lines[0]
    else:
        assert str(caught.value).startswith(("f.yaml:1: ", "f.yaml:2: "))


def test_all_faults_of_a_file_are_known() -> None:
    """The text shows the first and counts the others; `lines` has all, in the order of the file."""
    bad_pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: 1}\nspec:\n  containers:\n  - image: 2\n    name: c\n"

    with pytest.raises(ManifestError) as caught:
        load_manifests(f"{bad_pod}---\napiVersion: v1\nkind: Thing\n", SCHEME)

    assert str(caught.value).endswith("(and 2 more)")
    assert [line for line, _, _ in caught.value.faults] == [3, 6, 10]


def test_missing_file() -> None:
    """A file that is not there is an error with its name."""
    with pytest.raises(ManifestError) as caught:
        load_manifests("no/such.yaml", SCHEME)

    assert str(caught.value) == "no/such.yaml: No such file or directory"


def test_aliases_cannot_explode() -> None:
    """Nine lines that stand for a billion values are refused, not expanded."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]

    with pytest.raises(ManifestError, match="more than 300000 values"):
        load_yaml("\n".join(lines), "f")


def test_faults_of_data_have_no_line() -> None:
    data: dict[str, Json] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 3}}

    with pytest.raises(ManifestError) as caught:
        load_manifests(data, SCHEME)

    assert str(caught.value) == '<data>: metadata.name: 3 must be a string, in quotes: "3"'


def test_lines_of_paths() -> None:
    """The line of a path is that of its key; of a path that is not there, of what is nearest."""
    text = "spec:\n  nodes:\n  - prefix: a\n    count: 4\n  labels:\n    a.b/c: 1\n"
    document = load_yaml(text, "f.yaml")[0]

    assert document.line("spec.nodes[0].count") == 4
    assert document.line("spec.nodes[0]") == 3
    assert document.line("spec.nodes[7].count") == 2
    assert document.line("spec.labels[a.b/c]") == 6
    assert (
        str(document.error("spec.nodes[0].count", "must be positive"))
        == "f.yaml:4: spec.nodes[0].count: must be positive"
    )


def test_objects_pass_through() -> None:
    """An object given as such is loaded as it is."""
    pod = Pod(metadata=ObjectMeta(name="a"))

    assert pod is load_manifests(pod, SCHEME)[0].object

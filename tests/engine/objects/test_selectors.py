"""Label selectors in both syntaxes, and field selectors, with Kubernetes' texts (labels/selector_test.go)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.objects import (
    EVERYTHING,
    NOTHING,
    LabelSelector,
    LabelSelectorRequirement,
    Pod,
    PodSpec,
    PodStatus,
    SelectorError,
    default_scheme,
    node_selector_of,
    parse_field_selector,
    parse_label_selector,
    selector_of,
)
from engine.objects.selectors import escape_field_value


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("x=a,y=b,z=c", "x=a,y=b,z=c"),
        ("", ""),
        ("x!=a,y=b", "x!=a,y=b"),
        ("x=", "x="),
        ("x= ,z= ", "x=,z="),
        ("!x", "!x"),
        ("x>1,z<5", "x>1,z<5"),
        ("x in (b, a,b)", "x in (a,b)"),
        ("x in ()", "x in ()"),
        ("x in (a,)", "x in (,a)"),
        ("x notin (a)", "x notin (a)"),
        ("notin=in", "notin=in"),
        ("in", "in"),
        ("b,a==x", "a==x,b"),
        ("example.com/role=db", "example.com/role=db"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    """Requirements are sorted by key, values sorted; the text reads back as the same selector."""
    selector = parse_label_selector(text)

    assert canonical == str(selector)
    assert selector == parse_label_selector(canonical)


MATCHES = [
    ("", {"x": "y"}, True),
    ("x=y", {"x": "y"}, True),
    ("x=y", {"x": "z"}, False),
    ("x=y", {}, False),
    ("x=y,z=w", {"x": "y", "z": "w"}, True),
    ("x=y,z=w", {"x": "w", "z": "w"}, False),
    ("x!=y", {"x": "z"}, True),
    ("x!=y", {}, True),
    ("x", {"x": ""}, True),
    ("x", {"y": "z"}, False),
    ("!x", {"y": "z"}, True),
    ("!x", {"x": "z"}, False),
    ("x in (a,b)", {"x": "b"}, True),
    ("x in (a,b)", {}, False),
    ("x notin (a,b)", {"x": "c"}, True),
    ("x notin (a,b)", {}, True),
    ("x notin (a,b)", {"x": "a"}, False),
    ("x>1", {"x": "2"}, True),
    ("x>1", {"x": "1"}, False),
    ("x>1", {"x": "many"}, False),
    ("x<1", {"x": "0"}, True),
    ("x<1", {}, False),
    ("x=", {"x": ""}, True),
]


@pytest.mark.parametrize(("text", "labels", "expected"), MATCHES)
def test_matches(text: str, labels: dict[str, str], *, expected: bool) -> None:
    """A label selector in its text form matches as in Kubernetes."""
    assert expected is parse_label_selector(text).matches(labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x==a==b", "found '==', expected: ',' or 'end of string'"),
        ("!x=a", "found '=', expected: ',' or 'end of string'"),
        ("x=a||y=b", 'unable to parse requirement: values[0][x]: Invalid value: "a||y": '),
        (
            "x<a",
            "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("x,", "found '', expected: identifier after ','"),
        (",x", "found ',', expected: !, identifier, or 'end of string'"),
        ("x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt"),
        ("x in a", "unable to parse requirement: found 'a' expected: '('"),
        ("x in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("x in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
        (
            "-x=a",
            'unable to parse requirement: <nil>: Invalid value: "-x": name part must consist of',
        ),
        (
            "a/b/c",
            'unable to parse requirement: <nil>: Invalid value: "a/b/c": a valid label key must',
        ),
    ],
)
def test_bad_selectors(text: str, message: str) -> None:
    """What cannot be read is refused in Kubernetes' words."""
    with pytest.raises(SelectorError) as caught:
        parse_label_selector(text)

    assert str(caught.value).startswith(message)


def test_structured_form() -> None:
    """The structured form compiles to the same selector as the text; none matches nothing, an empty one everything."""
    structured = LabelSelector(
        match_labels={"app": "shop"},
        match_expressions=(
            LabelSelectorRequirement(key="tier", operator="In", values=("web", "api")),
            LabelSelectorRequirement(key="old", operator="DoesNotExist"),
        ),
    )

    assert parse_label_selector("app=shop,tier in (web,api),!old") == selector_of(structured)
    assert selector_of(structured) is selector_of(structured)
    assert parse_label_selector("a=b") == selector_of({"a": "b"})
    assert NOTHING is selector_of(None)
    assert not NOTHING.matches({})
    assert EVERYTHING is selector_of(LabelSelector())
    assert EVERYTHING.matches({})
    assert EVERYTHING.empty
    assert not NOTHING.empty


def test_structured_errors() -> None:
    """What a structured selector may not say is refused in the API server's words."""
    bad_operator = LabelSelectorRequirement(key="a", operator="Near")
    no_values = LabelSelectorRequirement(key="a", operator="In")

    with pytest.raises(SelectorError, match=r'^"Near" is not a valid label selector operator$'):
        selector_of(LabelSelector(match_expressions=(bad_operator,)))
    with pytest.raises(SelectorError, match="for 'in', 'notin' operators, values set can't be"):
        selector_of(LabelSelector(match_expressions=(no_values,)))


def test_node_selectors_compare() -> None:
    """Node selector terms may use Gt and Lt; label selectors may not."""
    more = LabelSelectorRequirement(key="cores", operator="Gt", values=("4",))

    assert node_selector_of((more,)).matches({"cores": "8"})
    assert not node_selector_of((more,)).matches({"cores": "4"})
    with pytest.raises(SelectorError, match=r'^"Gt" is not a valid label selector operator$'):
        selector_of(LabelSelector(match_expressions=(more,)))
    with pytest.raises(SelectorError, match="exactly one value is required"):
        node_selector_of((LabelSelectorRequirement(key="cores", operator="Lt"),))


def test_exact_requirements_are_visible() -> None:
    """An index can be asked for the labels that must have one value."""
    selector = parse_label_selector("a=1,b in (2),c in (3,4),d")

    assert selector.exact_labels == {"a": "1", "b": "2"}
    assert selector.exact("b") == "2"
    assert selector.exact("c") is None


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "1", "2", "x"]), max_size=3)
TERMS = st.one_of(
    st.builds(
        "{}{}{}".format,
        st.sampled_from("abc"),
        st.sampled_from(["=", "==", "!="]),
        st.sampled_from(["", "1", "x"]),
    ),
    st.builds("{} {} (1,x)".format, st.sampled_from("abc"), st.sampled_from(["in", "notin"])),
    st.builds("{}{}1".format, st.sampled_from("abc"), st.sampled_from("<>")),
    st.sampled_from(["a", "!b", "c"]),
)


@given(st.lists(TERMS, max_size=4), LABELS)
def test_a_selector_is_the_and_of_its_terms(terms: list[str], labels: dict[str, str]) -> None:
    """Compiling together changes nothing."""
    selector = parse_label_selector(",".join(terms))

    assert selector.matches(labels) is all(parse_label_selector(t).matches(labels) for t in terms)


POD = default_scheme().resource_of("Pod")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("spec.nodeName=a-0", True),
        ("spec.nodeName==a-0,status.phase!=Failed", True),
        ("spec.nodeName!=a-0", False),
        ("status.phase=Running,metadata.namespace=", True),
        ("spec.hostNetwork=false", True),
    ],
)
def test_field_selectors(text: str, *, expected: bool) -> None:
    """A field selector compares the fields its kind offers."""
    pod = Pod(spec=PodSpec(node_name="a-0"), status=PodStatus(phase="Running"))

    assert expected is POD.matches_fields(POD.field_selector(text), pod)


def test_field_selector_for_an_index() -> None:
    selector = POD.field_selector("status.phase!=Failed,spec.nodeName=a-0")

    assert selector.exact("spec.nodeName") == "a-0"
    assert selector.exact("status.phase") is None
    assert str(selector) == "spec.nodeName=a-0,status.phase!=Failed"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("Pod", "spec.foo=1", "field label not supported: spec.foo"),
        (
            "ConfigMap",
            "x=1",
            '"x" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("Pod", "nodeName", "invalid selector: 'nodeName'; can't understand 'nodeName'"),
        ("Pod", "spec.nodeName=a\\b", "invalid field selector: invalid escape sequence: \\b"),
        ("Pod", "spec.nodeName=a\\", "invalid field selector: invalid escape sequence: \\"),
        ("Pod", "spec.nodeName=a=b", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_bad_field_selectors(kind: str, text: str, message: str) -> None:
    """A field selector that cannot be understood is refused in the API server's words."""
    with pytest.raises(SelectorError) as caught:
        default_scheme().resource_of(kind).field_selector(text)

    assert message == str(caught.value)


@given(st.text(alphabet="a\\,=!b", max_size=8))
def test_any_value_can_be_escaped(value: str) -> None:
    """Escaping and parsing are inverse."""
    selector = parse_field_selector(f"a={escape_field_value(value)},b=1")

    assert value == selector.exact("a")
    assert selector.exact("b") == "1"
    assert selector == parse_field_selector(str(selector))

"""Hypothesis strategies for manifests: JSON data of every kind, made from the types themselves."""

from collections.abc import Callable
from typing import get_args

import attrs
from hypothesis import strategies as st

from engine.objects import ApiType, Json, MicroTime, Quantity, Time, default_scheme
from engine.objects.converters import field_forms, is_int_or_str, is_list, is_map, present_type

SCHEME = default_scheme()
KINDS = [resource for resource in SCHEME.resources if resource.type is not None]

TEXTS = st.text(max_size=6)
SMALL = st.integers(min_value=-5, max_value=2**40)
SCALARS = (
    st.none() | st.booleans() | SMALL | TEXTS | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
QUANTITIES = st.sampled_from(["1", "100m", "0.1", "1Gi", "1024Mi", "1.5Gi", "1e3", "3k", 2, 0.5, 0])
SECONDS = st.integers(min_value=0, max_value=4_000_000_000)
LEAVES: dict[object, st.SearchStrategy[Json]] = {
    str: TEXTS,
    int: SMALL,
    bool: st.booleans(),
    Quantity: QUANTITIES,
    Time: SECONDS.map(lambda seconds: str(Time(seconds * 1_000_000))),
    MicroTime: SECONDS.map(lambda micros: str(MicroTime(micros))),
}


def of_type(kind: object) -> st.SearchStrategy[Json]:
    if kind in LEAVES:
        return LEAVES[kind]
    if is_int_or_str(kind):
        return SMALL | TEXTS
    if is_list(kind):
        return st.lists(of_type(present_type(get_args(kind)[0])), max_size=2)
    if is_map(kind):
        return st.dictionaries(TEXTS, of_type(present_type(get_args(kind)[1])), max_size=3)
    assert isinstance(kind, type)
    return of_class(kind)


@st.composite
def of_class(draw: Callable[..., Json], cls: type) -> dict[str, Json]:
    """Data of a class: its required fields, some of the others (defaults among them), and some that it does not know."""
    forms = field_forms(cls)
    optional = [form.outside for form in forms if form.default is not attrs.NOTHING]
    chosen = draw(st.lists(st.sampled_from(optional), max_size=4, unique=True)) if optional else []
    data = {
        form.outside: draw(of_type(form.type))
        for form in forms
        if form.default is attrs.NOTHING or form.outside in chosen
    }
    if issubclass(cls, ApiType):
        unknown = draw(st.dictionaries(st.sampled_from(["x-a", "Ax", "zz"]), JSON, max_size=1))
        data.update(unknown)
    return data


@st.composite
def manifests(draw: Callable[..., Json]) -> dict[str, Json]:
    """Data of an object of any built-in kind."""
    resource = draw(st.sampled_from(KINDS))
    assert resource.type is not None
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    return {**head, **draw(of_class(resource.type))}

r"""Label and field selectors: parsed once, matched often.

Grammar, canonical text and messages follow `k8s.io/apimachinery/pkg/labels` and `pkg/fields`:

    a=b  a==b  a!=b  a in (x,y)  a notin (x,y)  a  !a  a>5  a<5       labels, joined by commas (and)
    f=v  f==v  f!=v                                                   fields; \\ escapes \ , and =

`!=`, `notin` and `!a` also match objects without the label. What is parsed is cached: equal texts give the same `Selector`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import attrs

from engine.objects.labels import label_key_faults, label_value_faults

if TYPE_CHECKING:
    from engine.objects.meta import LabelSelector, LabelSelectorRequirement

_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_WORD: Final = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+|$)")


class SelectorError(ValueError):
    """The selector cannot be read, or asks for what there is not; the message is Kubernetes'."""


class Operator(enum.Enum):
    """How a requirement compares, by its sign in the text form."""

    EQUALS = "="
    DOUBLE_EQUALS = "=="
    NOT_EQUALS = "!="
    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    NOT_EXISTS = "!"
    GREATER = ">"
    LESS = "<"


_OPERATOR_OF_WORD: Final = {
    "=": Operator.EQUALS,
    "==": Operator.DOUBLE_EQUALS,
    "!=": Operator.NOT_EQUALS,
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
    ">": Operator.GREATER,
    "<": Operator.LESS,
}
_BINARY_OPERATORS: Final = "in, notin, =, ==, !=, gt, lt"
_OPERATOR_OF_NAME: Final = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.NOT_EXISTS,
    "Gt": Operator.GREATER,
    "Lt": Operator.LESS,
}
_COMPARISONS: Final = frozenset({Operator.GREATER, Operator.LESS})
_ONE_OF: Final = frozenset({Operator.EQUALS, Operator.DOUBLE_EQUALS, Operator.IN})
_NONE_OF: Final = frozenset({Operator.NOT_EQUALS, Operator.NOT_IN})


@attrs.frozen(kw_only=True)
class Requirement:
    """One condition on one label; `values` are sorted and without repetition."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        operator = self.operator
        if operator in _ONE_OF:
            return value is not None and value in self.values
        if operator in _NONE_OF:
            return value is None or value not in self.values
        if operator is Operator.EXISTS:
            return value is not None
        if operator is Operator.NOT_EXISTS:
            return value is None
        return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        if value is None or _INTEGER.fullmatch(value) is None:
            return False
        bound = int(self.values[0])
        return int(value) > bound if self.operator is Operator.GREATER else int(value) < bound

    def __str__(self) -> str:
        if self.operator is Operator.EXISTS:
            return self.key
        if self.operator is Operator.NOT_EXISTS:
            return f"!{self.key}"
        if self.operator in {Operator.IN, Operator.NOT_IN}:
            return f"{self.key} {self.operator.value} ({','.join(self.values)})"
        return f"{self.key}{self.operator.value}{self.values[0]}"


@attrs.frozen
class Selector:
    """A compiled label selector: all `requirements` must hold, sorted by key; None matches nothing.

    >>> selector = parse_label_selector("tier in (web, api), app = shop")
    >>> str(selector), selector.exact("app"), selector.matches({"app": "shop", "tier": "api"})
    ('app=shop,tier in (api,web)', 'shop', True)
    """

    requirements: tuple[Requirement, ...] | None
    _exact: tuple[tuple[str, str], ...] = attrs.field(init=False, eq=False, repr=False)
    _others: tuple[Requirement, ...] = attrs.field(init=False, eq=False, repr=False)

    @_exact.default
    def _find_exact(self) -> tuple[tuple[str, str], ...]:
        return tuple((r.key, r.values[0]) for r in self.requirements or () if _is_exact(r))

    @_others.default
    def _find_others(self) -> tuple[Requirement, ...]:
        return tuple(r for r in self.requirements or () if not _is_exact(r))

    @property
    def empty(self) -> bool:
        """Whether it has no requirement, and so matches everything."""
        return self.requirements == ()

    @property
    def exact_labels(self) -> Mapping[str, str]:
        """The labels that must have one known value: what an index can be asked for."""
        return dict(self._exact)

    def exact(self, key: str) -> str | None:
        """The one value that the label must have, or None if the selector leaves a choice."""
        for found, value in self._exact:
            if found == key:
                return value
        return None

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self.requirements is None:
            return False
        for key, value in self._exact:
            if labels.get(key) != value:
                return False
        return not self._others or all(requirement.matches(labels) for requirement in self._others)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements or ())


def _is_exact(requirement: Requirement) -> bool:
    return requirement.operator in _ONE_OF and len(requirement.values) == 1


EVERYTHING: Final = Selector(())
NOTHING: Final = Selector(None)


def _invalid(path: str, value: str, message: str) -> str:
    return f'{path}: Invalid value: "{value}": {message}'


def _requirement(key: str, operator: Operator, values: tuple[str, ...]) -> Requirement:
    """Check one requirement as NewRequirement of labels/selector.go does. Raises SelectorError."""
    faults = [_invalid("key", key, "; ".join(bad))] if (bad := label_key_faults(key)) else []
    shown = "[" + ",".join(f'"{value}"' for value in values) + "]"
    if operator in {Operator.IN, Operator.NOT_IN} and not values:
        faults.append(
            f"values: Invalid value: {shown}: for 'in', 'notin' operators, values set can't be empty"
        )
    if operator in {Operator.EXISTS, Operator.NOT_EXISTS} and values:
        faults.append(
            f"values: Invalid value: {shown}: values set must be empty for exists and does not exist"
        )
    if operator in _COMPARISONS and len(values) != 1:
        faults.append(
            f"values: Invalid value: {shown}: for 'Gt', 'Lt' operators, exactly one value is required"
        )
    elif operator in _COMPARISONS and _INTEGER.fullmatch(values[0]) is None:
        message = "for 'Gt', 'Lt' operators, the value must be an integer"
        faults.append(_invalid("values[0]", values[0], message))
    for index, value in enumerate(values):
        if bad := label_value_faults(value):
            faults.append(_invalid(f"values[{index}][{key}]", value, "; ".join(bad)))
    if faults:
        raise SelectorError(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")
    return Requirement(key=key, operator=operator, values=tuple(sorted(dict.fromkeys(values))))


def _selector(requirements: list[Requirement]) -> Selector:
    return (
        Selector(tuple(sorted(requirements, key=lambda r: r.key))) if requirements else EVERYTHING
    )


@lru_cache(maxsize=4096)
def parse_label_selector(text: str) -> Selector:
    """Read the text form; "" matches everything. Raises SelectorError."""
    return _selector(_LabelParser(text).parse())


class _LabelParser:
    """Recursive descent over the words; each method leaves `position` behind what it read."""

    def __init__(self, text: str) -> None:
        self.words = [match[1] for match in _WORD.finditer(text)]
        if not self.words or self.words[-1]:
            self.words.append("")
        self.position = 0

    @property
    def word(self) -> str:
        return self.words[self.position]

    def take(self) -> str:
        word = self.words[self.position]
        self.position = min(self.position + 1, len(self.words) - 1)
        return word

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while self.word:
            if not _is_identifier(self.word) and self.word != "!":
                raise SelectorError(
                    f"found '{self.word}', expected: !, identifier, or 'end of string'"
                )
            try:
                requirements.append(self.requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            after = self.take()
            if not after:
                break
            if after != ",":
                raise SelectorError(f"found '{after}', expected: ',' or 'end of string'")
            if not _is_identifier(self.word) and self.word != "!":
                raise SelectorError(f"found '{self.word}', expected: identifier after ','")
        return requirements

    def requirement(self) -> Requirement:
        negated = self.word == "!"
        if negated:
            self.take()
        key = self.take()
        if not _is_identifier(key):
            raise SelectorError(f"found '{key}', expected: identifier")
        if bad := label_key_faults(key):
            raise SelectorError(_invalid("<nil>", key, "; ".join(bad)))
        if negated or self.word in {"", ","}:
            operator = Operator.NOT_EXISTS if negated else Operator.EXISTS
            return _requirement(key, operator, ())
        sign = self.take()
        found = _OPERATOR_OF_WORD.get(sign)
        if found is None:
            raise SelectorError(f"found '{sign}', expected: {_BINARY_OPERATORS}")
        values = self.set() if found in {Operator.IN, Operator.NOT_IN} else self.exact_value()
        return _requirement(key, found, values)

    def exact_value(self) -> tuple[str, ...]:
        if self.word in {"", ","}:
            return ("",)
        value = self.take()
        if not _is_identifier(value):
            raise SelectorError(f"found '{value}', expected: identifier")
        return (value,)

    def set(self) -> tuple[str, ...]:
        opening = self.take()
        if opening != "(":
            raise SelectorError(f"found '{opening}' expected: '('")
        values: list[str] = []
        value = ""
        while True:
            word = self.take()
            if word in {",", ")"}:
                values.append(value)
                value = ""
                if word == ")":
                    return tuple(values)
            elif not _is_identifier(word) or value:
                raise SelectorError(f"found '{word}', expected: ',' or ')'")
            else:
                value = word


def _is_identifier(word: str) -> bool:
    return bool(word) and word[0] not in "=!(),<>"


def selector_of(source: LabelSelector | Mapping[str, str] | None) -> Selector:
    """Compile the structured form; None matches nothing, an empty one everything. Raises SelectorError.

    A mapping is the old form (ReplicationController, Service): every label must have its value. The
    labels of a mapping are not checked, as in Kubernetes (`SelectorFromSet`).
    """
    if source is None:
        return NOTHING
    if isinstance(source, Mapping):
        return _selector_of_labels(tuple(source.items()))
    key = (
        tuple(source.match_labels.items()),
        tuple((e.key, e.operator, e.values) for e in source.match_expressions),
    )
    return _selector_of_parts(*key)


def node_selector_of(expressions: tuple[LabelSelectorRequirement, ...]) -> Selector:
    """Compile the expressions of a node selector term, which may also use Gt and Lt. Raises SelectorError.

    An empty term matches no node in Kubernetes, while the selector of no expressions matches all: ask for that before.
    """
    return _selector_of_parts(
        (), tuple((e.key, e.operator, e.values) for e in expressions), nodes=True
    )


@lru_cache(maxsize=4096)
def _selector_of_labels(labels: tuple[tuple[str, str], ...]) -> Selector:
    return _selector([Requirement(key=k, operator=Operator.EQUALS, values=(v,)) for k, v in labels])


@lru_cache(maxsize=4096)
def _selector_of_parts(
    labels: tuple[tuple[str, str], ...],
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...],
    *,
    nodes: bool = False,
) -> Selector:
    requirements = [_requirement(key, Operator.EQUALS, (value,)) for key, value in labels]
    for key, name, values in expressions:
        operator = _OPERATOR_OF_NAME.get(name)
        if operator is None or (operator in _COMPARISONS and not nodes):
            kind = "node" if nodes else "label"
            raise SelectorError(f'"{name}" is not a valid {kind} selector operator')
        requirements.append(_requirement(key, operator, values))
    return _selector(requirements)


@attrs.frozen(kw_only=True)
class FieldRequirement:
    """One condition on one field: `equal` says whether the value must be there or must not."""

    field: str
    equal: bool
    value: str


@attrs.frozen
class FieldSelector:
    """A parsed field selector; all requirements must hold, none matches everything."""

    requirements: tuple[FieldRequirement, ...]

    def exact(self, field: str) -> str | None:
        """The one value that the field must have, for an index, or None."""
        for requirement in self.requirements:
            if requirement.field == field and requirement.equal:
                return requirement.value
        return None

    def __str__(self) -> str:
        return ",".join(
            f"{r.field}{'=' if r.equal else '!='}{escape_field_value(r.value)}"
            for r in self.requirements
        )


def escape_field_value(value: str) -> str:
    """Write any text so that it can stand in a field selector."""
    return re.sub(r"[\\,=]", r"\\\g<0>", value)


_TERM: Final = re.compile(r"((?:[^\\,]|\\.|\\$)*)(?:,|$)", re.DOTALL)
_FIELD_OPERATOR: Final = re.compile(r"!=|==|=")


@lru_cache(maxsize=4096)
def parse_field_selector(text: str) -> FieldSelector:
    """Read a field selector; "" matches everything. Raises SelectorError.

    Whether a kind has the fields is checked by `Resource.field_selector`.
    """
    requirements: list[FieldRequirement] = []
    for term in sorted(match[1] for match in _TERM.finditer(text)):
        if not term:
            continue
        operator = _FIELD_OPERATOR.search(term)
        if operator is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
        requirements.append(
            FieldRequirement(
                field=term[: operator.start()],
                equal=operator[0] != "!=",
                value=_unescape(term[operator.end() :]),
            )
        )
    return FieldSelector(tuple(requirements))


def _unescape(text: str) -> str:
    value: list[str] = []
    escaped = False
    for character in text:
        if escaped:
            if character not in "\\,=":
                raise SelectorError(
                    f"invalid field selector: invalid escape sequence: \\{character}"
                )
            value.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in ",=":
            # Kubernetes prints the character's number here.
            raise SelectorError(
                f"invalid field selector: unescaped character in value: {ord(character)}"
            )
        else:
            value.append(character)
    if escaped:
        raise SelectorError("invalid field selector: invalid escape sequence: \\")
    return "".join(value)

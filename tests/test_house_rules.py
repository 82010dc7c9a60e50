"""The house rules that no linter knows, held over the source; each failure says where, and what to do instead.

What ruff sees (banned calls, bare excepts among them), mypy and import-linter hold elsewhere: here is the rest.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("store", "engine", "reconcilers", "sim_nodes", "wavetank")

MAX_LINES, LONG_LINES = 600, 400
MAX_FUNCTION = 70

MAY_IMPORT = {
    "store": (),
    "engine": ("store",),
    "reconcilers": ("store", "engine"),
    "sim_nodes": ("store", "engine"),
    "wavetank": ("store", "engine", "reconcilers", "sim_nodes"),
}
"""Whose facades a package imports (design.md, section 2)."""


@attrs.frozen
class Module:
    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def package(self) -> str:
        return self.path.relative_to(ROOT).parts[0]

    def at(self, node: ast.AST) -> str:
        return f"{self.name}:{getattr(node, 'lineno', 1)}"


def read(path: Path) -> Module:
    text = path.read_text()
    return Module(path, text, ast.parse(text))


def modules_of(*folders: str) -> list[Module]:
    return [read(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


SOURCES = modules_of(*PACKAGES)
TESTS = modules_of("tests")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: Module) -> Iterator[Function]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def reported(found: list[str], remedy: str) -> None:
    """Fail with the places and the remedy."""
    if found:
        pytest.fail("\n".join([*found, f"  -> {remedy}"]), pytrace=False)


def test_modules_fit_in_a_readers_head() -> None:
    """No module is longer than 600 lines; those over 400 are named in a note."""
    lengths = {module.name: module.text.count("\n") for module in SOURCES}
    long = [f"{name}: {lines}" for name, lines in lengths.items() if lines > LONG_LINES]
    if long:
        print(f"modules over {LONG_LINES} lines:", *long, sep="\n  ")  # noqa: T201 - shown with -rP

    reported(
        [f"{name} has {lines} lines" for name, lines in lengths.items() if lines > MAX_LINES],
        f"split it by what changes together; allowed are {MAX_LINES} lines",
    )


def test_functions_fit_a_screen() -> None:
    """No function is longer than 70 lines."""
    found = []
    for module in SOURCES:
        for node in functions(module):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION:
                found.append(f"{module.at(node)}: {node.name} has {lines} lines")

    reported(
        found,
        f"keep branches in the parent and move loops into helpers; allowed are {MAX_FUNCTION} lines",
    )


def imported(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Each import statement with the module it names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node, "." * node.level + (node.module or "")


def test_packages_meet_at_their_facades() -> None:
    """One package imports another by its facade, and only those below it; its own modules by their full names."""
    found = []
    for module in SOURCES:
        allowed = MAY_IMPORT[module.package]
        for node, name in imported(module.tree):
            top = name.partition(".")[0]
            if name.startswith("."):
                found.append(f"{module.at(node)}: relative import {name}")
            elif top in PACKAGES and top != module.package and name not in allowed:
                found.append(f"{module.at(node)}: {name}")
            elif name == module.package and module.path.name != "__init__.py":
                found.append(f"{module.at(node)}: {name}, its own facade")

    reported(
        found,
        "write `from store import ...`, `from engine import ...` for another package (add the name to its facade), "
        "`from engine.objects.pod import ...` for a sibling",
    )


def swallows(module: Module, handler: ast.ExceptHandler) -> bool:
    """Whether a handler lets an exception end in it. One that only keeps it says, where ruff asks why: "raised again"."""
    if "raised again" in module.text.splitlines()[handler.lineno - 1]:
        return False
    return not any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def caught(handler: ast.ExceptHandler) -> list[str]:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return ["" if kind is None else ast.unparse(kind) for kind in kinds]


def test_no_handler_swallows_a_cancellation() -> None:
    """`except:`, BaseException and Cancelled may clean up, and raise again: trio cancels by an exception, and so does the
    operating system's interrupt.
    """
    found = [
        f"{module.at(node)}: except {kind or '(bare)'}"
        for module in SOURCES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and swallows(module, node)
        for kind in caught(node)
        if kind
        in ("", "BaseException", "BaseExceptionGroup", "trio.Cancelled", "KeyboardInterrupt")
    ]

    reported(found, "catch what you expect, or end the handler with `raise`")


SET_METHODS = ("union", "intersection", "difference", "symmetric_difference")


def is_set(node: ast.expr) -> bool:
    """Whether the expression is plainly a set: a literal, a comprehension, a call that makes one, set arithmetic on one."""
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in SET_METHODS:
            return is_set(value)
        case ast.BinOp(
            left=left, right=right, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()
        ):
            return is_set(left) or is_set(right)
    return False


ORDERED_BY = ("list", "tuple", "iter", "enumerate", "next", "dict.fromkeys", "deque", "zip", "map")


def iterations(tree: ast.AST) -> Iterator[ast.expr]:
    """What the source iterates over in an order that matters: loops, list comprehensions, `list(...)`, joins, stars.

    A dict comprehension over a set is let pass: `{worth: f(worth) for worth in set(column)}` is a table to look up in.
    """
    for node in ast.walk(tree):
        match node:
            case ast.For(iter=over) | ast.AsyncFor(iter=over):
                yield over
            case ast.ListComp() | ast.GeneratorExp():
                yield from (each.iter for each in node.generators)
            case ast.Call(func=function, args=args) if ast.unparse(
                function
            ) in ORDERED_BY or ast.unparse(function).endswith(".join"):
                yield from args
            case ast.Starred(value=value):
                yield value


def test_nothing_iterates_over_a_set() -> None:
    """The order of a set of strings changes with PYTHONHASHSEED, and with it the run."""
    found = [
        f"{module.at(over)}: {ast.unparse(over)[:60]}"
        for module in SOURCES
        for over in iterations(module.tree)
        if is_set(over)
    ]

    reported(found, "iterate over `sorted(...)`, or keep a dict: dict.fromkeys(...) has an order")


def local_sets(function: Function) -> dict[str, None]:
    """The names that a function binds to nothing but sets."""
    bound: dict[str, bool] = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                bound[name] = bound.get(name, True) and is_set(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                bound[name] = bound.get(name, True) and is_set(value)
    return dict.fromkeys(name for name, only_sets in bound.items() if only_sets)


def test_nothing_iterates_over_a_local_set() -> None:
    """As above, for a set that has a name first."""
    found: list[str] = []
    for module in SOURCES:
        for function in functions(module):
            names = local_sets(function)
            found.extend(
                f"{module.at(over)}: {over.id} in {function.name}"
                for over in iterations(function)
                if isinstance(over, ast.Name) and over.id in names
            )

    reported(found, "iterate over `sorted(...)`, or keep a dict: dict.fromkeys(...) has an order")


LEAKS = {
    "id": "identity is an address: give the object a number of its own",
    "hash": "hash() of a string changes with PYTHONHASHSEED: use hashlib.blake2b",
}

IDENTITY_TABLES = (
    "engine/api/admission.py",
    "engine/api/memo.py",
    "engine/objects/codec.py",
    "reconcilers/deployment_revision.py",
)
"""Tables of what shared objects were turned into, by identity: they keep the object alive, and are only looked up in."""


def test_no_builtin_that_differs_between_runs() -> None:
    """`id()` and `hash()` give other numbers in another process; ruff cannot ban a builtin."""
    found = [
        f"{module.at(node)}: {node.func.id}(): {LEAKS[node.func.id]}"
        for module in SOURCES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in LEAKS
        and not (node.func.id == "id" and module.name in IDENTITY_TABLES)
    ]

    reported(found, "see each line; a table by identity is named in IDENTITY_TABLES, here")


UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")


def test_nothing_is_left_for_later() -> None:
    """No TODO, FIXME or NotImplementedError: what is not built is not promised in the source."""
    found = [
        f"{module.name}:{number}: {line.strip()[:80]}"
        for module in SOURCES
        for number, line in enumerate(module.text.splitlines(), 1)
        if UNFINISHED.search(line)
    ]

    reported(
        found, "build it, leave it out, or file an issue; an abstract method belongs in a Protocol"
    )


def test_exceptions_to_linters_say_why() -> None:
    """Every `noqa` and `type: ignore` in the packages names its rule and gives its reason."""
    comment = re.compile(
        r"#\s*(noqa(?!:)|noqa: [A-Z0-9, ]+$|type: ignore(?!\[)|type: ignore\[[\w, -]+\]$)"
    )
    found = [
        f"{module.name}:{number}: {line.strip()[-60:]}"
        for module in SOURCES
        for number, line in enumerate(module.text.splitlines(), 1)
        if comment.search(line)
    ]

    reported(found, "write `# noqa: RULE - why` or `# type: ignore[rule]  # why`")


def test_every_module_says_what_it_is() -> None:
    """Each module of the packages opens with a docstring."""
    found = [module.name for module in SOURCES if not ast.get_docstring(module.tree)]

    reported(found, "open it with what it does and how, before the imports")


def claims_in(module: Module) -> Iterator[Function]:
    for node in module.tree.body:
        body = (
            node.body if isinstance(node, ast.ClassDef) and node.name.startswith("Test") else [node]
        )
        for each in body:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith(
                "test"
            ):
                yield each


def states_a_claim(node: Function) -> bool:
    """A docstring, or a name that is a sentence of four words at least (style.md 38)."""
    return bool(ast.get_docstring(node)) or len(node.name.split("_")) > 4


def test_every_test_states_its_claim() -> None:
    """Each test says what it shows: in its docstring, where its name does not."""
    found = [
        f"{module.at(node)}: {node.name}"
        for module in TESTS
        for node in claims_in(module)
        if not states_a_claim(node)
    ]

    reported(found, 'give it a docstring: """What holds, in one sentence."""')


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("for x in {1, 2}: pass", True),
        ("[x for x in set(a) | b]", True),
        ("', '.join({n for n in names})", True),
        ("list(frozenset(a).union(b))", True),
        ("f(*{1, 2})", True),
        ("for x in sorted({1, 2}): pass", False),
        ("any(x in {1, 2} for x in y)", False),
        ("[x for x in {1: 2}]", False),
    ],
)
def test_the_rule_on_sets_sees_them(source: str, expected: bool) -> None:
    """The rules themselves are tested: a plain iteration over a set is found, a membership test is not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        tree = ast.parse(source)

    assert expected == any(is_set(over) for over in iterations(tree))

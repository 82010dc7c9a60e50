"""Facades: what a package offers is listed once, in order, and is there."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("store", "engine", "reconcilers", "sim_nodes", "wavetank")


def facades() -> Iterator[str]:
    """The packages whose `__init__` lists what it offers."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("__init__.py")):
            if "__all__" in path.read_text():
                yield ".".join(path.parent.relative_to(ROOT).parts)


FACADES = list(facades())
OFFERING = [name for name in FACADES if name in PACKAGES or name.startswith("engine.")]
"""Those that other code imports from; the rest are programs with an entry point."""

MODULES = ("nodes", "pods")
"""Modules of helpers that the engine offers under their names: `pods.is_ready(pod)`."""


def in_order(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions, each by name: as ruff sorts `__all__` (RUF022)."""
    letters = name.replace("_", "")
    kind = 0 if letters.isupper() and len(letters) > 1 else 1 if letters[:1].isupper() else 2
    return kind, name


def bound_names(facade: str, package: str = "") -> list[str]:
    """The public names that the facade imports, from `package` if that is given, or makes itself, each as often as it does."""
    source = ROOT.joinpath(*facade.split("."), "__init__.py")
    names: list[str] = []
    for node in ast.parse(source.read_text()).body:
        match node:
            case ast.ImportFrom(module=str(module), names=aliases) if module.startswith(package):
                names.extend(alias.asname or alias.name for alias in aliases)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.append(name)
            case ast.ClassDef(name=name):
                names.append(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.append(name)
    return [name for name in names if not name.startswith("_")]


def test_the_five_packages_have_a_facade() -> None:
    """Other packages import by facade only, so each package must have one."""
    assert [*PACKAGES] == [name for name in PACKAGES if name in FACADES]


@pytest.mark.parametrize("facade", FACADES)
def test_all_is_sorted(facade: str) -> None:
    """A reader finds a name where the alphabet puts it, and a merge puts two new names in two places."""
    listed = list(importlib.import_module(facade).__all__)

    assert sorted(listed, key=in_order) == listed


@pytest.mark.parametrize("facade", OFFERING)
def test_each_public_name_is_exported_once(facade: str) -> None:
    """What the facade imports is what it lists: nothing twice, nothing unlisted, nothing listed that it does not import."""
    module = importlib.import_module(facade)
    listed = list(module.__all__)
    lazy = sorted(name for name in listed if name not in bound_names(facade))

    assert len(listed) == len(dict.fromkeys(listed)), "a name is listed twice"
    bound = bound_names(facade, package=facade.partition(".")[0])
    assert len(bound) == len(dict.fromkeys(bound)), "a name is imported twice"
    assert [] == [name for name in bound if name not in listed], "imported and not in __all__"
    # A facade may fetch a costly name when it is asked for; it must then say how.
    assert not lazy or hasattr(module, "__getattr__"), f"listed and not imported: {lazy}"


@pytest.mark.parametrize("facade", FACADES)
def test_each_name_is_there(facade: str) -> None:
    """Every listed name can be imported, and is no module that came along by its name."""
    module = importlib.import_module(facade)

    for name in module.__all__:
        value = getattr(module, name)
        assert name in MODULES or not isinstance(value, ModuleType), f"{facade}.{name} is a module"


@pytest.mark.parametrize("facade", [name for name in FACADES if name.startswith("engine.")])
def test_the_engine_and_its_floors_mean_the_same_by_a_name(facade: str) -> None:
    """A name that a floor and the engine both offer is one object: two things of one name would be told apart by luck."""
    engine, floor = importlib.import_module("engine"), importlib.import_module(facade)
    shared = [name for name in floor.__all__ if name in engine.__all__]

    for name in shared:
        assert getattr(engine, name) is getattr(floor, name), name

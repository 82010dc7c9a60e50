"""The user's own Python in an experiment: functions, kinds and reconcilers, named MODULE:ATTRIBUTE.

A module beside the experiment is read as a text and becomes part of the experiment, so that a log can be replayed without it; any other is
imported. It is executed once for all that names it.
"""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType

import attrs

from wavetank.errors import BadInput
from wavetank.experiment.model import Files
from wavetank.experiment.reader import Reader

_PREFIX = "wavetank_experiment."
"""In front of the names of such modules in sys.modules, where libraries look up what annotations mean."""


def file_of(target: str) -> str:
    """The file in which MODULE:ATTRIBUTE is looked for first."""
    return f"{target.partition(':')[0].replace('.', '/')}.py"


def read_code(reader: Reader, target: str) -> None:
    """Make the module part of the experiment, if it lies beside it. Raises BadInput when it is no Python."""
    name = file_of(target)
    if name in reader.texts or (reader.folder and (Path(reader.folder) / name).exists()):
        try:
            ast.parse(reader.read(name), reader.shown(name))
        except SyntaxError as error:
            shown = reader.shown(name)
            raise BadInput(f"{shown}:{error.lineno or 0}: invalid Python: {error.msg}") from None


@attrs.define(eq=False)
class Code:
    """The modules of one experiment."""

    files: Files
    _modules: dict[str, ModuleType] = attrs.field(factory=dict, init=False)

    def get(self, target: str, where: str, what: str) -> object:
        """What MODULE:ATTRIBUTE names. Raises BadInput, with `where` in front."""
        name, _, attribute = target.partition(":")
        module = self._modules.get(name) or self._load(name, where)
        self._modules[name] = module
        found = getattr(module, attribute, None)
        if found is None:
            raise BadInput(f"{where}: {module.__file__ or name} has no {what} {attribute}")
        return found

    def _load(self, name: str, where: str) -> ModuleType:
        file = file_of(name)
        source = self.files.texts.get(file)
        if source is None:
            try:
                return importlib.import_module(name)
            except ImportError as error:
                what = f"{self.files.shown(file)} does not exist and {name} cannot be imported"
                raise BadInput(f"{where}: {what}: {error}") from None
        module = ModuleType(_PREFIX + name)
        module.__file__ = self.files.shown(file)
        sys.modules[module.__name__] = module
        try:
            exec(compile(source, module.__file__, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the user's own file
        except Exception as error:  # noqa: BLE001 - it may raise anything
            what = f"{module.__file__} cannot be loaded: {type(error).__name__}: {error}"
            raise BadInput(f"{where}: {what}") from None
        return module

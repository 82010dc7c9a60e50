"""Mutants: one function of ours with one small change, for as long as a block runs.

A mutant says which function, which text of it, and what stands there instead. The function is compiled anew with the change and its code is swapped
for the changed one, so that everybody who holds the function runs the mutant, whatever name it was imported by. A text that
is not there, or there twice, is an error: mutants do not outlive the code they were written for.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType

import attrs


class MutationError(Exception):
    """The mutant does not fit the code any more."""


@attrs.frozen
class Mutant:
    """`old` in the text of `function` becomes `new`; `about` says in a line what is wrong then, `like` which published bug it is after."""

    name: str
    function: object
    old: str
    new: str
    about: str
    like: str = ""

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug, until the block ends. Raises MutationError."""
        function = self._function()
        sound = function.__code__
        function.__code__ = self._code(function)
        try:
            yield
        finally:
            function.__code__ = sound

    def _function(self) -> FunctionType:
        found = self.function.fget if isinstance(self.function, property) else self.function
        found = inspect.unwrap(found) if callable(found) else found
        if not isinstance(found, FunctionType):
            raise MutationError(f"{self.name}: {self.function!r} is no function of Python's")
        return found

    def _code(self, function: FunctionType) -> CodeType:
        text = textwrap.dedent(inspect.getsource(function))
        if text.count(self.old) != 1:
            raise MutationError(
                f"{self.name}: {self.old!r} is {text.count(self.old)} times in {function.__qualname__}"
            )
        name = function.__code__.co_filename
        module = compile(
            "from __future__ import annotations\n" + text.replace(self.old, self.new), name, "exec"
        )
        code = next(
            each
            for each in module.co_consts
            if isinstance(each, CodeType) and each.co_name == function.__code__.co_name
        )
        if code.co_freevars != function.__code__.co_freevars:
            raise MutationError(f"{self.name}: {function.__qualname__} closes over other names")
        return code

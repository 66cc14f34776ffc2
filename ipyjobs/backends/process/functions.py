"""Functions that come to a worker again and again, made anew each time without unpickling them."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

_MOST = 256
_LONGEST_BYTES = 1 << 16
_PLAIN = frozenset({type(None), int, float, str, bytes, bool})


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What a function that came by value is made of: nothing that one call could change for the next."""

    code: CodeType
    variables: dict[str, Any]
    modules: tuple[tuple[str, ModuleType], ...]
    name: str
    qualified_name: str
    defaults: tuple[Any, ...] | None
    keyword_defaults: dict[str, Any] | None
    annotations: dict[str, Any]

    @classmethod
    def of(cls, function: object) -> _Recipe | None:
        """How to make `function`; None if there is something about it that has an identity or can be changed."""
        if type(function) is not FunctionType or function.__closure__ is not None or function.__dict__:
            return None
        module = sys.modules.get(function.__module__)
        if module is not None and function.__globals__ is vars(module):
            return None  # it came by name, which is quick
        values = (
            *(function.__defaults__ or ()),
            *(function.__kwdefaults__ or {}).values(),
            *function.__annotations__.values(),
            *[value for name, value in function.__globals__.items() if name != "__builtins__"],
        )
        if not all(map(_lasts, values)):
            return None
        modules = [each for each in function.__globals__.values() if type(each) is ModuleType]
        return cls(
            function.__code__,
            function.__globals__.copy(),
            tuple((each.__name__, each) for each in modules),
            function.__name__,
            function.__qualname__,
            function.__defaults__,
            function.__kwdefaults__,
            function.__annotations__,
        )

    def make(self) -> FunctionType | None:
        """A new function with variables of its own; None if a module is no longer what it was."""
        for name, module in self.modules:
            if sys.modules.get(name) is not module:
                return None
        function = FunctionType(self.code, self.variables.copy(), self.name, self.defaults)
        function.__qualname__ = self.qualified_name
        if self.keyword_defaults:
            function.__kwdefaults__ = self.keyword_defaults.copy()
        if self.annotations:
            function.__annotations__ = self.annotations.copy()
        return function


class Functions:
    """Loads functions from their pickles."""

    def __init__(self) -> None:
        self._recipes: dict[bytes, _Recipe | None] = {}

    def load(self, data: bytes) -> Any:
        """The function, as unpickling would give it: no two calls share anything that can be changed."""
        recipe = self._recipes.get(data)
        if recipe is not None and (made := recipe.make()) is not None:
            return made
        function = pickle.loads(data)
        if len(data) <= _LONGEST_BYTES and (recipe is not None or data not in self._recipes):
            if len(self._recipes) >= _MOST:
                self._recipes.clear()
            # Before it is called for the first time: it may change its own variables.
            self._recipes[data] = _Recipe.of(function)
        return function


def _lasts(value: object) -> bool:
    """Whether unpickling gives the same object each time, or one that cannot be told from it."""
    kind = type(value)
    if kind in _PLAIN or kind is ModuleType:
        return True
    if kind is FunctionType or kind is BuiltinFunctionType or kind is type:
        found: Any = sys.modules.get(getattr(value, "__module__", None) or "")
        return getattr(found, getattr(value, "__qualname__", ""), None) is value
    return False

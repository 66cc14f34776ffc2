"""What a function takes and gives, as an object: funcdesc's where that is installed, else one that looks like it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Value:
    """One argument, or what is returned."""

    type: Any
    """Its annotation; None where there is none."""
    name: str | None = None
    default: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class Description:
    """A function's arguments, value, name and text."""

    inputs: list[Value] = field(default_factory=list[Value])
    outputs: list[Value] = field(default_factory=list[Value])
    name: str | None = None
    doc: str | None = None


def described_function(function: Callable[..., Any]) -> Any:
    """What ``funcdesc.parse_func`` says of `function`, or, where that is not installed, the same in short."""
    try:
        parse: Callable[..., Any] = importlib.import_module("funcdesc").parse_func
    except ImportError:
        return described_by_signature(function)
    try:
        return parse(function)
    except Exception:  # it knows nothing of partials, builtins and callable objects
        return described_by_signature(function)


def described_by_signature(function: Callable[..., Any]) -> Description:
    """What the signature says of `function`."""
    name, doc = getattr(function, "__name__", None), inspect.getdoc(function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return Description(name=name, doc=doc)

    def known(annotation: Any) -> Any:
        return None if annotation is inspect.Signature.empty else annotation

    inputs = [Value(known(each.annotation), each.name, each.default) for each in signature.parameters.values()]
    return Description(inputs, [Value(known(signature.return_annotation))], name, doc)

"""Imports point down: what is below knows nothing of what is above it."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ipyjobs"
# From top to bottom. A module may import those of its own row and of the rows below; a folder counts as one module.
ROWS = [
    {"cli", "notebook"},
    {"server", "widget"},
    {"feed"},
    {"tasks"},
    {"engine"},
    {"engines", "lending", "residence", "waitable"},
    {
        "adoption", "ahead", "archive", "asking", "backends", "blocking", "callbacks", "chronicle", "cycles", "edges",
        "flow", "hooks", "kinds", "parcel", "preparing", "recorder", "records", "registry", "restoration", "running",
        "stopping", "streams", "words",
    },
    {
        "columns", "daskjob", "future", "job", "jobs", "mainjob", "options", "particulars", "portable", "traits",
        "verbs", "waiting",
    },
    {
        "calling", "captures", "clocks", "cluster", "combinations", "conditions", "context", "crons", "description",
        "envelope", "events", "execution", "failure", "folders", "frozen", "generators", "home", "log", "loggers",
        "mailbox", "names", "output", "pickling", "ports", "preview", "progress", "remote", "retry", "revival",
        "scheduling", "settings", "sources", "storage", "stores", "times",
    },
    {"schema"},
    {"errors", "status", "version"},
]  # fmt: skip
# Imports within functions that point up all the same, and why.
UPWARD = {
    ("jobs", "archive"): "`Jobs(path)` is a name of executor-engine's",
    ("portable", "parcel"): "so are `Job.serialization` and `Job.deserialization`",
    ("engines", "engine"): "the default engine is made when it is first asked for",
    ("verbs", "kinds"): "the verbs make jobs of every kind, which are jobs themselves",
}
FRONT_ENDS = {"IPython", "anywidget", "fastapi", "ipykernel", "ipywidgets"}
NOT_NOUNS = {"base", "common", "core", "helpers", "manager", "utils"}
LONGEST = 500

FILES = sorted(PACKAGE.rglob("*.py"))  # the package's own only names what others hold, and may import all
ROW_OF = {name: number for number, row in enumerate(ROWS) for name in row}


@dataclass(frozen=True)
class Import:
    target: str  # dotted
    in_function: bool
    optional: bool  # a comment on its line says so


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path):
    part = _part(path)

    upward = [
        f"{part} imports {target}"
        for each in _imports(path)
        if (target := _own(each.target)) is not None and target != part
        if ROW_OF[target] < ROW_OF.get(part, 0) and not (each.in_function and (part, target) in UPWARD)
    ]

    assert not upward


def test_every_module_stands_in_a_row():
    parts = {_part(path) for path in FILES} - {"ipyjobs"}

    assert parts <= ROW_OF.keys()


def test_no_imports_run_in_a_circle():
    graph = {
        _module(path): {each.target for each in _imports(path) if not each.in_function and _own(each.target)}
        for path in FILES
    }

    order = list(graphlib.TopologicalSorter(graph).static_order())

    assert order


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_top_rows_import_a_front_end(path: Path):
    part = _part(path)
    allowed = {"cli", "notebook", "server", "widget"}

    foreign = [
        each.target
        for each in _imports(path)
        if each.target.split(".")[0] in FRONT_ENDS and not (each.in_function and each.optional)
    ]

    assert part in allowed or not foreign


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_is_a_noun_and_has_an_end(path: Path):
    lines = path.read_text(encoding="utf-8").count("\n")

    assert not NOT_NOUNS & {path.stem, *path.relative_to(PACKAGE).parts}
    assert lines <= LONGEST


def _imports(path: Path) -> Iterator[Import]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()

    def walk(node: ast.AST, in_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    yield from walk(other, in_function)
            elif isinstance(child, ast.Import | ast.ImportFrom):
                optional = "optional" in " ".join(lines[max(0, child.lineno - 2) : child.end_lineno])
                for target in _targets(child, path):
                    yield Import(target, in_function, optional)
            else:
                is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, in_function or is_function)

    yield from walk(ast.parse(text), in_function=False)


def _targets(node: ast.Import | ast.ImportFrom, path: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    package = _module(path).split(".") if path.stem == "__init__" else _module(path).split(".")[:-1]
    above = package[: len(package) - node.level + 1] if node.level else []
    module = ".".join([*above, *([node.module] if node.module else [])])
    modules = {_module(each) for each in FILES}
    for alias in node.names:
        yield f"{module}.{alias.name}" if f"{module}.{alias.name}" in modules else module


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _part(path: Path) -> str:
    """Name the row's entry that a file belongs to; `ipyjobs` for the package's own file."""
    names = _module(path).split(".")
    return names[1] if len(names) > 1 else names[0]


def _own(target: str) -> str | None:
    """Name the row's entry that an import is of; None for foreign modules and for the package itself."""
    names = target.split(".")
    return names[1] if names[0] == "ipyjobs" and len(names) > 1 and names[1] in ROW_OF else None

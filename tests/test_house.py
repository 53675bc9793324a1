"""The imports of the package run one way, down the list of CONTRIBUTING.md, "The house".

What a file imports is read from its syntax: at import time, where a type checker looks, and inside
of functions, where a circle would hide.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FRONT = "front"
"""Not in the list: `tensorgrad/__init__.py`, which names everything, and `python -m tensorgrad`."""
CELLAR = {"extras", "files", "random"}
"""Not in the list: what every room may say (an extra is missing), write, or ask for (numbers)."""
MOVED = {"coverage"}
"""Names that answer for one more version."""


class Import(NamedTuple):
    """One import of a module of the package."""

    source: str
    target: str
    when: str  # "loading", "typing" or "running": a function that may never be called

    def __str__(self) -> str:
        return f"{self.source} imports {self.target} ({self.when})"


@cache
def modules() -> dict[str, Path]:
    """The files of the package, by their dotted names."""
    found = {}
    for path in sorted(ROOT.glob("tensorgrad/**/*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports() -> list[Import]:
    return [
        Import(name, target, when)
        for name, path in modules().items()
        for when, target in imported(ast.parse(path.read_text(encoding="utf8")), "loading")
    ]


def imported(tree: ast.AST, when: str) -> Iterator[tuple[str, str]]:
    """When the code of `tree` imports which modules of the package."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ImportFrom(level=level) if level:
                raise ValueError("relative: the package imports by whole names, which this reads")
            case ast.Import(names):
                yield from ((when, a.name) for a in names if a.name in modules())
            case ast.ImportFrom(str(module), names) if module in modules():
                inner = [f"{module}.{a.name}" for a in names if a.name != "__version__"]
                yield from ((when, m if m in modules() else module) for m in inner)
            case ast.Call(ast.Attribute(_, "import_module"), [ast.Constant(str(module)), *_]) if (
                module.startswith("tensorgrad")
            ):
                yield when, module
            case ast.If(ast.Name("TYPE_CHECKING")):
                yield from imported(node, "typing")
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from imported(node, "running")
            case _:
                yield from imported(node, when)


@cache
def rooms() -> list[str]:
    """The rooms of the package as CONTRIBUTING.md lists them, the lowest first."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    house = text.partition("## The house")[2].partition("\n## ")[0]
    lines = [line.split() for line in house.splitlines() if line.startswith("    ")]
    return [line[0].rstrip("/").removesuffix(".py") for line in lines][::-1]


def room(module: str) -> str:
    _, *parts = module.split(".")
    return parts[0] if parts and parts[0] != "__main__" else FRONT


def floor(module: str) -> int:
    """How high its room is."""
    name = room(module)
    return len(rooms()) if name == FRONT else -1 if name in CELLAR else rooms().index(name)


def climbs(i: Import) -> bool:
    """Whether it points up the list."""
    return room(i.source) not in {FRONT, *MOVED} and floor(i.target) > floor(i.source)


def listed(found: list[Import]) -> str:
    return "\n" + "\n".join(map(str, found))


def test_every_room_is_in_the_list_and_every_name_in_the_list_is_a_room() -> None:
    assert {room(name) for name in modules()} == {*rooms(), FRONT, *CELLAR, *MOVED}


def test_no_import_of_a_module_comes_back_to_it() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for i in imports():
        if i.when == "loading" and i.source != i.target:
            graph[i.source].add(i.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" ← ".join(error.args[1]))


@pytest.mark.parametrize("when", ["loading", "typing"])
def test_a_room_imports_only_rooms_below_it(when: str) -> None:
    wrong = [i for i in imports() if i.when == when and climbs(i) and room(i.source) != "engine"]
    assert not wrong, listed(wrong)


def test_functions_import_only_rooms_below_theirs() -> None:
    wrong = [i for i in imports() if i.when == "running" and climbs(i)]
    assert not wrong, listed(wrong)


def test_the_engine_knows_no_operation() -> None:
    known = {"engine", *CELLAR}
    wrong = [i for i in imports() if room(i.source) == "engine" and room(i.target) not in known]
    assert not wrong, listed(wrong)


def fresh(code: str) -> list[str]:
    """The words that a new interpreter prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()


def test_importing_the_package_loads_the_engine_and_little_else() -> None:
    code = "import sys, tensorgrad; print(*{name.partition('.')[0] for name in sys.modules})"
    assert not {"hypothesis", "matplotlib", "optree", "scipy", "typer"} & {*fresh(code)}
    code = "import sys, tensorgrad; print(*(name for name in sys.modules))"
    loaded = {room(name) for name in fresh(code) if name in modules()}
    assert loaded <= {FRONT, *CELLAR, "engine", "ops", "value", "views"}


def test_the_compiler_loads_neither_data_sets_nor_models_nor_the_report() -> None:
    code = "import sys, tensorgrad; tensorgrad.compile; print(*(name for name in sys.modules))"
    loaded = {name for name in fresh(code) if name in modules()}
    assert "tensorgrad.compiler.compiled" in loaded
    assert not {"data", "io", "train", "viz"} & {*map(room, loaded)}
    assert not {"tensorgrad.compiler.report", "tensorgrad.compiler.llvm"} & loaded


@pytest.mark.parametrize("module", ["tensorgrad", "tensorgrad.viz", "tensorgrad.testing"])
def test_every_public_name_is_there(module: str) -> None:
    names = "(n for n in m.__all__ if n != 'scipy')"  # that is not installed everywhere
    assert fresh(f"import {module} as m; print(*(n for n in {names} if not getattr(m, n)))") == []


def test_a_public_name_is_that_of_what_it_names() -> None:
    """No other module that `__getattr__` asks before has the name for something else."""
    own = "getattr(m, n).__name__.rpartition('.')[2]"
    names = f"(n for n in m.__all__ if n != 'scipy' and {own} != n)"
    assert fresh(f"import tensorgrad as m; print(*{names})") == []


@pytest.mark.parametrize("name", ["graph", "explain", "report", "stepper"])
def test_a_function_of_viz_is_not_hidden_by_the_folder_of_its_name(name: str) -> None:
    code = f"from tensorgrad.viz.{name}.{name} import {name}; import tensorgrad as tg; "
    assert fresh(code + f"print(tg.viz.{name} is {name})") == ["True"]


def test_files_are_written_by_one_function() -> None:
    """`files.write` does it, whole or not at all; the tables of docs/ and downloads apart."""
    writes = re.compile(r"""write_(text|bytes)\(|open\([^)]*, ["'][wax]|savefig\((?!content)""")
    package = ROOT / "tensorgrad"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(writes.search(line) for line in path.read_text("utf-8").splitlines())
    }
    doctests = {"data/idx.py", "data/folder.py"}
    assert found == {"files.py", "ops/coverage.py", "data/store.py"} | doctests

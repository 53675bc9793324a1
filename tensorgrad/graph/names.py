"""What to call the nodes of a graph: as their user does, else v1, v2, ... in the order made."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tensorgrad.engine.node import Node
from tensorgrad.formula.text import shown
from tensorgrad.value import Value


@runtime_checkable
class ModuleLike(Protocol):
    """What this room knows of an nn.Module: what it holds, by attribute paths."""

    def named_parameters(self) -> Iterable[tuple[str, Any]]: ...

    def named_buffers(self) -> Iterable[tuple[str, Any]]: ...

    def named_modules(self, prefix: str = "") -> Iterable[tuple[str, Any]]: ...


Names = Mapping[str, Any] | ModuleLike | None
Called = dict[Node | int, str]
LONG, DEEP = 1000, 4  # containers that are looked into for names: entries, and levels
DIRECTION = 0  # the key of what the direction is called along which arrays move; no array's id


def names_of(nodes: Iterable[Node], given: Iterable[tuple[str, Any]] = ()) -> Called:
    """A name for each node, no two alike: by `given`, by the node itself, or a number.

    Arrays that are `given` are known by their id.
    """
    nodes = list(nodes)
    found: dict[Node, str] = {}
    result: Called = {}
    taken: set[str] = set()
    for name, x in given:
        if isinstance(x, Value):
            found.setdefault(x.node, name)
        if isinstance(x, np.ndarray) or (isinstance(x, Value) and not x.requires_grad):
            data = x.data if isinstance(x, Value) else x
            result[id(data)] = unique(name, taken)
    for node in nodes:
        if called := found.get(node) or node.name:
            result[node] = unique(str(called), taken)
    free = (f"v{i}" for i in itertools.count(1))
    for node in nodes:
        if node not in result:
            result[node] = next(name for name in free if name not in taken)
    return result


def name_the_rest(nodes: Iterable[Node], names: Called) -> None:
    """Names for the arrays that are constants of `nodes` and too large to stand in a formula: their
    own, or c1, c2, ... in the order met; and for the direction of forward mode, u.
    """
    taken = set(names.values())
    free = (f"c{i}" for i in itertools.count(1))
    names[DIRECTION] = unique("u", taken)
    for node in nodes:
        for n, x in zip(node.operands, node.inputs):
            own = n.name if n else None
            written = np.ndim(x) < 2 and (not np.ndim(x) or shown(x))
            if n in names or id(x) in names or (own is None and written):
                continue
            names[id(x)] = unique(own or next(c for c in free if c not in taken), taken)


def in_one_line(name: str | None) -> str:
    """A name without control characters, so that it stays where it is written."""
    return "".join(c if c.isprintable() else " " for c in name or "")


def unique(name: str, taken: set[str]) -> str:
    """`name` in one line, with a number behind it if that is taken; it is taken from now on."""
    name = in_one_line(name)
    i, base = 2, name
    while name in taken:
        name, i = f"{base}_{i}", i + 1
    taken.add(name)
    return name


def named(given: Names) -> Iterator[tuple[str, Any]]:
    """What is in `names=`, also in its lists and dicts; without what IPython keeps of its cells."""
    if isinstance(given, ModuleLike):
        yield "", given
    elif isinstance(given, Mapping):
        for name, x in given.items():
            kept = re.fullmatch(r"_+\d*|_[oid]h", str(name))
            if not (kept or (name in ("In", "Out") and isinstance(x, (list, dict)))):
                yield from inside(str(name), x)
    elif given is not None:
        raise TypeError(f"names= takes a mapping of names to Values, or a Module: {given!r:.60}")


def inside(name: str, x: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """`x`, or what a container holds, by paths as Modules have them; large ones hold data."""
    if not isinstance(x, (list, tuple, dict)):
        yield name, x
    elif len(x) <= LONG and depth < DEEP:  # a list may hold itself
        for key, part in x.items() if isinstance(x, dict) else enumerate(x):
            yield from inside(f"{name}.{key}", part, depth + 1)


def pairs(given: Names) -> Iterator[tuple[str, Any]]:
    """Names and what they name: Values, arrays, and what Modules hold of them, by their paths."""
    for name, x in named(given):
        if isinstance(x, ModuleLike):
            prefix = f"{name}." if name else ""
            parts = (*x.named_parameters(), *x.named_buffers())
            yield from ((prefix + path, part) for path, part in parts)
        else:
            yield name, x


def parameters_in(given: Names) -> set[Node]:
    """The parameters of the Modules among `given`."""
    modules = [x for _, x in named(given) if isinstance(x, ModuleLike)]
    return {p.node for module in modules for _, p in module.named_parameters()}

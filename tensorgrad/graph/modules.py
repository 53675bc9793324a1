"""Which Module a node was made in: a Module remembers its calls, by the serials of their nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tensorgrad.engine.node import Node
from tensorgrad.graph.names import ModuleLike
from tensorgrad.value import Value

Path = tuple[str, ...]


def path_of(name: str) -> Path:
    """The parts of an attribute path: `blocks.0.attention` has two, for a number is no name."""
    return tuple(re.findall(r"[^.]+(?:\.\d+)*", name))


def modules_of(order: Iterable[Node], modules: Mapping[str, Any]) -> dict[Node, Path]:
    """The path of the innermost Module that each node was made in; a parameter is in its Module.

    `modules`: by their attribute paths. Of a Module that was called often, the last calls count.
    """
    spans = sorted(
        (start, -end, path_of(name)) for name, m in modules.items() for start, end in m._calls
    )
    paths = {
        x.node: path_of(name)
        for name, module in modules.items()
        for x in vars(module).values()
        if isinstance(x, Value)
    }
    inside: list[tuple[int, Path]] = []  # the calls that a serial is within, the innermost last
    i = 0
    for node in sorted(order, key=lambda node: node.serial):
        while i < len(spans) and spans[i][0] < node.serial:
            start, end, path = spans[i]
            while inside and inside[-1][0] < start:
                inside.pop()
            inside.append((-end, path))
            i += 1
        while inside and inside[-1][0] < node.serial:
            inside.pop()
        if node.op is not None:
            paths[node] = inside[-1][1] if inside else ()
        else:
            paths.setdefault(node, ())
    return paths


def modules_in(names: Any) -> dict[str, Any]:
    """The Modules among `names`, and theirs, by their paths."""
    given = {"": names} if isinstance(names, ModuleLike) else names or {}
    return {
        path: module
        for name, x in given.items()
        if isinstance(x, ModuleLike)
        for path, module in x.named_modules(name)
    }

"""Which Module a node was made in: the scope on the node says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tensorgrad.engine.node import Node
from tensorgrad.graph.names import ModuleLike, Names, named, unique

Path = tuple[str, ...]


def path_of(name: str) -> Path:
    """The parts of an attribute path: `blocks.0.attention` has two, for a number is no name."""
    return tuple(re.findall(r"[^.]+(?:\.\d+)*", name))


def modules_of(order: Iterable[Node], modules: Mapping[str, Any]) -> dict[Node, Path]:
    """The path of the innermost Module that each node was made in; a parameter is in its Module.

    `modules`: by their attribute paths.
    """
    known = {id(module): path_of(name) for name, module in modules.items()}
    homes: dict[Node, Path] = {}
    for name, module in modules.items():  # the innermost comes last
        homes |= {p.node: path_of(name) for p in module.parameters()}
    paths: dict[Node, Path] = {}
    for node in order:
        scope = node.scope
        while scope is not None and id(scope.module) not in known:
            scope = scope.parent
        paths[node] = known[id(scope.module)] if scope else homes.get(node, ())
    return paths


def modules_in(names: Any) -> dict[str, Any]:
    """The Modules among `names`, and theirs, by their paths."""
    return {
        path: module
        for name, x in named(names)
        if isinstance(x, ModuleLike)
        for path, module in x.named_modules(name)
    }


def outermost(order: Iterable[Node]) -> Names:
    """The Module whose call made these nodes; of several each by the name of its class."""
    found: dict[int, Any] = {}
    for node in order:
        scope = node.scope
        while scope is not None and scope.parent is not None:
            scope = scope.parent
        if scope is not None and scope.module is not None:
            found[id(scope.module)] = scope.module
    modules, taken = list(found.values()), set[str]()
    if len(modules) == 1:
        return {"": modules[0]}
    return {unique(type(module).__name__, taken): module for module in modules}

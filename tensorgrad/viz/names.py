"""What to call the nodes of a graph: as their user does, else v1, v2, ... in the order made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tensorgrad.node import Array, Node
from tensorgrad.value import Value

Names = Mapping[str, Any] | Any
DIGITS = 4
SMALL = 4  # entries of an array that are all shown


def names_of(nodes: Iterable[Node], given: Names = None) -> dict[Node, str]:
    """A name for each node, no two alike: by `given`, by the node itself, or a number.

    `given`: a mapping of names to Values, such as `locals()`, or a Module for its parameters.
    """
    nodes = list(nodes)
    found: dict[Node, str] = {}
    for name, value in pairs(given):
        if isinstance(value, Value):
            found.setdefault(value.node, str(name))
    result: dict[Node, str] = {}
    taken: set[str] = set()
    for node in nodes:
        if called := found.get(node) or node.name:
            result[node] = unique(str(called), taken)
    letter, number = ("v", 0)
    for node in nodes:
        if node not in result:
            number += 1
            while f"{letter}{number}" in taken:
                number += 1
            result[node] = unique(f"{letter}{number}", taken)
    return result


def unique(name: str, taken: set[str]) -> str:
    """`name`, with a number behind it if that is taken; it is taken from now on."""
    i, base = 2, name
    while name in taken:
        name, i = f"{base}_{i}", i + 1
    taken.add(name)
    return name


def pairs(given: Names) -> Iterable[tuple[str, Any]]:
    """Names and what they name."""
    if given is None:
        return ()
    if hasattr(given, "named_parameters"):
        return list(given.named_parameters())
    if isinstance(given, Mapping):
        return list(given.items())
    raise TypeError(f"names= takes a mapping of names to Values, or a Module, not {given!r:.60}")


def brief(x: Array) -> str:
    """A number to four digits, a small array as a list, the shape of a large one."""
    x = np.asarray(x)
    if not x.ndim:
        return number(x[()])
    if x.ndim == 1 and x.size <= SMALL:
        return f"[{', '.join(map(number, x))}]"
    return f"{x.dtype}[{', '.join(map(str, x.shape))}]"


def number(x: Any) -> str:
    """A number to four significant digits."""
    if isinstance(x, (complex, np.complexfloating)):
        return f"({number(x.real)}{'' if str(x.imag).startswith('-') else '+'}{number(x.imag)}j)"
    if isinstance(x, (bool, np.bool, int, np.integer)):
        return str(x)
    text = f"{float(x):.{DIGITS}g}"
    return "0" if text == "-0" else text

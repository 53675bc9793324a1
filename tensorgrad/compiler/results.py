"""What a compiled function returns: arrays out of the containers in which it returned tracers."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import numpy as np

from tensorgrad.compiler.capture import SEVERED
from tensorgrad.compiler.tracer import Tracer
from tensorgrad.engine.node import NO_PARAMS, Node, leaf, record
from tensorgrad.transforms.tree import loaded
from tensorgrad.value import Value

PLAIN = (type(None), bool, int, float, complex, str, bytes, type, Enum, np.dtype)
"""What a function may return besides arrays and what it was given."""


def result_of(result: Any, known: set[int]) -> tuple[list[Any], Callable[..., Any]]:
    """The arrays of what a function returned, and what makes it of others, and of the nodes that
    it came from. `known`: the ids of what the function found there."""
    leaves, structure = loaded().tree_flatten(result, none_is_leaf=True)
    numbers: list[Any] = []
    plan: list[tuple[Any, Any]] = []
    for x in leaves:
        data = x.data if isinstance(x, Value) else x
        if isinstance(data, (Tracer, np.ndarray, np.generic)):
            numbers.append(data.instruction if isinstance(data, Tracer) else data)
            graph = isinstance(x, Value) and x.requires_grad and x.node.op is not None
            kind = cut if graph else whole if isinstance(x, Value) else bare
            plan.append((kind, len(numbers) - 1))
        elif isinstance(x, str) and "Tracer(shape=" in x:
            raise TypeError(
                "a compiled function returns a text of numbers that it has not yet: return the "
                "arrays, and write the text outside"
            )
        elif isinstance(x, PLAIN) or id(x) in known or isinstance(x, types.FunctionType):
            plan.append((None, x))
        else:
            raise TypeError(
                f"a compiled function returns arrays, Values, numbers and containers of these, not "
                f"{type(x).__name__}"
            )

    def make(found: Sequence[Any], nodes: tuple[Node, ...]) -> Any:
        made = [x if kind is None else kind(found, nodes, x) for kind, x in plan]
        return structure.unflatten(made)

    if numbers and leaves[0] is result:  # no container, the usual case
        ((kind, _),) = plan
        return numbers, kind
    return numbers, make


def bare(found: Sequence[Any], nodes: tuple[Node, ...], k: int = 0) -> Any:
    return found[k]


def whole(found: Sequence[Any], nodes: tuple[Node, ...], k: int = 0) -> Value:
    return Value.of(leaf(number_of(found[k])))


def cut(found: Sequence[Any], nodes: tuple[Node, ...], k: int = 0) -> Value:
    """A Value that says, to who differentiates by one of the nodes, that its graph is gone."""
    none = (None,) * len(nodes)
    return Value.of(record(SEVERED, nodes, none, NO_PARAMS, number_of(found[k])))


def number_of(x: Any) -> Any:
    """What a Value holds of an array: without axes a number."""
    return x[()] if type(x) is np.ndarray and not x.ndim else x


def results_of(step: Any) -> int:
    """Bytes of large results that a step keeps, to write over them once nobody has them."""
    lists = (cell.cell_contents for cell in step.__closure__ or ())
    arrays = (x for xs in lists if type(xs) is list for x in xs)
    return sum(x.nbytes for x in arrays if isinstance(x, np.ndarray))

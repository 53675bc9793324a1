"""How the arguments of a compiled function were given, and what of each a program depends on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.compiler.capture import has_graph, numpys
from tensorgrad.compiler.tracer import SPARSE, gaps_in, order_of
from tensorgrad.engine.dtypes import is_numeric
from tensorgrad.engine.sparse import is_sparse
from tensorgrad.transforms.tree import is_module, loaded
from tensorgrad.value import Value


class Plan(NamedTuple):
    """How the arguments were given: their containers, what kind each leaf is, Modules, functions
    and the like among them, and the static ones."""

    structure: Any
    kinds: Sequence[str]
    roots: Sequence[Any]
    settled: Sequence[Any]
    static: Sequence[Any]  # where these were: positions and names

    def plain(self) -> bool:
        """Whether arrays are given by position, and nothing else."""
        alone = [(0, i) for i in range(len(self.kinds))]
        arrays = all(kind == "array" for kind in self.kinds)
        return arrays and not self.static and self.structure.paths() == alone

    def call(self, f: Callable[..., Any], given: Sequence[Any]) -> Any:
        args, kwargs = self.structure.unflatten(given)
        for i, x in zip(self.static, self.settled):
            (kwargs if isinstance(i, str) else args)[i] = x
        return f(*args, **kwargs)


def parameters_of(f: Callable[..., Any]) -> list[inspect.Parameter]:
    whole = not isinstance(f, partial)  # whose `__wrapped__` has its bound arguments, too
    try:
        return [*inspect.signature(f, follow_wrapped=whole).parameters.values()]
    except (TypeError, ValueError):
        return []


def names_of(f: Callable[..., Any], plan: Plan) -> list[str]:
    """What the leaves of the arguments are called: parameters, and their items."""
    parameters, named = parameters_of(f), []
    for entry in plan.structure.paths():
        whose, key, *rest = entry
        name = str(key)
        if not whose:
            several = (
                key >= len(parameters) or parameters[key].kind is inspect.Parameter.VAR_POSITIONAL
            )
            name = f"x{key}" if several else parameters[key].name
        named.append("_".join(map(str, (name, *rest))))
    return named


def flattened(
    args: Sequence[Any], kwargs: dict[str, Any], static: Sequence[int | str], exact: bool
) -> tuple[list[Any], Plan, Any]:
    """What a program computes with, how it was given, and what of that a program depends on.

    `static`: positions and names of settings. TypeError for what no program can take, and where
    such a setting cannot be hashed.
    """
    static = [i for i in static if (i in kwargs if isinstance(i, str) else i < len(args))]
    settled = [kwargs[i] if isinstance(i, str) else args[i] for i in static]
    dynamic = [None if i in static else x for i, x in enumerate(args)]
    tree = dynamic, {name: None if name in static else x for name, x in kwargs.items()}
    leaves, structure = loaded().tree_flatten(tree, none_is_leaf=True)
    kinds, roots = [], []
    marks: list[Any] = [structure, *orders_in(tree)]
    for x in leaves:
        kind, mark = described(x, exact)
        kinds.append(kind)
        marks.append(mark)
        if kind in ("root", "setting"):
            roots.append(x)
        elif kind == "value":  # the same one twice is another matter than two
            marks.append(next(i for i, y in enumerate(leaves) if y is x))
    key = *marks, *map(typed, settled)
    try:
        hash(key)
    except TypeError:
        raise TypeError(
            f"a setting of a compiled function must be hashable, such as a tuple: {settled!r:.80}"
        ) from None
    return leaves, Plan(structure, kinds, roots, settled, static), key


def orders_in(tree: Any) -> Iterator[Any]:
    """The orders of dicts, which a structure does not tell."""
    if isinstance(tree, dict):
        yield tuple(tree)
    if isinstance(tree, (dict, list, tuple)):
        for x in tree.values() if isinstance(tree, dict) else tree:
            yield from orders_in(x)


def typed(x: Any) -> tuple[type, Any]:
    """What tells settings apart: 1 is not True."""
    return type(x), tuple(map(typed, x)) if type(x) is tuple else x


def described(x: Any, exact: bool) -> tuple[str, Any]:
    """What kind of argument it is, and what of it a program depends on: an `exact` one on the order
    of its axes in memory, in which a sum adds."""
    if type(x) in (np.ndarray, np.memmap) or isinstance(x, np.generic):
        if not is_numeric(x.dtype):
            of = "Python objects" if x.dtype.hasobject else f"dtype {x.dtype}"
            raise TypeError(f"a compiled function takes arrays of numbers, not of {of}")
        return "array", (x.shape, x.dtype, exact and (order_of(x), gaps_in(x)))
    if isinstance(x, Value):
        if has_graph(x):
            raise ValueError(
                "a compiled function does not go on with a graph: detach() the argument"
            )
        data, grad = x.node.data, x.node.grad
        numpys(x, "an argument")
        order = exact and order_of(data)
        return "value", (np.shape(data), data.dtype, order, x.requires_grad, grad is None)
    if type(x) in (int, float, complex):
        return "array", type(x)
    if isinstance(x, np.random.Generator):
        return "generator", None
    if is_module(x):  # which may be called
        return "root", id(x)
    if x is None or isinstance(x, (bool, str, bytes, type, Enum)) or callable(x):
        return "setting", typed(x)
    numpys(x, "an argument")
    if is_sparse(x):
        raise TypeError(SPARSE)
    if hasattr(x, "__array__") or not hasattr(x, "__dict__"):
        raise TypeError(
            f"a compiled function takes arrays, numbers, Values, Modules and settings, not "
            f"{type(x).__name__}: make it an array, or name it in static_argnums"
        )
    return "root", id(x)

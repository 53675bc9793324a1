"""Containers of arrays, taken apart into leaves and put together again.

Tuples, lists, dicts, namedtuples and the like are optree's; dataclasses and Modules are made known
to it when they are first met. Whatever else there is, is a leaf. A lone array needs no optree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import is_array, is_numpy
from tensorgrad.engine.levels import alias
from tensorgrad.engine.node import Handle, hold, leaf
from tensorgrad.value import as_constant

NAMESPACE = "tensorgrad"
LONE = (Handle, np.ndarray, np.generic, int, float, complex)  # leaves that need no optree
Rebuild = Callable[[Iterable[Any]], Any]


def loaded() -> Any:
    """optree, which takes 20 ms that a program without containers is spared."""
    try:
        import optree
    except ImportError as error:
        raise ImportError("containers of arrays need optree: pip install optree") from error
    return optree


def flatten(tree: Any) -> tuple[list[Any], Rebuild]:
    """The leaves of a container, and the function that makes it again from as many leaves.

    >>> leaves, rebuild = flatten({"w": 1.0, "b": (2.0, 3.0)})
    >>> rebuild(10 * x for x in leaves)
    {'w': 10.0, 'b': (20.0, 30.0)}
    """
    if isinstance(tree, LONE):
        return [tree], lambda leaves: next(iter(leaves))
    if is_module(tree):
        parameters = tree.parameters()
        return parameters, lambda leaves: tree.with_parameters(
            map(as_parameter, leaves), parameters
        )
    optree = loaded()
    while True:
        leaves, structure = optree.tree_flatten(tree, namespace=NAMESPACE)
        unknown = {type(x) for x in leaves if knows_its_parts(x)}
        if not unknown:
            return list(leaves), structure.unflatten
        for kind in unknown:
            module = hasattr(kind, "with_parameters")
            take, make = (parameters_of, module_of) if module else (fields_of, dataclass_of)
            with suppress(ValueError):  # another thread was faster
                optree.register_pytree_node(kind, take, make(kind), namespace=NAMESPACE)


def as_parameter(x: Any) -> Any:
    """What a Module holds of a number or array: a Value. (Other things as they are.)"""
    if is_numpy(x) and hasattr(x, "dtype"):
        return hold(leaf(x))
    if isinstance(x, Handle):
        return x if x.node.op in (None, alias) else alias(x)
    return as_constant(x) if hasattr(x, "dtype") else x


def paths_of(tree: Any) -> list[Any]:
    """Where each leaf of a container is."""
    if isinstance(tree, LONE):
        return [()]
    optree = loaded()
    flatten([tree])  # makes its dataclasses and Modules known
    return list(optree.tree_paths(tree, namespace=NAMESPACE))


def parameters_in(tree: Any) -> set[int]:
    """The ids of the leaves of `tree` that are parameters of Modules."""
    return {id(p) for module in modules_in(tree) for p in module.parameters()}


def modules_in(tree: Any) -> list[Any]:
    """The Modules in a container; a Module itself, not those in it."""
    if is_module(tree):
        return [tree]
    optree = loaded()
    parts = optree.tree_leaves(tree, is_leaf=is_module, namespace=NAMESPACE)
    return [part for part in parts if is_module(part)]


def map_leaves(f: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with `f` of each leaf."""
    leaves, rebuild = flatten(tree)
    return rebuild([f(x) for x in leaves])


def knows_its_parts(x: Any) -> bool:
    """Whether `x` is a dataclass instance, or a Module (told by what it offers)."""
    if isinstance(x, (type, Handle)):
        return False
    return dataclasses.is_dataclass(x) or is_module(x)


def is_module(x: Any) -> bool:
    return hasattr(type(x), "with_parameters")


def fields_of(x: Any) -> tuple[Sequence[Any], Any]:
    names = [field.name for field in dataclasses.fields(x)]
    return [getattr(x, name) for name in names], names


def dataclass_of(kind: type) -> Callable[[Any, Sequence[Any]], Any]:
    def make(names: Any, parts: Sequence[Any]) -> Any:
        x: Any = object.__new__(kind)  # as `copy` does: __init__ may check or compute
        for name, part in zip(names, parts):
            object.__setattr__(x, name, part)
        return x

    return make


def parameters_of(module: Any) -> tuple[Sequence[Any], Any]:
    return module.parameters(), module


def module_of(kind: type) -> Callable[[Any, Sequence[Any]], Any]:
    def make(module: Any, parts: Iterable[Any]) -> Any:
        return module.with_parameters(map(as_parameter, parts))

    return make


def rest_of_prefix(what: str, prefix: Any, tree: Any) -> list[Any]:
    """For each leaf of `tree` what `prefix` says of it or of the container that it is in.

    >>> rest_of_prefix("in_axes", (0, None), ([1.0, 2.0], 3.0))
    [0, 0, None]
    """
    if not isinstance(prefix, (tuple, list, dict)):
        return [prefix] * len(flatten(tree)[0])
    optree = loaded()
    flatten([tree])  # makes its dataclasses and Modules known
    if isinstance(tree, Handle) or is_array(tree) or optree.tree_is_leaf(tree, namespace=NAMESPACE):
        raise ValueError(f"vmap: {what}={prefix!r} for a single array")
    branches, _, keys, _ = optree.tree_flatten_one_level(tree, namespace=NAMESPACE)
    if len(branches) != len(prefix):
        raise ValueError(f"vmap: {what}={prefix!r} for a container of {len(branches)}")
    parts = [prefix[key] for key in keys] if isinstance(prefix, dict) else prefix
    return [a for part, branch in zip(parts, branches) for a in rest_of_prefix(what, part, branch)]

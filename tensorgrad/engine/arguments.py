"""NumPy-style calls, such as `np.sum(x, 0, keepdims=True)`, sorted into operands and params."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import NUMPY, is_array, is_numpy, kind_of
from tensorgrad.engine.dtypes import is_numeric
from tensorgrad.engine.node import Array, Handle
from tensorgrad.engine.strangers import called, held_as, is_foreign, note, way_out

WAYS_OUT = {
    "where": "choose afterwards, np.where(mask, result, other)",
    "out": "name the result instead",
    "dtype": "convert with .astype(dtype)",
}

SETTINGS = {int, bool, str, type(None)}  # params that are data as they are


def sort_arguments(
    name: str,
    forward: Callable[..., Array],
    rule: Callable[..., Array],
    arity: int | None,
    args: tuple[Array, ...],
    params: dict[str, Any],
) -> tuple[tuple[Array, ...], dict[str, Any]]:
    """The operands, and the params by name. `arity` is None where any number of operands goes.

    TypeError for a missing operand, for an argument that the rule does not know (unless it is
    given its default), and for a Value that requires grad among the params.
    """
    if arity is not None and len(args) != arity:
        names = list(defaults(forward))
        if len(args) > max(len(names), arity):
            raise TypeError(f"{name} takes {max(len(names), arity)} arguments, got {len(args)}")
        further = dict(zip(names[arity:], args[arity:]))
        if twice := further.keys() & params.keys():
            raise TypeError(f"{name} got two values for argument {min(twice)!r}")
        params = further | params
        by_name = [params.pop(n) for n in names[len(args) : arity] if n in params]
        args = (*args[:arity], *by_name)
        if len(args) < arity:
            raise TypeError(f"{name} takes {arity} operands, got {len(args)}")
    known = params_of(rule, arity)
    for unknown in params.keys() - known if known is not None else ():
        if params[unknown] is not defaults(forward).get(unknown, inspect.Parameter.empty):
            takes = ", ".join(sorted(known or ())) or "none"
            raise TypeError(
                f"{name}: its gradient rule has no argument {unknown!r} (it has: {takes}); "
                + WAYS_OUT.get(unknown, "for a result without a gradient compute with .data")
            )
        del params[unknown]
    return args, {key: as_param(value) for key, value in params.items()}


@cache
def defaults(forward: Callable[..., Array]) -> Mapping[str, Any]:
    """A forward's arguments with their defaults; empty where it does not tell them."""
    try:
        parameters = inspect.signature(forward).parameters
    except ValueError:  # ufuncs before NumPy 2.4
        return {}
    return {name: p.default for name, p in parameters.items()}


@cache
def params_of(rule: Callable[..., Array], arity: int | None) -> set[str] | None:
    """The arguments of a rule after g, out and the operands; `None` where it takes anything."""
    code = getattr(rule, "__code__", None) or getattr(type(rule).__call__, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARKEYWORDS:
        return None
    skip = code.co_argcount if arity is None else 2 + arity
    return set(code.co_varnames[skip : code.co_argcount + code.co_kwonlyargcount])


def as_param(x: Any) -> Any:
    """`x` as a param: plain data. Arrays and lists are copied: they may change before the sweep.

    TypeError for a Value that requires grad: its gradient would be lost there unseen.
    """
    if type(x) in SETTINGS:
        return x
    if isinstance(x, Handle):
        if x.node.requires_grad:
            raise TypeError(
                "a Value that requires grad stands where only data may: .detach() it (for the "
                "larger of two arrays np.maximum(a, b))"
            )
        x = x.node.data
    if is_array(x):
        return x.copy()
    return type(x)(map(as_param, x)) if type(x) in (list, tuple) else x


def ordinary(x: Any, name: str) -> Any:
    """`x`, without the class where that is one of NumPy's arrays of another class.

    TypeError for those that compute in ways of their own, and for strangers that NumPy's functions
    ask too: with units, or sparse. (Of a table with labels they take the numbers, and so do ours.)
    """
    if is_numpy(x):
        return x
    if is_foreign([type(x)]) or held_as(x):
        raise TypeError(f"{name} does not compute as {called(x)} does; {way_out(x)}")
    if not issubclass(type(x), np.ndarray):
        return x
    # np.ma is loaded when it is first named: only arrays of another class are asked
    if isinstance(x, (np.ma.MaskedArray, np.matrix)):
        instead = "np.where and x.filled()" if isinstance(x, np.ma.MaskedArray) else "np.asarray(x)"
        raise TypeError(f"{name} does not compute as {type(x).__name__} does: use {instead}")
    return np.asarray(x)


def operand(x: Any, name: str) -> Array:
    """An operand of `name` (a list, a table of another library) as an array.

    TypeError where it holds no numbers.
    """
    if kind_of(x) is not NUMPY:
        return x
    try:
        array = np.asarray(ordinary(x, name))
    except Exception as error:
        note(error, name, x)
        raise
    if not is_numeric(array.dtype):
        what = f"of dtype {array.dtype}" if hasattr(x, "shape") else f"{x!r:.60}"
        raise TypeError(f"{name} computes with numbers, not with {called(x)} {what}; {way_out(x)}")
    return array


def failure(
    name: str, error: Exception, inputs: Sequence[Array], params: Mapping[str, Any]
) -> Exception:
    """The same kind of error, which also names the operation and what it was given."""
    shapes = [list(getattr(x, "shape", ())) for x in inputs]
    given = [f"{getattr(x, 'dtype', type(x).__name__)}{n}" for x, n in zip(inputs, shapes)]
    given += [f"{name}={value!r}" for name, value in params.items()]
    special = (np.linalg.LinAlgError, np.exceptions.AxisError)
    kinds = (*special, IndexError, TypeError, ValueError, NotImplementedError)
    kind = next(k for k in kinds if isinstance(error, k))
    return kind(f"{name}({', '.join(given)}): {error}")

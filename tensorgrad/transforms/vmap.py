"""`tg.vmap`: a function of one example, made to work on all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import is_array, kind_of
from tensorgrad.engine.batching import Level, levels_of, running
from tensorgrad.engine.levels import as_axis, as_examples
from tensorgrad.engine.node import leaf
from tensorgrad.transforms.call import hidden, is_static, own
from tensorgrad.transforms.tree import flatten, rest_of_prefix
from tensorgrad.value import Value, as_constant


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """`f`, written for one example, as a function of arrays with one more axis.

    `in_axes`: where the examples lie in each argument, an int for all or a tuple with an int, or
    None (the same for every example), for each; instead of an int there may be a container of them.
    `out_axes`: where they shall lie in the results; None for what is the same for all. Keyword
    arguments are mapped over their axis 0.

    Inside, `f` sees Values whose shapes are those of one example. It must not ask for their
    numbers: TypeError for `if x > 0` and the like (`np.where` chooses). Any transform may stand
    inside or outside. ValueError where the arguments disagree about the number of examples.

    >>> rows = np.arange(6.0).reshape(3, 2)
    >>> vmap(lambda x, y: x @ y, in_axes=(0, None))(rows, np.array([1.0, 10.0]))
    array([10., 32., 54.])
    """

    @wraps(f)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        if isinstance(in_axes, (tuple, list)) and len(in_axes) != len(args):
            raise ValueError(f"vmap: in_axes={in_axes!r} for {len(args)} arguments")
        leaves, rebuild = flatten((args, kwargs))
        per_arg = tuple(in_axes) if isinstance(in_axes, (tuple, list)) else in_axes
        axes = [*rest_of_prefix("in_axes", per_arg, args), *[0] * len(flatten(kwargs)[0])]
        axes = [None if is_static(x) else axis for x, axis in zip(leaves, axes)]
        sizes = {
            np.shape(x)[checked_axis(axis, np.ndim(x))]
            for x, axis in zip(leaves, axes)
            if axis is not None
        }
        if len(sizes) != 1:
            found = ", ".join(
                f"{np.shape(x)} axis {axis}" for x, axis in zip(leaves, axes) if axis is not None
            )
            raise ValueError(
                f"vmap: the arguments hold different numbers of examples: {found}"
                if sizes
                else "vmap: no argument is mapped, all in_axes are None"
            )
        level = Level(sizes.pop())
        entered = [
            as_examples(as_constant(x), level=level, axis=axis)
            if axis is not None
            else (as_constant(x) if is_array(x) else x)
            for x, axis in zip(leaves, axes)
        ]
        args, kwargs = rebuild(entered)
        try:
            running.add(level.depth)
            out = f(*args, **kwargs)
        except ValueError as error:
            if reason := hidden(error):
                raise reason from None
            raise
        finally:
            running.discard(level.depth)
        outs, rebuild = flatten(out)
        places = rest_of_prefix("out_axes", out_axes, out)
        return rebuild([outside(y, level, axis) for y, axis in zip(outs, places)])

    return mapped


def checked_axis(axis: int, ndim: int, what: str = "an argument") -> int:
    """The axis that holds the examples. ValueError where there is none."""
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"vmap: an axis is an int or None, not {axis!r}")
    if not -ndim <= axis < ndim:
        raise ValueError(f"vmap: {what} of {ndim} axes has no axis {axis}; None is for no axis")
    return axis


def outside(y: Any, level: Level, axis: int | None) -> Any:
    """A result with its examples along `axis`: data, or a Value where there is a graph."""
    if is_static(y):
        return y
    y = y if isinstance(y, Value) else Value.of(leaf(kind_of(y).result(y)))
    if axis is None and level in levels_of(y.data):
        raise ValueError("vmap: out_axes=None for a result that differs from example to example")
    if axis is not None:
        y = as_axis(y, level=level, axis=checked_axis(axis, y.ndim + 1, "a result"))
    return y if y.requires_grad else own(y.data)

"""`tg.vmap`: a function of one example, made to work on all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from tensorgrad.batching import Level, inside
from tensorgrad.ops.identity import enter, leave
from tensorgrad.tree import flatten, rest_of_prefix
from tensorgrad.value import as_constant, plain


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """`f`, written for one example, as a function of arrays with one more axis.

    `in_axes`: where the examples lie in each argument, an int for all or a tuple with an int, or
    None (the same for every example), for each; instead of an int there may be a container of them.
    `out_axes`: where they shall lie in the results. Keyword arguments are mapped over their axis 0.

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
        axes = [*rest_of_prefix(per_arg, args), *[0] * len(flatten(kwargs)[0])]
        sizes = {
            np.shape(x)[checked(axis, np.ndim(x))]
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
            x if axis is None else enter(as_constant(x), level=level, axis=axis)
            for x, axis in zip(leaves, axes)
        ]
        args, kwargs = rebuild(entered)
        with inside(level):
            out = f(*args, **kwargs)
        outs, rebuild = flatten(out)
        places = rest_of_prefix(tuple(out_axes) if isinstance(out_axes, list) else out_axes, out)
        return rebuild([outside(y, level, axis) for y, axis in zip(outs, places)])

    return mapped


def checked(axis: int, ndim: int) -> int:
    """The axis that holds the examples. ValueError where there is none."""
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"vmap: an axis is an int or None, not {axis!r}")
    if not -ndim <= axis < ndim:
        raise ValueError(f"vmap: an argument of {ndim} axes has no axis {axis}; pass in_axes=None")
    return axis


def outside(y: Any, level: Level, axis: int) -> Any:
    """A result with its examples along `axis`: data, or a Value where there is a graph."""
    y = leave(as_constant(y), level=level, axis=axis)
    return y if y.requires_grad else plain(y.data)

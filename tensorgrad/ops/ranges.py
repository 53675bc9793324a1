"""Ranges of numbers whose ends may be Values."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import created, wrong
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements


def parts(num: int, endpoint: bool, like: Array) -> Array:
    """How far along the range each number is, 0..1, in an axis before those of `like`."""
    divisions = num - 1 if endpoint else num
    t = created(np.arange, num, like=like).reshape(-1, *[1] * np.ndim(like)) / (divisions or 1)
    return t.astype(np.result_type(like, 1.0))


@implements(np.linspace)
def linspace(
    start: Array,
    stop: Array,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Evenly spaced numbers from `start` to `stop`."""
    divisions = num - 1 if endpoint else num
    span = stop - start
    t = parts(num, endpoint, span)
    numbers = np.moveaxis(start * (1 - t) + stop * t, 0, axis)
    if dtype is not None:
        numbers = numbers.astype(dtype)
    return (numbers, span / divisions if divisions else span * np.nan) if retstep else numbers


@implements(np.logspace)
def logspace(
    start: Array,
    stop: Array,
    num: int = 50,
    endpoint: bool = True,
    base: Array = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """`base` to evenly spaced powers."""
    numbers = base ** linspace(start, stop, num, endpoint, axis=axis)
    return numbers if dtype is None else numbers.astype(dtype)


@implements(np.geomspace)
def geomspace(
    start: Array,
    stop: Array,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """Numbers of the same sign with the same ratio from one to the next."""
    if wrong(start * stop <= 0):
        raise ValueError("geomspace: start and stop must have the same sign and not be 0")
    ratio = stop / start
    numbers = np.moveaxis(start * ratio ** parts(num, endpoint, ratio), 0, axis)
    return numbers if dtype is None else numbers.astype(dtype)

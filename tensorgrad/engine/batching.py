"""Batched arrays: what Values hold inside of `tg.vmap`, with axes in front that nobody sees there.

Each running `vmap` is a `Level`. A `Batched` array has one leading axis for each level that it
varies over; to whoever asks, its shape is that of one example. A primitive meets such arrays
through its *batching rule*, which follows from the declaration: elementwise functions broadcast,
functions along an `axis` shift it, linear algebra works on stacks, and what says nothing is
computed example by example.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from tensorgrad.engine.arguments import defaults
from tensorgrad.engine.arrays import met
from tensorgrad.engine.node import Array

if TYPE_CHECKING:
    from tensorgrad.engine.primitive import Primitive

BatchingRule = Callable[["Primitive", tuple[int, ...], list[Array], Mapping[str, Any]], Array]

_depths = itertools.count()
_alive: WeakSet[Level] = WeakSet()
_lock = RLock()  # a Level may be freed while another is made, by the same thread too
running: set[int] = set()
"""The depths of the levels whose `vmap` runs: while there are none, no primitive looks for batched
params.
"""


class Level:
    """One running `vmap` over `size` examples; inner ones are deeper."""

    depth = -1  # of one that an interrupt kept from being made

    def __init__(self, size: int) -> None:
        self.size, self.depth = size, next(_depths)
        with _lock:
            _alive.add(self)

    def __del__(self) -> None:
        """With the last batched array gone nobody looks for any: 0.06 µs of each operation."""
        with _lock:
            running.discard(self.depth)  # an interrupt may have left it there
            _alive.discard(self)
            if not _alive:
                met.discard(Batched)


class Batched(np.lib.mixins.NDArrayOperatorsMixin):
    """An array for every example: `payload` has one leading axis for each of `levels`, in order."""

    __slots__ = ("__weakref__", "levels", "payload")

    def __init__(self, payload: Array, levels: tuple[Level, ...]) -> None:
        self.payload, self.levels = payload, levels

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        shape: tuple[int, ...] = self.payload.shape[len(self.levels) :]
        return shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.payload.dtype
        return dtype

    def astype(self, dtype: Any) -> Batched:
        return Batched(self.payload.astype(dtype), self.levels)

    def copy(self) -> Batched:
        return Batched(self.payload.copy(), self.levels)

    def __repr__(self) -> str:
        sizes = "x".join(str(level.size) for level in self.levels)
        return f"<{sizes} examples of shape {self.shape}, {self.dtype}>"

    def __format__(self, spec: str) -> str:
        return str(self._one_example()) if spec else repr(self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            return NotImplemented
        levels = levels_of(*inputs)
        aligned = [align(x, levels) for x in inputs]
        return Batched(ufunc(*padded(aligned, len(levels)), **kwargs), levels)

    def _one_example(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "inside vmap a Value stands for all examples at once and has no number of its own: "
            "choose with np.where instead of if; an array that it is written into, or an index of, "
            "must be a Value, such as np.zeros(shape, like=value) makes"
        )

    __array__ = __bool__ = __float__ = __int__ = __index__ = __complex__ = _one_example
    __len__ = __iter__ = item = tolist = _one_example


def levels_of(*xs: Any) -> tuple[Level, ...]:
    """The levels that anything among `xs` varies over, outermost first."""
    found: set[Level] = set()
    for x in xs:
        if type(x) is Batched:
            found.update(x.levels)
        elif type(x) in (list, tuple):
            found.update(levels_of(*x))
    return in_order(found)


def in_order(levels: set[Level]) -> tuple[Level, ...]:
    """Outermost first."""
    return tuple(sorted(levels, key=lambda level: level.depth))


def align(x: Array, levels: Sequence[Level]) -> Array:
    """`x` with an axis for each of `levels` in front, of size 1 where it does not vary."""
    if type(x) is not Batched:
        return np.reshape(x, (1,) * len(levels) + np.shape(x)) if np.ndim(x) else x
    sizes = tuple(level.size if level in x.levels else 1 for level in levels)
    return np.reshape(x.payload, sizes + x.shape)


def padded(xs: Sequence[Array], k: int, cores: Sequence[int] = ()) -> list[Array]:
    """Arrays of k batch axes with axes of size 1 after these, so that the others broadcast.

    `cores`: how many axes at the end of each take no part in that.
    """
    inner = [max(np.ndim(x) - k, 0) - core for x, core in zip(xs, cores or [0] * len(xs))]
    n = max(inner)
    return [
        np.reshape(x, x.shape[:k] + (1,) * (n - own) + x.shape[k:]) if np.ndim(x) else x
        for x, own in zip(xs, inner)
    ]


# Batching rules: `rule(op, batch, xs, params)`. Each of `xs` has its batch axes in front, of the
# sizes `batch` or of size 1 where it does not vary; only plain numbers have none.


def elementwise(
    op: Primitive, batch: tuple[int, ...], xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """Everything broadcasts."""
    return op.forward(*padded(xs, len(batch)), **params)


def stacked(
    op: Primitive, batch: tuple[int, ...], xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """The function works on stacks of what its `signature` names."""
    terms = (op.signature or "").split("->")[0].split("),")
    cores = [len([name for name in term.strip("()").split(",") if name]) for term in terms]
    return op.forward(*padded(xs, len(batch), cores), **params)


def along(
    op: Primitive, batch: tuple[int, ...], xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """The function works along one `axis`; for None it flattens its operands first."""
    k = len(batch)
    xs = [full(x, batch) for x in xs]
    axis, n = axis_of(op, params), xs[0].ndim - k
    if axis is None:
        xs = [np.reshape(x, (*batch, math.prod(x.shape[k:]))) for x in xs]
        out = op.forward(*xs, **{**params, "axis": k})
        return np.reshape(out, batch + (1,) * n) if params.get("keepdims") is True else out
    return op.forward(*xs, **{**params, "axis": shift_axis(axis, k, n)})


def reduction(
    op: Primitive, batch: tuple[int, ...], xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """The function works over `axis`, one or several; for None over all of an example's axes."""
    k, axis = len(batch), axis_of(op, params)
    n = xs[0].ndim - k
    axis = tuple(range(k, k + n)) if axis is None else shift_axis(axis, k, n)
    return op.forward(*xs, **{**params, "axis": axis})


def alike(
    op: Primitive, batch: tuple[int, ...], xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """Elementwise, for operands of the same shape only."""
    return op.forward(*(full(x, batch) for x in xs), **params)


def moving(
    op: Primitive, batch: tuple[int, ...], xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """The function moves the entries of its operand and looks at none: where it moves the numbers
    0, 1, 2, ... to, it moves the entries of every example to.
    """
    x = full(xs[0], batch)
    shape = x.shape[len(batch) :]
    places = destinations(op.forward, shape, batch, params)
    flat = np.reshape(x, (*batch, math.prod(shape)))
    result = batch + places.shape[len(batch) :]
    if places.shape[: len(batch)] == (1,) * len(batch):  # the same for all
        places = np.ravel(places)
        straight = places.size == flat.shape[-1] and np.array_equal(places, np.arange(places.size))
        return np.reshape(flat if straight else flat[..., places], result)
    places = np.reshape(places, (*batch, math.prod(places.shape[len(batch) :])))
    return np.reshape(np.take_along_axis(flat, places, axis=-1), result)


def destinations(
    forward: Callable[..., Array],
    shape: tuple[int, ...],
    batch: tuple[int, ...],
    params: Mapping[str, Any],
) -> Array:
    """Which entry of an array of `shape` each entry of `forward` is, by number; with batch axes, of
    size 1 where that is the same for all examples.
    """
    numbers = np.arange(math.prod(shape)).reshape(shape)
    if not levels_of(*params.values()):
        places = np.asarray(forward(numbers, **params))
        return np.reshape(places, (1,) * len(batch) + places.shape)
    each = [forward(numbers, **parts_of(params, i)) for i in np.ndindex(batch)]
    if not each:  # no examples: an index of zeros tells the shape
        zeros = for_batched(lambda x: np.zeros(x.shape, x.dtype), params)
        each = [forward(numbers, **zeros)]
        return np.zeros(batch + np.shape(each[0]), int)
    return np.reshape(np.stack(each), batch + np.shape(each[0]))


def one_by_one(
    op: Primitive, batch: tuple[int, ...], xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """The function is called for each example: right for every function of one result, and as slow
    as a loop.
    """
    results = [
        op.forward(*(of(x, i) for x in xs), **parts_of(params, i)) for i in np.ndindex(batch)
    ]
    if results and isinstance(results[0], tuple):
        raise TypeError(
            f"{op.name} returns several arrays for each example: call it outside of vmap"
        )
    if not results:  # of no examples: the shape of the result is that for ones
        one = op.forward(*(np.ones(np.shape(x)[len(batch) :], x.dtype) for x in xs), **params)
        return np.zeros(batch + np.shape(one), np.asarray(one).dtype)
    return np.reshape(np.stack(results), batch + np.shape(results[0]))


def full(x: Array, batch: tuple[int, ...]) -> Array:
    """`x` for every example, also where it does not vary."""
    return np.broadcast_to(x, batch + np.shape(x)[len(batch) :])


def of(x: Array, i: tuple[int, ...]) -> Array:
    """Example `i` of an array with batch axes."""
    return x[tuple(j if n > 1 else 0 for j, n in zip(i, x.shape))] if np.ndim(x) else x


def parts_of(params: Mapping[str, Any], i: tuple[int, ...]) -> Any:
    """The params of example `i`."""
    return for_batched(lambda x: of(x.payload, i), params)


def for_batched(f: Callable[[Batched], Any], x: Any) -> Any:
    """`x`, a param or all of them, with `f` of each batched array in it."""
    if type(x) is Batched:
        return f(x)
    if isinstance(x, Mapping):
        return {name: for_batched(f, part) for name, part in x.items()}
    return type(x)(for_batched(f, part) for part in x) if type(x) in (list, tuple) else x


def by_itself(
    op: Primitive, batch: tuple[int, ...], xs: list[Array], params: Mapping[str, Any]
) -> Array:
    """The forward knows batched arrays: `run_batched` gives it them as they are."""
    return op.forward(*xs, **params)


def axis_of(op: Primitive, params: Mapping[str, Any]) -> Any:
    """The `axis` of a call, or the forward's default."""
    return params["axis"] if "axis" in params else defaults(op.forward).get("axis")


def shift_axis(axis: Any, k: int, ndim: int) -> Any:
    """An axis (or several) of an example of `ndim` axes, counted behind k batch axes."""
    if isinstance(axis, (tuple, list)):
        return tuple(shift_axis(a, k, ndim) for a in axis)
    return k + np.lib.array_utils.normalize_axis_index(axis, ndim)


def rule_of(forward: Callable[..., Array], signature: str | None) -> BatchingRule:
    """The batching rule that follows from a declaration."""
    if signature:
        return stacked
    of_entries = isinstance(forward, np.ufunc) and forward.signature is None
    return elementwise if of_entries or forward.__module__ == "_operator" else one_by_one


def run_batched(op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any]) -> Array:
    """The forward of `op`, on batched arrays if there are any among what it is given."""
    levels = levels_of(*inputs, *params.values())
    if not levels or op.batch is by_itself:
        return op.forward(*inputs, **params)
    batch = tuple(level.size for level in levels)
    varying = levels_of(*params.values())
    rule = op.batch if not varying or op.batch in TAKE_VARYING_PARAMS else one_by_one
    if varying:
        params = for_batched(lambda x: Batched(align(x, levels), levels), params)
    return Batched(full(rule(op, batch, [align(x, levels) for x in inputs], params), batch), levels)


TAKE_VARYING_PARAMS: list[BatchingRule] = [moving]
"""The batching rules that know what to do with params that differ from example to example."""

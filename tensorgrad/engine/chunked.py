"""Dask's arrays, a kind: lazy, in chunks, of sizes that may be unknown.

Dask answers NumPy's functions, and little is said of it here: what it spells otherwise than NumPy
(`INSTEAD`), how a sweep takes care inside of chunks, and how several results are computed at once.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.arrays import Kind, is_numpy, kind_of, kinds, same_shape, total
from tensorgrad.engine.backprop import cotangents
from tensorgrad.engine.care import Careful, bare, contraction, product, quotient
from tensorgrad.engine.dtypes import is_floating
from tensorgrad.engine.levels import alias
from tensorgrad.engine.node import Array, Handle, Node, data_of, hold, leaf, recorded, serials
from tensorgrad.engine.primitive import Primitive, apply, registry
from tensorgrad.engine.rules import Each, Reading


class Chunked(Kind):
    """The row of Dask's arrays."""

    creators = Kind.creators - {np.eye}
    lazy = True

    def run(self, op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any]) -> Array:
        """NotImplementedError, with the way out, for what Dask has not, or would compute now."""
        way = "; tg.compute(x) makes NumPy's of what fits into memory"
        if str(getattr(op.forward, "__module__", "")).startswith(EAGER):
            raise NotImplementedError(f"SciPy would compute Dask's arrays here{way}")
        forward = INSTEAD.get(op.name, op.forward)
        with warnings.catch_warnings():  # of functions that it has not, before it computes them
            warnings.simplefilter("error", FutureWarning)
            try:
                return forward(*inputs, **params)
            except FutureWarning as warning:
                raise NotImplementedError(f"{warning}".partition(" You")[0] + way) from None
            except (TypeError, AttributeError, ZeroDivisionError) as error:
                if type(error) is TypeError and "returned NotImplemented" not in f"{error}":
                    raise
                raise NotImplementedError(f"Dask has not {op.name} as NumPy has it{way}") from error

    def create(self, function: Callable[..., Array], like: Array, *args: Any, **params: Any) -> Any:
        if function in self.creators and args and isinstance(args[-1], (type, np.dtype)):
            args, params = args[:-1], {**params, "dtype": args[-1]}  # by position it is not heard
        return super().create(function, like, *args, **params)

    def spread(self, x: Array, like: Array) -> Array:
        """In the chunks of `like`: to be cut from one, all chunks of the data would wait for it."""
        if is_numpy(x) and np.ndim(x) == 0 and like.size == like.size:
            return array_module().full(like.shape, x, dtype=x.dtype, chunks=like.chunks)
        return x + np.zeros_like(like, dtype=x.dtype)

    def take_care(
        self,
        rule: Callable[..., Array],
        function: Callable[..., Array],
        args: list[Any],
        params: Mapping[str, Any],
    ) -> Array:
        """Inside of each chunk, where there are numbers to look at: in a quarter of the time.

        Of a sum over chunks the parts are right, and so is their sum.
        """
        if rule not in IN_CHUNKS:
            return rule(function, args, params)
        if any(isinstance(bare(x), Handle) for x in args):
            if rule is contraction:
                return contraction_in_chunks(function, args, params)
            return rule(function, args, params)  # in words of primitives, entry by entry
        args = [careful_chunks(x.payload) if type(x) is Careful else x for x in args]
        return function(*args, **params).map_blocks(bare)

    def to_numbers(self, x: Array) -> Any:
        return self.all_to_numbers([x], warn=True)[0]

    def all_to_numbers(self, xs: Sequence[Array], warn: bool = False) -> Sequence[Any]:
        import dask

        if warn:
            warn_of_work_done_twice(xs)
        computed.append(Computed(next(serials), frozenset().union(*map(layers_of, xs))))
        return [np.asarray(x)[()] for x in dask.compute(*xs)]


class Refused(Kind):
    """What Dask has besides, and would compute, or lacks too much: refused, with what to write."""

    def __init__(self, error: type[Exception], words: str) -> None:
        super().__init__(numbers=False)
        self.error, self.words = error, words

    def copy(self, x: Array, dtype: Any = None) -> Array:
        raise self.error(self.words)

    def run(self, op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any]) -> Array:
        return self.copy(None)


EAGER = ("scipy.linalg", "tensorgrad.scipy.linalg", "tensorgrad.scipy.special.bessel")
"""Where functions are defined that make NumPy's arrays of whatever they are given."""

IN_CHUNKS = {product, quotient, contraction}
"""The care rules of what Dask does chunk by chunk with the function itself."""


def careful_chunks(g: Array) -> Array:
    """A chunked array whose chunks are `Careful`."""
    g = array_module().asarray(g)
    return g.map_blocks(Careful, dtype=g.dtype, meta=Careful(g._meta))


def contraction_in_chunks(
    function: Callable[..., Array], args: list[Any], params: Mapping[str, Any]
) -> Array:
    """A recorded sum of products, as one operation: in words of primitives its gradient would wait
    for counts over all chunks. In that gradient what is not finite among the data counts as 0.
    """
    places = [i for i, x in enumerate(args) if hasattr(bare(x), "dtype")]

    def call(xs: Sequence[Any]) -> Array:
        given = list(args)
        for i, x in zip(places, xs):
            given[i] = x
        return function(*given, **params)

    def forward(*xs: Array) -> Array:
        linear = [type(args[i]) is Careful for i in places]
        return call([careful_chunks(x) if g else x for x, g in zip(xs, linear)]).map_blocks(bare)

    def rule(i: int, c: Array, out: Array, *xs: Array) -> Array:
        terms = [x.map_blocks(finite_part) if is_chunked(x) else x for x in xs]
        x, c = terms[i], bare(c)
        keep = any(isinstance(y, Handle) and y.node.requires_grad for y in (c, *terms))
        x = recorded(alias, x) if isinstance(x, Handle) else hold(leaf(x, requires_grad=True))
        y = recorded(call, [*terms[:i], x, *terms[i + 1 :]])
        return cotangents({y.node: c}, keep, [x.node])[x.node]

    op = Primitive(forward, Each(rule), getattr(function, "name", "contraction"))
    return apply(op, [bare(args[i]) for i in places], {})


def finite_part(x: Array) -> Array:
    """A chunk, with 0 for what is not finite."""
    fine = np.isfinite(x)
    return x if fine.all() else np.where(fine, x, 0)


# Work that is done twice. A layer of Dask's graphs has a name that says what is computed of what.


class Computed(NamedTuple):
    """What was computed at once, and when."""

    when: int
    layers: frozenset[str]


computed: deque[Computed] = deque(maxlen=8)
"""The last computations."""

made: dict[str, tuple[int, bool]] = {}
"""Of layers that a sweep has seen: since when they are there, and whether they are a cotangent."""


class Seen(Reading):
    """Notes what a sweep sees and makes."""

    looks = True

    def given(self, node: Node, args: tuple[Array, ...], sweep: Any) -> tuple[Array, ...]:
        note(node.data, False)
        return args

    def answered(self, node: Node, i: int, c: Array, sweep: Any) -> Array:
        note(bare(data_of(c)), True)
        return c


def note(x: Array, cotangent: bool) -> None:
    if is_chunked(x) and x.name not in made:
        made[x.name] = next(serials), cotangent
        if len(made) > 20_000:
            del made[next(iter(made))]


def layers_of(x: Array) -> set[str]:
    return set(getattr(x.dask, "layers", ()))


def warn_of_work_done_twice(xs: Sequence[Array]) -> None:
    """Where what is to be computed now was there when a part of it was computed, or will be its
    gradient: a UserWarning. (The data themselves are read each time, and so is what follows from
    them alone; a product with a Hessian is of a direction that was not there before.)
    """
    layers = set().union(*map(layers_of, xs)) & made.keys()
    born = max((made[name][0] for name in layers), default=0)
    earlier = [c for c in computed if layers & c.layers]
    gradients = any(made[name][1] for c in earlier for name in c.layers & made.keys())
    if any(born < c.when for c in earlier) or (earlier and not gradients):
        warnings.warn(
            "this computes again what was computed before: compute results together, "
            "tg.compute(loss, gradients), and the data are read once",
            stacklevel=5,
        )


# What Dask spells otherwise.


def gather(x: Array, index: Any) -> Array:
    """x[index], also of numbers of rows in several axes; `index` may be chunked itself: a mask of
    rows, or numbers, such as the codes of categories, of rows of an `x` that is small beside them.
    """
    parts = as_tuple(index)
    axis = axis_of_numbers(parts)
    if axis is None:
        return x[index] if is_chunked(x) else array_module().asarray(x)[index]
    numbers = parts[axis]
    if not is_chunked(numbers):
        numbers = np.asarray(numbers)
        taken = x[(*parts[:axis], numbers.ravel())]
        return taken.reshape(*x.shape[:axis], *numbers.shape, *x.shape[axis + 1 :])
    n, k = numbers.ndim, x.ndim
    before, own, after = range(axis), range(k, k + n), range(axis + 1, k)
    return array_module().blockwise(
        *(taken_along, (*before, *own, *after), x, range(k), numbers, own),
        axis=axis,
        dtype=x.dtype,
        concatenate=True,
    )


def taken_along(x: Array, numbers: Array, axis: int) -> Array:
    return np.take(x, numbers, axis)


def scatter(g: Array, shape: tuple[int, ...], index: Any) -> Array:
    """Zeros of `shape`, with the entries of `g` added at `index`."""
    da, parts = array_module(), as_tuple(index)
    axis = axis_of_numbers(parts)
    if axis is not None:
        return scatter_along(g, shape, parts[axis], axis)
    if is_mask_of_rows(parts):
        (mask,), own = parts, range(g.ndim)
        return da.blockwise(
            *(into_rows, own, g, own, mask, (0,)),
            dtype=g.dtype,
            align_arrays=False,
            adjust_chunks={0: mask.chunks[0]},
        )
    if (axis := axis_of_each(parts, shape)) is not None:
        return scatter_each(g, shape, parts[axis], axis)
    if any(map(is_chunked, parts)):
        raise NotImplementedError(
            "a chunked index is numbers of rows, or a mask of rows; else np.where(mask, x, 0)"
        )
    if any(map(np.ndim, parts)):  # by the numbers of all entries
        places = np.arange(total(shape)).reshape(shape)[index]
        g = da.broadcast_to(g, places.shape).ravel()
        return scatter_along(g, (total(shape),), places.ravel(), 0).reshape(shape)
    if any(n != n for n in shape):
        return scatter_in_rows(g, shape, full(parts, len(shape)))
    axes = iter(range(g.ndim))
    kept: list[Any] = []
    for part in full(parts, len(shape)):
        if part is None:
            next(axes)
        elif isinstance(part, slice):
            kept.append(next(axes))
    out = da.zeros(shape, g.dtype)
    out[tuple(part for part in parts if part is not None)] = g.reshape([g.shape[i] for i in kept])
    return out


def into_rows(g: Array, mask: Array) -> Array:
    out = np.zeros((len(mask), *g.shape[1:]), g.dtype)
    out[mask] = g
    return out


def scatter_in_rows(g: Array, shape: tuple[int, ...], parts: list[Any]) -> Array:
    """Chunk by chunk along the axes that are whole in `parts`: some are of sizes nobody knows."""
    axes = iter(range(g.ndim))
    out: list[int | None] = []
    new: dict[int, int] = {}
    for part in parts:
        axis = next(axes) if part is None or isinstance(part, slice) else None
        if part == slice(None):
            out.append(axis)
        elif part is not None:
            new[g.ndim + len(new)] = shape[len(out)]
            out.append(g.ndim + len(new) - 1)
    return array_module().blockwise(
        *(into_place, out, g, range(g.ndim)),
        parts=parts,
        sizes=shape,
        new_axes=new,
        dtype=g.dtype,
        concatenate=True,
    )


def into_place(g: Array, parts: list[Any], sizes: tuple[int, ...]) -> Array:
    """Zeros of these sizes, or as g has them along the axes that are whole, with g in its place."""
    of_g, known = iter(g.shape), iter(sizes)
    shape: list[int] = []
    for part in parts:
        own = next(of_g) if part is None or isinstance(part, slice) else 0
        if part is not None:
            size = next(known)
            shape.append(own if part == slice(None) else size)
    out = np.zeros(shape, g.dtype)
    out[tuple(parts)] = g
    return out


def scatter_along(g: Array, shape: tuple[int, ...], numbers: Any, axis: int) -> Array:
    """Each chunk adds to zeros of its own, and these are summed."""
    da = array_module()
    own = range(axis, axis + np.ndim(numbers))
    if not is_chunked(numbers):
        if g.ndim < len(own) + len(shape) - 1 or 1 in g.shape:
            g = da.broadcast_to(g, (*shape[:axis], *np.shape(numbers), *shape[axis + 1 :]))
        numbers = da.from_array(np.asarray(numbers), chunks=[g.chunks[i] for i in own])
    place, after = g.ndim, range(own.stop, g.ndim)
    parts = da.blockwise(
        *(added_along, (*range(axis), *own, place, *after), g, range(g.ndim), numbers, own),
        axis=axis,
        size=shape[axis],
        new_axes={place: shape[axis]},
        adjust_chunks=dict.fromkeys(own, 1),
        dtype=g.dtype,
    )
    return parts.sum(axis=tuple(own))


def added_along(g: Array, numbers: Array, axis: int, size: int) -> Array:
    before, after = g.shape[:axis], g.shape[axis + numbers.ndim :]
    out = np.zeros((*before, size, *after), g.dtype)
    np.add.at(out, (*[slice(None)] * axis, numbers), g)
    return out.reshape(*before, *(1,) * numbers.ndim, size, *after)


def scatter_each(g: Array, shape: tuple[int, ...], indices: Array, axis: int) -> Array:
    """The transpose of `take_along`."""
    da, k = array_module(), len(shape)
    own = range(k)
    return da.blockwise(
        *(added_to_each, (*own[:axis], k, *own[axis + 1 :]), g, own, da.asarray(indices), own),
        axis=axis,
        size=shape[axis],
        new_axes={k: shape[axis]},
        dtype=g.dtype,
        concatenate=True,
    )


def added_to_each(g: Array, indices: Array, axis: int, size: int) -> Array:
    out = np.zeros((*g.shape[:axis], size, *g.shape[axis + 1 :]), g.dtype)
    grid: list[Any] = list(np.ogrid[tuple(slice(n) for n in g.shape)])
    grid[axis] = indices
    np.add.at(out, tuple(grid), g)
    return out


def axis_of_each(parts: tuple[Any, ...], shape: tuple[int, ...]) -> int | None:
    """The axis along which an index, which names each place of the others, has its numbers."""
    if len(parts) != len(shape) or not all(np.ndim(part) == len(shape) for part in parts):
        return None
    axes = [i for i, part in enumerate(parts) if is_chunked(part) or np.size(part) != shape[i]]
    return axes[0] if len(axes) == 1 else None


def axis_of_numbers(parts: tuple[Any, ...]) -> int | None:
    """The axis where an index has numbers of entries, and whole axes elsewhere."""
    arrays = [i for i, part in enumerate(parts) if np.ndim(part) and dtype_of(part).kind in "iu"]
    others = [part for i, part in enumerate(parts) if i not in arrays]
    plain = all(isinstance(part, slice) and part == slice(None) for part in others)
    return arrays[0] if len(arrays) == 1 and plain else None


def is_mask_of_rows(parts: tuple[Any, ...]) -> bool:
    return is_chunked(parts[0]) and len(parts) == parts[0].ndim == 1 and parts[0].dtype == bool


def full(parts: tuple[Any, ...], ndim: int) -> list[Any]:
    """An index with a part for each axis."""
    missing = [slice(None)] * (ndim - sum(part is not None and part is not ... for part in parts))
    at = next((i for i, part in enumerate(parts) if part is ...), len(parts))
    return [*parts[:at], *missing, *parts[at + 1 :]]


def as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def dtype_of(x: Any) -> Any:
    return x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype


def array_module() -> Any:
    import dask.array

    return dask.array


def is_chunked(x: Any) -> bool:
    return kind_of(x) is CHUNKED


def take(x: Array, indices: Any, axis: int | None = None, mode: str = "raise") -> Array:
    if axis is None:
        x, axis = x.ravel(), 0
    if mode != "raise":
        n = x.shape[axis]
        indices = np.mod(indices, n) if mode == "wrap" else np.clip(indices, 0, n - 1)
    if not np.ndim(indices):
        return np.take(x, indices, axis)
    return gather(x, (*[slice(None)] * (axis % x.ndim), indices))


def take_along(x: Array, indices: Any, axis: int | None = -1) -> Array:
    if axis is None:
        x, axis = x.ravel(), 0
    k = x.ndim
    axis %= k
    own = tuple(k if i == axis else i for i in range(k))
    return array_module().blockwise(
        *(taken_from_each, own, x, range(k), array_module().asarray(indices), own),
        axis=axis,
        dtype=x.dtype,
        concatenate=True,
    )


def taken_from_each(x: Array, indices: Array, axis: int) -> Array:
    return np.take_along_axis(x, indices, axis)


def cross_entropy(z: Array, y: Array, reduction: str = "none") -> Array:
    """Row by row: the classes, axis 1, are in one chunk."""
    k, forward = z.ndim, registry["cross_entropy"].forward
    rows = tuple(i for i in range(k) if i != min(1, k - 1))
    own = range(k) if y.ndim == k and is_floating(y.dtype) else rows
    if not same_shape(y.shape, [z.shape[i] for i in own]):
        raise ValueError(f"logits of shape {z.shape} and targets of shape {y.shape}")
    cost = array_module().blockwise(
        *(forward, rows, z, range(k), y, own),
        dtype=np.result_type(z, y) if is_floating(y.dtype) else z.dtype,
        concatenate=True,
    )
    return cost if reduction == "none" else getattr(cost, reduction)()


def expanded(x: Array, axis: Any) -> Array:
    """With new axes, of size 1: Dask's `expand_dims` wants to know the sizes of the others."""
    axes = as_tuple(axis)
    ndim = x.ndim + len(axes)
    new = {i % ndim for i in axes}
    return x[tuple(None if i in new else slice(None) for i in range(ndim))]


def lower_cholesky(a: Array) -> Array:
    return array_module().linalg.cholesky(a, lower=True)


def no_svd(a: Array, full_matrices: bool = False) -> Array:
    """Dask's takes `full_matrices` for `coerce_signs`, and has other signs than NumPy's."""
    raise AttributeError("svd")


INSTEAD: Mapping[str, Callable[..., Array]] = {
    "getitem": gather,
    "scatter_add": scatter,
    "embedding": lambda weight, indices, **settings: gather(weight, indices),
    "add_rows": lambda g, indices, n=0: scatter(g, (n, *g.shape[indices.ndim :]), indices),
    "expand_dims": expanded,
    "take": take,
    "take_along_axis": take_along,
    "cross_entropy": cross_entropy,
    "cholesky": lower_cholesky,
    "svd": no_svd,
}

CHUNKED = Chunked(numbers=False, readings=(Seen(),))
kinds["dask.array.core.Array"] = CHUNKED
PLANNED = Refused(
    NotImplementedError,
    "Dask's query planning for arrays is experimental; without it, before dask.array is imported: "
    "dask.config.set({'array.query-planning': False})",
)
FRAME = Refused(
    TypeError,
    "a frame of Dask would be computed here: x.to_dask_array(lengths=True) stays in chunks, "
    "x.compute() fits into memory",
)
kinds["dask.array._array_expr._collection.Array"] = PLANNED
for name in ("DataFrame", "Series", "Index"):
    kinds[f"dask.dataframe.dask_expr._collection.{name}"] = FRAME

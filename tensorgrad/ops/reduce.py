"""Reductions and running sums. The cotangent of an entry is that of the result it went into.

Each reduction is a primitive of `axis` and `keepdims`; the function bound to NumPy's name adds the
other arguments: entries that `where` leaves out are replaced by ones that change nothing.

Choices: entries that tie for a maximum or minimum share its gradient equally, `initial` being one
more entry; a standard deviation of 0 has gradient 0; so have NaN entries of the nan-functions.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from tensorgrad.engine.arguments import as_param
from tensorgrad.engine.arrays import (
    anywhere,
    as_array,
    created,
    innermost,
    is_lazy,
    met,
    total,
    wrong,
)
from tensorgrad.engine.batching import along, reduction
from tensorgrad.engine.care import CareRule
from tensorgrad.engine.chunked import expanded
from tensorgrad.engine.domain import Domain, Shape, axes, ties, with_zeros
from tensorgrad.engine.dtypes import finfo, is_inexact
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, apply, implements, primitive
from tensorgrad.ops.adjoint import even
from tensorgrad.ops.elementwise import only

Axis = int | tuple[int, ...] | None
F = TypeVar("F", bound=Callable[..., Any])
REDUCTION = Domain(params=axes, complex=True)


def unreduce(g: Array, axis: Axis, keepdims: bool) -> Array:
    """`g` with the reduced axes put back as size 1; the sweep broadcasts them."""
    if keepdims or axis is None:
        return g
    if met and is_lazy(innermost(g)):
        return expanded(g, axis)
    return np.expand_dims(g, axis)


def reduced(shape: Shape, axis: Axis) -> list[int]:
    """The axes that `axis` stands for, none of them negative."""
    if axis is None or not shape:
        return list(range(len(shape)))
    return [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]


def count(shape: Shape, axis: Axis) -> int:
    """How many entries of an array of `shape` go into one entry of the result."""
    return total([shape[a] for a in reduced(shape, axis)])


def entries(x: Array, axis: Axis, keepdims: bool) -> Any:
    """The same of x; counted with the result, in its shape, where Dask does not know it yet."""
    known = math.prod([x.shape[a] for a in reduced(x.shape, axis)])
    if known == known:
        return known
    n = np.sum(np.ones_like(x, dtype=np.int64), axis=axis, keepdims=keepdims)
    return n.astype(np.result_type(x.dtype.type(0).real, np.float32))


# NumPy's arguments.

FEW = {"axis", "keepdims", "ddof"}


def numpy_call(
    *functions: Callable[..., Any], usual: Primitive | None = None, care: CareRule | None = None
) -> Callable[[F], F]:
    """Bind a function that has NumPy's arguments; an `out` other than None is an error.

    A call with few of them goes straight to the primitive `usual`: 2.0 µs instead of 3.1 for
    `np.sum(v)`.
    """

    def bind(full: F) -> F:
        place = list(inspect.signature(full).parameters).index("out")

        @wraps(full)
        def call(*args: Any, **kwargs: Any) -> Any:
            if usual is not None and kwargs.keys() <= FEW:
                if len(args) == 2 and "axis" not in kwargs:
                    kwargs["axis"] = args[1]
                    args = args[:1]
                if len(args) == 1:
                    return apply(usual, args, {name: as_param(x) for name, x in kwargs.items()})
            if kwargs.get("out", args[place] if len(args) > place else None) is not None:
                name = functions[0].__name__
                raise TypeError(f"np.{name}: out= has no gradient; take the result instead")
            return full(*args, **kwargs)

        return implements(*functions, care=care)(call)  # type: ignore[return-value]

    return bind


def chosen(a: Array, where: Array, blank: Any) -> Array:
    """`a`, with `blank` in the places that `where` leaves out."""
    return a if where is True else np.where(np.broadcast_to(where, np.shape(a)), a, blank)


def present(a: Array, where: Array) -> Array:
    """Where `where` holds and `a` is not NaN."""
    number = ~np.isnan(a)
    return number if where is True else number & where


def lines(x: Array, axis: Axis) -> Array:
    """The entries that are reduced together, along one last axis."""
    if not x.ndim:
        axis = None  # NumPy lets a number be reduced along axis 0
    if axis is not None:
        axis = np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
    away = reduced(x.shape, axis)
    rest = [a for a in range(x.ndim) if a not in away]
    return np.reshape(
        np.transpose(x, rest + away), (*(x.shape[a] for a in rest), count(x.shape, axis))
    )


def with_axes(out: Array, shape: Shape, axis: Axis, keepdims: bool) -> Array:
    """The reduction `out` of lines, with axes of size 1 in the places of the reduced ones."""
    return np.expand_dims(out, tuple(reduced(shape, axis))) if keepdims else out


# Sums and means.

sum = primitive(
    np.sum,
    lambda g, out, x, axis=None, keepdims=False: unreduce(g, axis, keepdims),
    notation=r"\sum_{{{axis}}} {{{0}}}_{{{indices}}}",
    domain=REDUCTION,
    batch=reduction,
)


@numpy_call(np.sum, usual=sum)
def sum_of(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Array = None,
    where: Array = True,
) -> Array:
    """`np.sum`, also of chosen entries, and from an `initial` value that may be a Value."""
    total = sum(chosen(as_array(a, dtype), where, 0), axis=axis, keepdims=keepdims)
    return total if initial is None else total + initial


def wide(x: Array) -> Array:
    """float16 as float32, for sums: float16 ends at 65504. All else as it is."""
    return x.astype(np.float32) if x.dtype.char == "e" else x


def divided(g: Array, n: float) -> Array:
    """g / n, by way of float32 where n is past the largest float16."""
    if g.dtype.char == "e" and anywhere(n > 65504):
        return (wide(g) / n).astype(g.dtype)
    return g / n


mean = primitive(
    np.mean,
    lambda g, out, x, axis=None, keepdims=False: unreduce(
        divided(g, entries(x, axis, keepdims)), axis, keepdims
    ),
    notation=r"\frac{{1}}{{{n}}} \sum_{{{axis}}} {{{0}}}_{{{indices}}}",
    domain=Domain(
        params=lambda shape: [p for p in axes(shape) if count(shape, p["axis"])], complex=True
    ),
    batch=reduction,
)


def floating(dtype: Any) -> Any:
    """The dtype of a mean of entries of `dtype`."""
    return np.dtype(dtype) if is_inexact(np.dtype(dtype)) else np.dtype(float)


def per_entry(
    total: Array, a: Array, axis: Axis, keepdims: bool, where: Array, taken: Any, warning: str
) -> Array:
    """`total` by the number of chosen entries of `a`, less `taken`; NaN where none is left."""
    n = np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims) - taken
    if warning and wrong(n <= 0):
        warnings.warn(warning, RuntimeWarning, stacklevel=5)
    return (total / np.where(n > 0, n, np.nan)).astype(floating(a.dtype))


def mean_of_chosen(a: Array, axis: Axis, keepdims: bool, where: Array, warning: str = "") -> Array:
    """The mean where `where` holds."""
    kind = np.result_type(floating(a.dtype), np.float32)  # as NumPy sums float16
    total = sum_of(a, axis, kind, keepdims=keepdims, where=where)
    return per_entry(total, a, axis, keepdims, where, 0, warning)


@numpy_call(np.mean, usual=mean)
def mean_of(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Array = True,
) -> Array:
    """`np.mean`, also of chosen entries."""
    a = as_array(a, dtype)
    if where is True:
        return mean(a, axis=axis, keepdims=keepdims)
    return mean_of_chosen(a, axis, keepdims, where, "Mean of empty slice")


# Variances.


def spread(x: Array, axis: Axis, ddof: float) -> Array:
    """(x - mean) / (n - ddof), the gradient of half the variance (NaN where n <= ddof)."""
    freedom = entries(x, axis, True) - ddof
    d = x - np.mean(x, axis=axis, keepdims=True)
    d = divided(d, freedom if anywhere(freedom > 0) else math.nan)
    return np.conjugate(d) if d.dtype.kind == "c" else d


def freedoms(shape: Shape) -> Any:
    """The calls of `var` and `std` that are not NaN."""
    for params in axes(shape):
        n = count(shape, params["axis"])
        yield from ({**params, "ddof": ddof} for ddof in (0, 1) if n > ddof)


var = primitive(
    np.var,
    lambda g, out, x, axis=None, ddof=0, keepdims=False: (
        unreduce(g, axis, keepdims) * 2 * spread(x, axis, ddof)
    ),
    notation=r"\operatorname{{var}}_{{{axis}}} {0}",
    domain=Domain(params=freedoms),
    batch=reduction,
)


def not_zero(out: Array) -> Array:
    """A divisor: 1 in place of 0."""
    zero = out == 0
    return out + zero if anywhere(zero) else out


std = primitive(
    np.std,
    even(
        lambda g, out, x, axis=None, ddof=0, keepdims=False: (
            unreduce(g / not_zero(out), axis, keepdims) * spread(x, axis, ddof)
        ),
        lambda q, out, x, axis=None, ddof=0, keepdims=False: (
            unreduce(q, axis, keepdims) * spread(x, axis, ddof)
        ),
    ),
    notation=r"\operatorname{{std}}_{{{axis}}} {0}",
    domain=Domain(params=freedoms, kink=ties),
    choice="σ' = 0 at σ = 0",
    batch=reduction,
)


@numpy_call(np.var, usual=var)
def var_of(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Array = True,
    mean: Array = None,
    correction: float | None = None,
) -> Array:
    """`np.var`, also of chosen entries, and around a given `mean` (of kept axes, maybe a Value)."""
    if correction is not None and ddof != 0:
        raise ValueError("var: give ddof or correction, which mean the same, not both")
    a, ddof = as_array(a, dtype), ddof if correction is None else correction
    if where is True and mean is None:
        return var(a, axis=axis, ddof=ddof, keepdims=keepdims)
    d = chosen(a - (mean_of_chosen(a, axis, True, where) if mean is None else mean), where, 0)
    square = np.real(d * np.conjugate(d)) if d.dtype.kind == "c" else d * d
    total = sum(wide(square), axis=axis, keepdims=keepdims)
    warning = "Degrees of freedom <= 0 for slice"
    return per_entry(total, square, axis, keepdims, where, ddof, warning)


@numpy_call(np.std, usual=std)
@wraps(var_of)
def std_of(*args: Any, **kwargs: Any) -> Array:
    """`np.std`, with all that `var_of` takes."""
    return deviation(var_of(*args, **kwargs))


def deviation(variance: Array) -> Array:
    """√variance, with gradient 0 at 0."""
    zero = variance == 0
    return np.sqrt(variance + zero) * ~zero


# Extrema.


def number_of(hit: Array, axis: Axis, dtype: Any) -> Array:
    """How many entries hit, as a divisor of numbers of `dtype`; float16 ends at 65504."""
    return np.sum(hit, axis=axis, keepdims=True).astype(np.result_type(dtype, np.float32))


def extremum_rule(
    g: Array, out: Array, x: Array, axis: Axis = None, keepdims: bool = False
) -> Array:
    hit = x == unreduce(out, axis, keepdims)
    if anywhere(out != out):
        hit = hit | (x != x)  # a NaN, if there is one, was chosen
    hits = number_of(hit, axis, x.dtype)
    return only(hit, unreduce(g, axis, keepdims) / hits)


def nan_extremum_rule(
    g: Array, out: Array, x: Array, axis: Axis = None, keepdims: bool = False
) -> Array:
    """NaN equals nothing: it hits no extremum, and nothing hits that of NaNs only."""
    hit = x == unreduce(out, axis, keepdims)
    hits = number_of(hit, axis, x.dtype)
    return only(hit, unreduce(g, axis, keepdims) / hits)


def not_empty(shape: Shape) -> Any:
    """An empty set has no largest element."""
    return axes(shape) if math.prod(shape) else ()


EXTREMUM = Domain(params=not_empty, kink=ties)
SHARE = "entries that tie share the gradient equally"
max = primitive(
    np.max,
    extremum_rule,
    notation=r"\max_{{{axis}}} {{{0}}}_{{{indices}}}",
    domain=EXTREMUM,
    choice=SHARE,
    batch=reduction,
)
min = primitive(
    np.min,
    extremum_rule,
    notation=r"\min_{{{axis}}} {{{0}}}_{{{indices}}}",
    domain=EXTREMUM,
    choice=SHARE,
    batch=reduction,
)
nanmax = primitive(np.nanmax, nan_extremum_rule, domain=EXTREMUM, choice=SHARE, batch=reduction)
nanmin = primitive(np.nanmin, nan_extremum_rule, domain=EXTREMUM, choice=SHARE, batch=reduction)


def extremum(op: Primitive, lowest: float) -> Callable[..., Array]:
    """`op` with NumPy's arguments. `lowest` loses against every entry."""

    def call(
        a: Array,
        axis: Axis = None,
        out: None = None,
        keepdims: bool = False,
        initial: Array = None,
        where: Array = True,
    ) -> Array:
        if initial is None:
            if where is not True:
                raise ValueError(f"{op.name} of what `where` leaves needs an `initial`")
            return op(a, axis=axis, keepdims=keepdims)
        rows = lines(chosen(a, where, lowest if is_inexact(a.dtype) else initial), axis)
        more = np.broadcast_to(initial, (*rows.shape[:-1], 1)).astype(a.dtype)
        entries = np.concatenate([rows, more], axis=-1)
        return with_axes(op(entries, axis=-1), a.shape, axis, keepdims)

    return call


max_of = numpy_call(np.max, np.amax, usual=max)(extremum(max, -np.inf))
min_of = numpy_call(np.min, np.amin, usual=min)(extremum(min, np.inf))
nanmax_of = numpy_call(np.nanmax, usual=nanmax)(extremum(nanmax, np.nan))
nanmin_of = numpy_call(np.nanmin, usual=nanmin)(extremum(nanmin, np.nan))


@numpy_call(np.ptp)
def ptp(a: Array, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """The largest entry minus the smallest."""
    return max(a, axis=axis, keepdims=keepdims) - min(a, axis=axis, keepdims=keepdims)


# Products.


def product_before(x: Array) -> Array:
    """For each entry along the last axis, the product of those before it."""
    one = created(np.ones, (*x.shape[:-1], 1), x.dtype, like=x)
    return np.cumprod(np.concatenate([one, x], axis=-1), axis=-1)[..., :-1]


def product_of_others(out: Array, x: Array, axis: Axis) -> Array:
    """For each entry of `x`, the product of all other entries that it is multiplied with."""
    rounded = np.abs(out) < finfo(out.dtype).tiny  # by more than a last bit, or 0
    lost = rounded | ~np.isfinite(out)
    if not anywhere(lost):  # 5 µs for 300 entries, the rest takes 70
        return out / x
    # Not so with a 0 or after an under- or overflow.
    away = reduced(x.shape, axis)
    rest = [a for a in range(x.ndim) if a not in away]
    rows = lines(x, axis)
    others = product_before(rows) * np.flip(product_before(np.flip(rows, -1)), -1)
    moved = np.reshape(others, [x.shape[a] for a in rest + away])
    back = np.transpose(moved, np.argsort(rest + away).tolist())
    return np.where(lost, back, out / np.where(lost, 1, x))  # to the bit as above, where it may be


prod = primitive(
    np.prod,
    lambda g, out, x, axis=None, keepdims=False: (
        unreduce(g, axis, keepdims) * product_of_others(unreduce(out, axis, keepdims), x, axis)
    ),
    notation=r"\prod_{{{axis}}} {{{0}}}_{{{indices}}}",
    domain=REDUCTION._replace(make=lambda x: (with_zeros(x),)),
    batch=reduction,
)


@numpy_call(np.prod, usual=prod)
def prod_of(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Array = None,
    where: Array = True,
) -> Array:
    """`np.prod`, also of chosen entries, and from an `initial` value that may be a Value."""
    product = prod(chosen(as_array(a, dtype), where, 1), axis=axis, keepdims=keepdims)
    return product if initial is None else product * initial


# Running sums and products.


def running(shape: Shape) -> Any:
    """The calls of a running sum."""
    return [{"axis": a} for a in (None, *range(-len(shape), len(shape)))]


RUNNING = Domain(params=running, complex=True)


def running_sum_rule(g: Array, out: Array, x: Array, axis: int | None = None) -> Array:
    """What comes at or after an entry: the running sum from the other end."""
    backwards = np.flip(np.cumsum(np.flip(g, axis or 0), axis=axis or 0), axis or 0)
    return np.reshape(backwards, x.shape)


cumsum = primitive(np.cumsum, running_sum_rule, domain=RUNNING, batch=along)


@numpy_call(np.cumsum, usual=cumsum)
def cumsum_of(a: Array, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """`np.cumsum`, also in another dtype."""
    return cumsum(as_array(a, dtype), axis=axis)


def coming_back(g: Array, a: Array) -> Array:
    """The s with s_i = g_i + a_i s_{i+1} along the last axis, from 0 after its end.

    After a step s_i holds what comes from the next d places, and a_i the product on the way there;
    the next step doubles d.
    """
    d = 1
    while d < g.shape[-1]:
        near, way, far = g[..., :-d], a[..., :-d], g[..., d:]
        nearer = near + way * far
        a = np.concatenate([way * a[..., d:], a[..., -d:]], axis=-1)
        g = np.concatenate([nearer, g[..., -d:]], axis=-1)
        d *= 2
    return g


def running_product_rule(g: Array, out: Array, x: Array, axis: int | None = None) -> Array:
    """∂(x₁···x_k)/∂x_i is what stands before x_i by what stands after it up to k: no division."""
    if axis is None or not x.ndim:
        return np.reshape(running_product_rule(g, out, np.ravel(x), axis=0), x.shape)
    x, g = np.moveaxis(x, axis, -1), np.moveaxis(g, axis, -1)
    s = coming_back(g, np.concatenate([x[..., 1:], x[..., :1]], axis=-1))
    before = product_before(x)
    return np.moveaxis(s * before, -1, axis)


cumprod = primitive(
    np.cumprod,
    running_product_rule,
    domain=RUNNING._replace(make=lambda x: (with_zeros(x),)),
    batch=along,
)


@numpy_call(np.cumprod, usual=cumprod)
def cumprod_of(a: Array, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """`np.cumprod`, also in another dtype; exact with zeros."""
    return cumprod(as_array(a, dtype), axis=axis)


def cumulative(op: Primitive, identity: int) -> Callable[..., Array]:
    """`op` as in the array API: an axis must be named, and the empty result may come first."""

    def call(
        x: Array,
        /,
        *,
        axis: int | None = None,
        dtype: Any = None,
        out: None = None,
        include_initial: bool = False,
    ) -> Array:
        x = as_array(x, dtype) if np.ndim(x) else np.reshape(as_array(x, dtype), 1)
        if axis is None and x.ndim > 1:
            raise ValueError(f"cumulative {op.name} of an array of {x.ndim} axes needs an axis=")
        result = op(x, axis=axis or 0)
        if not include_initial:
            return result
        shape = list(x.shape)
        shape[axis or 0] = 1
        first = created(np.full, shape, identity, result.dtype, like=result)
        return np.concatenate([first, result], axis=axis or 0)

    return call


if hasattr(np, "cumulative_sum"):  # NumPy 2.1
    cumulative_sum = numpy_call(np.cumulative_sum)(cumulative(cumsum, 0))
    cumulative_prod = numpy_call(np.cumulative_prod)(cumulative(cumprod, 1))


# The same without NaN entries.


def without_nan(full: F) -> F:
    """`full`, which has an argument `where`, of the entries that are not NaN."""
    signature = inspect.signature(full)

    @wraps(full)
    def call(*args: Any, **kwargs: Any) -> Array:
        given = signature.bind(*args, **kwargs)
        where = given.arguments.get("where", True)
        given.arguments["where"] = present(given.arguments["a"], where)
        return full(*given.args, **given.kwargs)

    return call  # type: ignore[return-value]


nansum = implements(np.nansum)(without_nan(sum_of))
nanprod = implements(np.nanprod)(without_nan(prod_of))
nanmean = implements(np.nanmean)(without_nan(mean_of))
nanvar = implements(np.nanvar)(without_nan(var_of))
nanstd = implements(np.nanstd)(without_nan(std_of))


@numpy_call(np.nancumsum)
def nancumsum(a: Array, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """`np.cumsum`, NaN counting as 0."""
    return cumsum_of(chosen(a, present(a, True), 0), axis, dtype)


@numpy_call(np.nancumprod)
def nancumprod(a: Array, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """`np.cumprod`, NaN counting as 1."""
    return cumprod_of(chosen(a, present(a, True), 1), axis, dtype)

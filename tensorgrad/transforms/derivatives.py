"""Functions of functions: derivatives of any order, in JAX's names and argument order.

Each one runs the function on fresh leaves and sweeps back to them. Where the function also reads
Values of the outside that require grad (an argument of an enclosing transform is one), the sweep is
recorded and the results are Values: that is all there is to nesting. Otherwise they are arrays.

Arguments and results may be containers: tuples, lists, dicts, dataclasses, Modules (`tree.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import all_to_numbers, created, is_array, on_entries
from tensorgrad.engine.backprop import cotangents
from tensorgrad.engine.batching import Level
from tensorgrad.engine.calls import keeper
from tensorgrad.engine.levels import as_axis, as_examples
from tensorgrad.engine.node import Array, Node, data_of, recorded, within
from tensorgrad.engine.sparse import is_sparse
from tensorgrad.transforms.call import (
    Argnums,
    Call,
    giving_back,
    is_static,
    matching,
    one_number,
    outputs_of,
    own,
    requires_grad,
    seeds_of,
    variable,
)
from tensorgrad.transforms.tree import flatten, map_leaves
from tensorgrad.value import Value, as_constant, ones_like

Function = Callable[..., Any]


def grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """The function that computes the gradient of `f`, which returns one real number.

    `argnums`: the argument to differentiate by, or a tuple of them (then the result is a tuple).
    `has_aux`: `f` returns `(number, anything)`, and the result is `(gradient, anything)`. Keyword
    arguments are passed on as constants. The gradient has the argument's shape and containers.

    ValueError where `f` returns more than one number, TypeError where it returns none or a complex
    one, and for arguments that carry no gradient (integer arrays).

    >>> grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([ 3., 12.])
    >>> grad(grad(grad(np.sin)))(0.0)
    np.float64(-1.0)
    >>> grad(lambda p: p["a"] * p["b"])({"a": 2.0, "b": 5.0})
    {'a': np.float64(5.0), 'b': np.float64(2.0)}
    """
    both = value_and_grad(f, argnums, has_aux)

    @wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


def value_and_grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """As `grad`, but returns the pair of value (with `has_aux`: `(value, anything)`) and gradient.

    >>> value_and_grad(lambda x, y: x * y, argnums=(0, 1))(2.0, 3.0)
    (np.float64(6.0), (np.float64(3.0), np.float64(2.0)))
    """
    if not callable(f):
        raise TypeError(
            f"grad takes a function, not a {type(f).__name__}: of a Value that is there, "
            "v.backward() leaves the gradients in its leaves' .grad"
        )

    @wraps(f)
    def evaluate(*args: Any, **kwargs: Any) -> Any:
        call = Call("grad", f, args, argnums, kwargs, has_aux)
        y = one_number(call.out)
        result = call.like_args(call.gradients([y], [ones_like(y.data)]))
        value = call.outside(y)
        return ((value, call.aux) if has_aux else value), result

    return evaluate


def elementwise_grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """The derivative of a function that works entry by entry: the gradient of its sum.

    >>> elementwise_grad(np.tanh)(np.array([0.0, 1.0])).round(3)
    array([1.  , 0.42])
    """

    def total(*args: Any, **kwargs: Any) -> Any:
        out = f(*args, **kwargs)
        return (np.sum(out[0]), out[1]) if has_aux else np.sum(out)

    return grad(wraps(f)(total), argnums, has_aux)


def vjp(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    """`f(*primals)`, and the function from a cotangent of that to those of the primals, a tuple.

    The cotangent has the shape and containers of what `f` returned; ValueError otherwise. With
    `has_aux` the result is `(value, pullback, anything)`.

    >>> y, pullback = vjp(lambda a, x: a @ x, np.eye(2), np.array([1.0, 2.0]))
    >>> pullback(np.array([1.0, 0.0]))
    (array([[1., 2.],
           [0., 0.]]), array([1., 0.]))
    """
    copies = map_leaves(lambda x: x.copy() if is_array(x) else x, tuple(primals))
    argnums = tuple(range(len(primals)))
    given: tuple[Any, ...] = ("vjp", f, copies, argnums, {}, has_aux)
    call = within(keeper, giving_back(copies, primals), Call, given, {})
    outs, rebuild = outputs_of("vjp", call.out)
    value = rebuild(map(call.outside, outs))
    pullback = pullback_of(call)
    return (value, pullback, call.aux) if has_aux else (value, pullback)


def pullback_of(call: Call) -> Function:
    """The function from cotangents of what was returned to those of the arguments."""
    outs = [as_constant(y) for y in flatten(call.out)[0] if not is_static(y)]

    def pullback(cotangent: Any) -> Any:
        gs = matching("the cotangent", cotangent, call.out)
        return call.like_args(call.gradients(outs, gs))

    return pullback


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """`f(*primals)`, and its derivative in the direction of `tangents`: forward mode.

    It needs no rules of its own: the reverse sweep is linear in the cotangent that it starts with,
    and the sweep through *that* gives its transpose (J. Townsend, "A new trick for calculating
    Jacobian vector products", 2017). With `has_aux` the result is `(value, tangent, anything)`.

    >>> jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 10.0))
    (np.float64(6.0), np.float64(23.0))
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError("jvp takes tuples: jvp(f, (x,), (t,))")
    call = Call("jvp", f, primals, tuple(range(len(primals))), {}, has_aux)
    given = iter(matching("the tangents", tuple(tangents), tuple(primals)))
    ts = [None if is_static(x) else next(given) for x in call.leaves]
    outs, rebuild = outputs_of("jvp", call.out)
    value = rebuild(map(call.outside, outs))
    tangent = rebuild(Forward(call, outs).along(ts))
    return (value, tangent, call.aux) if has_aux else (value, tangent)


def jacobian(
    f: Function, argnums: Argnums = 0, has_aux: bool = False, mode: str = "reverse"
) -> Function:
    """All derivatives of what `f` returns: for each array, one of shape (*out.shape, *x.shape).

    `mode`: "reverse" sweeps once with all cotangents side by side (for few outputs), "forward" with
    all tangents (for few inputs). Containers: those of the result, in each those of the argument.
    For complex results `f` must be analytic.

    >>> jacobian(lambda x: np.array([2.0, 3.0]) * x**2)(np.array([1.0, 2.0]))
    array([[ 4.,  0.],
           [ 0., 12.]])
    """
    if mode not in ("reverse", "forward"):
        raise ValueError(f"jacobian: mode={mode!r}; there are 'reverse' and 'forward'")

    @wraps(f)
    def all_derivatives(*args: Any, **kwargs: Any) -> Any:
        call = Call("jacobian", f, args, argnums, kwargs, has_aux)
        outs, rebuild = outputs_of("jacobian", call.out)
        rows = by_columns(call, outs) if mode == "forward" else by_rows(call, outs)
        result = rebuild([call.like_args(row) for row in rows])
        return (result, call.aux) if has_aux else result

    return all_derivatives


def hessian(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """The second derivatives of `f`, which returns one number: the Jacobian of its gradient.

    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([3.0, 5.0]))
    array([[10.,  6.],
           [ 6.,  0.]])
    """
    return jacobian(grad(f, argnums, has_aux), argnums, has_aux)


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of `f` at `primals` times `tangents`, without the Hessian: two sweeps.

    For one primal the product alone, for several a tuple.

    >>> hvp(lambda x: x[0] ** 2 * x[1], (np.array([3.0, 5.0]),), (np.array([1.0, 0.0]),))
    array([10.,  6.])
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError("hvp takes tuples: hvp(f, (x,), (v,))")
    gradient = grad(f, tuple(range(len(primals))))
    call = Call("hvp", gradient, primals, tuple(range(len(primals))), {}, False)
    products = pullback_of(call)(tuple(tangents))  # H is symmetric: its transpose is as good
    return products[0] if len(primals) == 1 else products


# Forward mode, and Jacobians.


def generic(y: Value) -> Array:
    """A cotangent of `y` that is nowhere 0 and cancels nowhere: the sweep takes 0 for a mask."""

    def numbers(x: Array) -> Array:
        each = 1 + created(np.arange, x.size, like=y) * GOLDEN % 1
        return np.reshape(each, x.shape).astype(y.dtype)[()]

    return on_entries(numbers, y.data)


GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, spread evenly


class Forward:
    """Forward mode: the pullback of a call, recorded as a function of its cotangents `us`."""

    def __init__(self, call: Call, outs: Sequence[Any]) -> None:
        outs = [y if is_static(y) else as_constant(y) for y in outs]
        self.call, self.outs = call, outs
        self.us = [variable(generic(y)) if requires_grad(y) else None for y in outs]
        us = [u for u in self.us if u is not None]
        self.nodes = [u.node for u in us]
        self.pulled: list[Value | None] = [None] * len(call.variables)
        if us and call.nodes:
            found = cotangents(seeds_of(outs, self.us), True, call.nodes)
            self.pulled = [None if v is None else found.get(v.node) for v in call.variables]

    def along(self, tangents: Sequence[Any]) -> list[Array]:
        """The tangent of each output."""
        pairs = [(g, t) for g, t in zip(self.pulled, tangents) if requires_grad(g)]
        found: dict[Node, Array] = {}
        keep = False
        if pairs:
            h = recorded(product, pairs)
            seeds = {h.node: ones_like(h.data)}
            found, keep = self.call.sweep(seeds, [h], tangents, self.nodes)
        ts = [None if u is None else found.get(u.node) for u in self.us]
        return [
            None if is_static(y) else self.call.result(t, as_constant(y), keep and t is not None)
            for y, t in zip(self.outs, ts)
        ]


def product(pairs: Sequence[tuple[Any, Any]]) -> Value:
    """The sum of the products of all entries."""
    return sum((np.sum(g * t) for g, t in pairs), start=Value(0.0, requires_grad=False))


def by_rows(call: Call, outs: Sequence[Any]) -> list[list[Array]]:
    """The Jacobian of each output by each leaf, in one sweep with a cotangent for each row."""
    rows = []
    for y in outs:
        if is_static(y):
            rows.append([None] * len(call.variables))
            continue
        y = as_constant(y)
        found = sweep_of_rows(call, y, 1)
        if y.dtype.kind == "c":  # of i times a row, a real leaf hears the imaginary part
            turned = sweep_of_rows(call, y, -1j) if any(map(is_real, call.variables)) else found
            pairs = zip(call.variables, found, turned)
            found = [a + 1j * b if is_real(v) else a for v, a, b in pairs]
        rows.append(found)
    return rows


def of_dense(vs: Iterable[Any], what: str = "a Jacobian or Hessian") -> None:
    """NotImplementedError for sparse arrays: a Jacobian has an axis for each of theirs."""
    if any(map(is_sparse, vs)):
        raise NotImplementedError(
            f"{what} of sparse arrays: differentiate by their entries, values of "
            "tensorgrad.scipy.sparse.csr_array((values, indices, indptr))"
        )


def sweep_of_rows(call: Call, y: Value, unit: complex) -> list[Array]:
    of_dense((y, *call.variables))
    if y.size == 1:  # a gradient; alone it is found ten times as fast
        found = call.gradients([y], [unit * ones_like(y.data)])
        return [g if g is None else np.reshape(g, y.shape + g.shape) for g in found]
    level = Level(y.size)
    basis = unit * created(np.eye, y.size, dtype=y.dtype, like=y).reshape(y.size, *y.shape)
    found = call.gradients([y], [as_examples(as_constant(basis), level=level)])
    return [g if g is None else unrolled(g, level, 0, y.shape) for g in found]


def is_real(v: Value | None) -> bool:
    return v is not None and v.dtype.kind != "c"


def by_columns(call: Call, outs: Sequence[Any]) -> list[list[Array]]:
    """The same in one sweep with a tangent for each column."""
    forward = Forward(call, outs)
    columns = []
    for i, v in enumerate(call.variables):
        if v is None:
            columns.append([None] * len(outs))
            continue
        column = sweep_of_columns(forward, i, v, 1)
        if not is_real(v):  # of a real output the derivative by x + iy is by x, less i times by y
            mixed = not all(map(np.iscomplexobj, outs))
            turned = sweep_of_columns(forward, i, v, 1j) if mixed else column
            pairs = zip(outs, column, turned)
            column = [a if a is None or np.iscomplexobj(y) else a - 1j * b for y, a, b in pairs]
        columns.append(column)
    return [list(row) for row in zip(*columns)]


def sweep_of_columns(forward: Forward, i: int, v: Value, unit: complex) -> list[Array]:
    of_dense((v, *forward.outs))
    zeros = [
        0.0 if v is None else created(np.zeros, v.shape, v.dtype, like=v)
        for v in forward.call.variables
    ]
    level = Level(v.size)
    basis = unit * created(np.eye, v.size, dtype=v.dtype, like=v).reshape(v.size, *v.shape)
    found = forward.along(
        [*zeros[:i], as_examples(as_constant(basis), level=level), *zeros[i + 1 :]]
    )
    return [t if t is None else unrolled(t, level, -1, v.shape) for t in found]


def unrolled(x: Array, level: Level, axis: int, shape: tuple[int, ...]) -> Array:
    """`x` with the examples of `level` along axes of `shape`, the first or the last ones."""
    x = as_axis(x, level=level, axis=axis)
    inner = x.shape[1:] if axis == 0 else x.shape[:-1]
    x = np.reshape(x, shape + inner if axis == 0 else inner + shape)[()]
    return x if requires_grad(x) else own(data_of(x))


def stop_gradient(x: Any) -> Any:
    """`x` as a constant: the same data, no gradient; also of Values in containers.

    >>> x = Value(3.0)
    >>> (x * stop_gradient(x)).backward()
    >>> x.grad
    np.float64(3.0)
    """
    return map_leaves(lambda leaf: leaf.detach() if isinstance(leaf, Value) else leaf, x)


def compute(*values: Any) -> tuple[Any, ...]:
    """Loss and gradients of chunked arrays as NumPy's, in one pass: what they share is done once,
    and the data are read once.

    `values`: Values, Dask's arrays, and containers of these; a tuple with what each holds, with
    NumPy's arrays in place of Dask's and all else as it is. It runs where Dask does: in threads, in
    processes, on a cluster. Needs the extra `dask`.

    UserWarning where a part of it was computed before, alone.

    >>> w = Value([1.0, 2.0])
    >>> loss = (w**2).sum()
    >>> loss.backward()
    >>> compute(loss, {"w": w.grad})
    (np.float64(5.0), {'w': array([2., 4.])})
    """
    parts = [flatten(value) for value in values]
    leaves = [data_of(leaf) for found, _ in parts for leaf in found]
    numbers = iter(all_to_numbers(leaves, warn=True))
    return tuple(rebuild([next(numbers) for _ in found]) for found, rebuild in parts)

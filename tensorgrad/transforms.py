"""Functions of functions: derivatives of any order, in JAX's names and argument order.

Each one runs the function on fresh leaves and sweeps back to them. Where the function also reads
Values of the outside that require grad (an argument of an enclosing transform is one), the sweep is
recorded and the results are Values: that is all there is to nesting. Otherwise they are arrays.

Arguments and results may be containers: tuples, lists, dicts, dataclasses, Modules (`tree.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from operator import attrgetter
from typing import Any

import numpy as np

from tensorgrad.arguments import operand
from tensorgrad.batching import Level
from tensorgrad.node import Array, Node, differentiating, leaf, record, recorder, recording
from tensorgrad.ops.identity import alias, enter, leave
from tensorgrad.repair import GOLDEN
from tensorgrad.tree import Rebuild, flatten, map_leaves, parameters_in, paths_of
from tensorgrad.value import Value, as_constant, cotangents, ones_like, plain

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]


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
    own = map_leaves(lambda x: x.copy() if isinstance(x, np.ndarray) else x, tuple(primals))
    call = Call("vjp", f, own, tuple(range(len(primals))), {}, has_aux)
    outs, rebuild = flatten(call.out)
    value = rebuild(map(call.outside, outs))
    pullback = pullback_of(call)
    return (value, pullback, call.aux) if has_aux else (value, pullback)


def pullback_of(call: Call) -> Function:
    """The function from cotangents of what was returned to those of the arguments."""
    outs = [y for y in flatten(call.out)[0] if not is_static(y)]

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
    outs, rebuild = flatten(call.out)
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
        outs, rebuild = flatten(call.out)
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


# One call of a function on fresh leaves.


class Call:
    """What `f` returned for variables in place of the arguments `argnums`, and the way back.

    `leaves`: the arrays that those arguments hold. `out`, `aux`: the results.
    """

    def __init__(
        self,
        name: str,
        f: Function,
        args: Sequence[Any],
        argnums: Argnums,
        kwargs: dict[str, Any],
        has_aux: bool,
    ) -> None:
        self.since = now()
        args, self.single = list(args), not isinstance(argnums, tuple)
        self.leaves: list[Any] = []
        self.variables: list[Value | None] = []
        self.parts: list[tuple[int, Rebuild]] = []
        for i in positions(name, argnums, len(args)):
            leaves, rebuild = flatten(args[i])
            lone = len(leaves) == 1 and leaves[0] is args[i]
            leaves = as_arrays(args[i], leaves)
            # a name or a flag in a container is a setting; on its own it is a mistake
            values = [None if is_static(x) and not lone else variable(x) for x in leaves]
            args[i] = rebuild([x if v is None else v for x, v in zip(leaves, values)])
            self.leaves += leaves
            self.variables += values
            self.parts.append((len(leaves), rebuild))
        self.nodes = [v.node for v in self.variables if v is not None]
        self.recorded = recorder.get() is not None
        token = differentiating.set(True)
        try:
            with recording(recorder.get() or record):
                result = f(*args, **kwargs)
        finally:
            differentiating.reset(token)
        if has_aux and not (isinstance(result, tuple) and len(result) == 2):
            raise TypeError(
                f"{name}: with has_aux=True the function returns a pair, not {result!r}"
            )
        self.out, aux = result if has_aux else (result, None)
        self.aux = map_leaves(self.outside, aux) if has_aux else None

    def gradients(self, ys: Sequence[Any], gs: Sequence[Array]) -> list[Array | None]:
        """The cotangent of each leaf, given those of `ys`; None for leaves that hold no numbers."""
        seeds = seeds_of(ys, gs)
        keep = self.recorded and (
            bool(outer_nodes(ys, self.since)) or any(requires_grad(g) for g in seeds.values())
        )
        with recording((recorder.get() or record) if keep else None):
            found = cotangents(seeds, keep, self.nodes) if self.nodes else {}
        results = [
            v if v is None else self.result(found.get(v.node), v, keep) for v in self.variables
        ]
        shared = {id(g) for g in seeds.values()}
        for i, g in enumerate(results):  # each is an array of its own
            if isinstance(g, np.ndarray) and (g.base is not None or id(g) in shared):
                results[i] = g.copy()
            shared.add(id(g))
        return results

    def result(self, g: Array | None, x: Value, keep: bool) -> Array:
        """`g`, or zeros where there is none."""
        if g is None:
            g = np.zeros(x.shape, x.dtype)[()]
            return as_constant(g) if keep else g
        return g

    def outside(self, y: Any) -> Any:
        """What the caller gets of a result: data, or the Value where it depends on the outside."""
        if not isinstance(y, Value) or (self.recorded and outer_nodes([y], self.since)):
            return y
        data = y.data  # not what a variable holds: that is read-only, and maybe the caller's own
        return data.copy() if getattr(data, "base", None) is not None else plain(data)

    def like_args(self, results: Iterable[Any]) -> Any:
        """One result for each leaf, in the containers of the arguments."""
        rest = iter(results)
        made = [rebuild([next(rest) for _ in range(n)]) for n, rebuild in self.parts]
        return made[0] if self.single else tuple(made)


def now() -> int:
    """A serial that is larger than those of all nodes so far."""
    return leaf(0).serial


def outer_nodes(ys: Iterable[Any], since: int) -> list[Node]:
    """The nodes from before `since` that Values `ys` were computed from, in order."""
    found: set[Node] = set()
    for y in filter(requires_grad, ys):
        newer = [y.node] if y.node.serial > since else []
        if not newer:
            found.add(y.node)
        seen = set(newer)
        for node in newer:
            for x in node.operands:
                if x is not None and x.requires_grad and x not in seen:
                    seen.add(x)
                    (newer.append if x.serial > since else found.add)(x)
    return sorted(found, key=attrgetter("serial"))


def positions(name: str, argnums: Argnums, n: int) -> list[int]:
    """The arguments that `argnums` names, of `n`."""
    chosen = []
    for i in argnums if isinstance(argnums, tuple) else (argnums,):
        if isinstance(i, bool) or not isinstance(i, (int, np.integer)):
            raise TypeError(f"{name}: argnums is an int or a tuple of ints, not {argnums!r}")
        if not -n <= i < n:
            raise ValueError(
                f"{name}: there is no argument {i}, the function was called with {n} by position "
                "(those by keyword are constants)"
            )
        if i % n in chosen:
            raise ValueError(f"{name}: argnums={argnums!r} names an argument twice")
        chosen.append(int(i % n))
    return chosen


def variable(x: Any) -> Value:
    """A leaf with the data of `x`, read-only; of a Value in a graph a new name for it."""
    if requires_grad(x):
        with recording(recorder.get() or record):
            value: Value = alias(x)
            return value
    if isinstance(x, np.ndarray):
        x = operand(x, "a transform")  # no masked arrays
    if getattr(x, "dtype", np.dtype(float)).kind not in "fc":
        raise TypeError(
            f"{x.dtype} data carries no gradient: pass floats, or leave it out of argnums (and of "
            "the containers there)"
        )
    if isinstance(x, np.ndarray) and x.ndim:
        data = x.view()
        data.flags.writeable = False  # who changes his argument in place hears of it
        return Value.of(leaf(data, requires_grad=True))
    return Value(x)


def requires_grad(x: Any) -> bool:
    return isinstance(x, Value) and x.requires_grad


def is_static(x: Any) -> bool:
    """Whether a leaf of a container is a setting rather than a number: a name, a flag, nothing."""
    return x is None or isinstance(x, (bool, str, bytes)) or callable(x)


def one_number(result: Any) -> Value:
    """The result of a function that has a gradient. TypeError or ValueError if it is none."""
    if isinstance(result, (tuple, list, dict)) or result is None:
        kind = type(result).__name__
        raise TypeError(
            f"grad needs a function that returns one number, this one returned a {kind}: "
            "return (number, the rest) and pass has_aux=True, or use tg.vjp or tg.jacobian"
        )
    y = as_constant(result)
    if y.shape:
        raise ValueError(
            f"grad needs a function that returns one number, this one returned shape {y.shape}: "
            "sum it, or use tg.elementwise_grad, tg.jacobian or tg.vjp"
        )
    if y.dtype.kind == "c":
        raise TypeError(
            "grad needs a function that returns a real number, this one returned a complex one: "
            "take np.real, np.imag or np.abs of it, or use tg.vjp or tg.jacobian"
        )
    return y


def matching(what: str, tree: Any, like: Any) -> list[Any]:
    """The numbers of `tree`, which has the containers, shapes and kinds of those of `like`.

    ValueError otherwise; TypeError for complex numbers that belong to real ones.
    """
    found, expected = numbers_of(tree), numbers_of(like)
    places = [
        [p for p, x in zip(paths_of(t), flatten(t)[0]) if not is_static(x)] for t in (tree, like)
    ]
    shapes = [np.shape(x) for x in found], [np.shape(x) for x in expected]
    if shapes[0] != shapes[1] or places[0] != places[1]:
        raise ValueError(
            f"{what} must have shapes {shapes[1]}, in the containers of what they belong to, not "
            f"{shapes[0]}"
        )
    if any(np.iscomplexobj(x) and not np.iscomplexobj(y) for x, y in zip(found, expected)):
        raise TypeError(f"{what} must be real where what it belongs to is")
    return found


def numbers_of(tree: Any) -> list[Any]:
    """The leaves of `tree` that are no settings."""
    return [x for x in as_arrays(tree, flatten(tree)[0]) if not is_static(x)]


def as_arrays(tree: Any, leaves: list[Any]) -> list[Any]:
    """The leaves of `tree`, with the data of a Module's parameters: it is a container of arrays.

    (Of the parameters themselves where a transform around this one differentiates by them.)
    """
    if differentiating.get() or (len(leaves) == 1 and leaves[0] is tree):
        return leaves
    parameters = parameters_in(tree)
    return [x.data if id(x) in parameters else x for x in leaves]


def seeds_of(ys: Sequence[Any], gs: Sequence[Any]) -> dict[Node, Array]:
    """The cotangent of each node among `ys`; in the dtype of its data."""
    seeds: dict[Node, Array] = {}
    for y, g in zip(ys, gs):
        if requires_grad(y):
            g = g if isinstance(g, Value) else np.asarray(g, y.dtype)[()]
            seeds[y.node] = seeds[y.node] + g if y.node in seeds else g
    return seeds


def generic(y: Value) -> Array:
    """A cotangent of `y` that is nowhere 0 and cancels nowhere: the sweep takes 0 for a mask."""
    numbers = 1 + np.arange(y.size) * GOLDEN % 1
    return np.reshape(numbers, y.shape).astype(y.dtype)[()]


class Forward:
    """Forward mode: the pullback of a call, recorded as a function of its cotangents `us`."""

    def __init__(self, call: Call, outs: Sequence[Any]) -> None:
        self.call, self.outs = call, outs
        self.us = [variable(generic(y)) if requires_grad(y) else None for y in outs]
        us = [u for u in self.us if u is not None]
        self.nodes = [u.node for u in us]
        self.pulled: list[Value | None] = [None] * len(call.variables)
        if us and call.nodes:
            with recording(recorder.get() or record):
                found = cotangents(seeds_of(outs, self.us), True, call.nodes)
            self.pulled = [None if v is None else found.get(v.node) for v in call.variables]

    def along(self, tangents: Sequence[Any]) -> list[Array]:
        """The tangent of each output."""
        pairs = [(g, t) for g, t in zip(self.pulled, tangents) if requires_grad(g)]
        found: dict[Node, Array] = {}
        keep = False
        if pairs:
            with recording(recorder.get() or record):
                h = sum((np.sum(g * t) for g, t in pairs), start=Value(0.0, requires_grad=False))
            keep = self.call.recorded and (
                bool(outer_nodes([h], self.call.since)) or any(map(requires_grad, tangents))
            )
            with recording((recorder.get() or record) if keep else None):
                found = cotangents({h.node: ones_like(h.data)}, keep, self.nodes)
        return [
            (None if is_static(y) else np.zeros_like(y))
            if u is None
            else self.call.result(found.get(u.node), as_constant(y), keep)
            for y, u in zip(self.outs, self.us)
        ]


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


def sweep_of_rows(call: Call, y: Value, unit: complex) -> list[Array]:
    if y.size == 1:  # a gradient; alone it is found ten times as fast
        found = call.gradients([y], [unit * ones_like(y.data)])
        return [g if g is None else np.reshape(g, y.shape + g.shape) for g in found]
    level = Level(y.size)
    basis = unit * np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
    found = call.gradients([y], [enter(as_constant(basis), level=level)])
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
    zeros = [0.0 if v is None else np.zeros(v.shape, v.dtype) for v in forward.call.variables]
    level = Level(v.size)
    basis = unit * np.eye(v.size, dtype=v.dtype).reshape(v.size, *v.shape)
    found = forward.along([*zeros[:i], enter(as_constant(basis), level=level), *zeros[i + 1 :]])
    return [t if t is None else unrolled(t, level, -1, v.shape) for t in found]


def unrolled(x: Array, level: Level, axis: int, shape: tuple[int, ...]) -> Array:
    """`x` with the examples of `level` along axes of `shape`, the first or the last ones."""
    x = leave(x, level=level, axis=axis)
    inner = x.shape[1:] if axis == 0 else x.shape[:-1]
    x = np.reshape(x, shape + inner if axis == 0 else inner + shape)[()]
    return x if requires_grad(x) or not isinstance(x, Value) else plain(x.data)


def stop_gradient(x: Any) -> Any:
    """`x` as a constant: the same data, no gradient; also of Values in containers.

    >>> x = Value(3.0)
    >>> (x * stop_gradient(x)).backward()
    >>> x.grad
    np.float64(3.0)
    """
    return map_leaves(lambda leaf: leaf.detach() if isinstance(leaf, Value) else leaf, x)

"""What is checked: a function of arrays together with a gradient that somebody claims for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import all_to_numbers, elsewhere, kind_of, to_numbers
from tensorgrad.engine.backprop import topological_order
from tensorgrad.engine.device import transfer
from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.graph.local import choice_in_force
from tensorgrad.testing.vectors import listed
from tensorgrad.transforms.call import is_static, positions
from tensorgrad.transforms.derivatives import jvp, of_dense, vjp
from tensorgrad.transforms.tree import flatten, paths_of
from tensorgrad.value import Value

Array = Any
Function = Callable[..., Any]
POSITIONAL = inspect.Parameter.POSITIONAL_ONLY


@dataclass(frozen=True)
class Subject:
    """A function and its derivatives, as plain functions of arrays, whoever computes them.

    `f(*args)` returns an array, or a tuple of arrays. `vjp(g, *args)` returns a tuple, for each
    argument the gradient of Re sum(g * f(*args)); of x + iy that is ∂/∂x - i ∂/∂y. `jvp(ts, *args)`
    returns the derivative of `f` in the direction of `ts`, one for each argument.
    `second(g, ws)` returns the Subject of sum(ws * vjp(g, *args)), for higher orders.
    `names`: of the arguments, by default what `f` calls them. `choice(*args)` names a stated choice
    that is in force there, or nothing.

    >>> cube = Subject(lambda x: x**3, lambda g, x: (3 * g * x**2,))
    >>> from tensorgrad import testing
    >>> testing.check(cube, np.array([1.0, 2.0])).failures
    []
    """

    f: Function
    vjp: Function
    jvp: Function | None = None
    second: Callable[[Any, Sequence[Array]], Subject] | None = None
    name: str = ""
    names: Sequence[str] = ()
    choice: Callable[..., str] | None = None

    def __str__(self) -> str:
        return self.name or name_of(self.f)

    def argument(self, k: int) -> str:
        """The name of argument `k`."""
        return (self.names or names_of(self.f, k + 1))[k]


def names_of(f: Function, count: int) -> Sequence[str]:
    """What `f` calls its first arguments."""
    try:
        parameters = list(signature_of(f).parameters.values())[:count]
    except (ValueError, TypeError):  # of some functions written in C
        parameters = []
    names = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
    return [*names, *(f"argument {k}" for k in range(len(names), count))]


def signature_of(f: Function) -> inspect.Signature:
    """What `f` takes. NumPy's ufuncs do not say so before NumPy 2.4."""
    try:
        return inspect.signature(f)
    except ValueError:
        if not isinstance(f, np.ufunc):
            raise
        names = ["x"] if f.nin == 1 else [f"x{k}" for k in range(1, f.nin + 1)]
        return inspect.Signature([inspect.Parameter(x, POSITIONAL) for x in names])


def name_of(f: Any) -> str:
    return str(getattr(f, "__name__", None) or getattr(f, "name", None) or type(f).__name__)


def from_values(
    f: Function, name: str = "", wrt: Sequence[int] | None = None, names: Sequence[str] = ()
) -> Subject:
    """A function of Values, with the derivatives that tensorgrad computes, to any order.

    `wrt`: the arguments to differentiate by; by default all that hold floats. `names`: theirs.

    >>> from_values(np.sin).vjp(1.0, 0.0)
    (np.float64(1.0),)
    """

    def opened(args: Sequence[Any]) -> tuple[list[int], Function, list[Any]]:
        chosen = [i for i, x in enumerate(args) if is_float(x)] if wrt is None else list(wrt)

        def free(*xs: Array) -> Any:
            inside = dict(zip(chosen, xs))
            return f(*(inside.get(i, x) for i, x in enumerate(args)))

        return chosen, free, [args[i] for i in chosen]

    def pulled(g: Any, *args: Array) -> tuple[Array | None, ...]:
        chosen, free, xs = opened(args)
        found = dict(zip(chosen, vjp(free, *xs)[1](g)))
        return tuple(found.get(i) for i in range(len(args)))

    def pushed(ts: Sequence[Array], *args: Array) -> Any:
        chosen, free, xs = opened(args)
        return jvp(free, tuple(xs), tuple(ts[i] for i in chosen))[1]

    def projected(g: Any, ws: Sequence[Array]) -> Subject:
        def h(*args: Array) -> Array:
            pairs = [(w, d) for w, d in zip(ws, pulled(g, *args)) if d is not None]
            terms = [np.sum(np.where(w == 0, 0, w * d)) for w, d in pairs]  # 0 at an edge: d is ∞
            return np.real(sum(terms, start=np.float64(0)))

        return from_values(h, name or name_of(f), wrt, names or names_of(f, len(ws)))

    def choice(*args: Array) -> str:
        _, free, xs = opened(args)
        outs = [y.node for y in listed(free(*map(Value, xs))) if isinstance(y, Value)]
        for node in topological_order(outs):
            for i, x in enumerate(node.operands):
                stated = choice_in_force(node, i) if x is not None and x.requires_grad else None
                if stated and node.op:
                    return f"{node.op.name}: {stated}"
        return ""

    called = name or name_of(f)
    return Subject(numbers(f), numbers(pulled), numbers(pushed), projected, called, names, choice)


def numbers(f: Function) -> Function:
    """`f` with the data of the Values that it returns, as it does if it reads Values elsewhere;
    computed, where they are lazy."""

    def data(result: Any) -> Any:
        if isinstance(result, (tuple, list)):
            return tuple(map(data, result))
        return all_to_numbers([result.data if isinstance(result, Value) else result])[0]

    @wraps(f)
    def call(*args: Any) -> Any:
        return data(f(*args))

    return call


def is_float(x: Any) -> bool:
    """Whether `x` can carry a gradient."""
    return is_inexact(getattr(x, "dtype", None) or np.asarray(x).dtype)


def opened(
    f: Function, args: Sequence[Any], argnums: int | Sequence[int] | None
) -> tuple[Subject, list[Any], list[int] | None]:
    """A Subject of the numbers in `args`, these, and which of them to differentiate by."""
    chosen = list(range(len(args)))
    if argnums is not None:
        given = (argnums,) if isinstance(argnums, (int, np.integer)) else tuple(argnums)
        chosen = positions("check_grads", given, len(args))
    leaves: list[Any] = []
    names: list[str] = []
    wrt: list[int] = []
    parts = []
    for i, (arg, name) in enumerate(zip(args, names_of(f, len(args)))):
        found, rebuild = flatten(arg)
        parts.append((len(found), rebuild))
        for path, x in zip(paths_of(arg), found):
            x = x.data if isinstance(x, Value) else x
            asked = argnums is not None and found[0] is arg  # an integer, say: to be complained of
            if i in chosen and (is_float(x) or asked):
                wrt.append(len(leaves))
            names.append(name + "".join(f"[{key!r}]" for key in path))
            leaves.append(x)
    of_dense((leaves[i] for i in wrt), "check_grads")
    places = [kind_of(x).name if elsewhere(x) else "" for x in leaves]
    leaves = [to_numbers(x) if place else x for x, place in zip(leaves, places)]

    def flat(*xs: Array) -> Any:
        rest = (transfer(x, to=place) if place else x for x, place in zip(xs, places))
        result = f(*(rebuild([next(rest) for _ in range(n)]) for n, rebuild in parts))
        ys = flatten(result)[0]
        lone = len(ys) == 1 and ys[0] is result
        if any(places):
            ys = [y if is_static(y) else transfer(y, to="numpy") for y in ys]
        return ys[0] if lone else tuple(y for y in ys if not is_static(y))

    return (
        from_values(flat, name_of(f), wrt, names),
        leaves,
        wrt if wrt or argnums is not None else None,
    )

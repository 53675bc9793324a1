"""What nobody asks for adds 0: the sweep that is made again where the first one met an infinity.

A cotangent that is exactly 0 asks nothing, however singular the slope is that it meets: the branch
that `np.where` does not choose, an entry that an index leaves out. So the second time the rules,
plain formulas, are given the cotangent as a `Careful` array, whose linear operations answer 0 for
each such term, inside sums of products too. A rule is linear in its cotangent: that is enough.

A primitive whose terms are products of its operands says so in its declaration, `care=product`,
`quotient`, `contraction`, `systems` or `whole`, as `batch=` says how it treats examples. All
others, which move or add entries, work on what a `Careful` array holds.
"""

from __future__ import annotations

import cmath
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import anywhere, created, innermost, is_array, kind_of, met
from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.engine.node import Array, Node, data_of, detached
from tensorgrad.engine.rules import Reading

Function = Callable[..., Array]
CareRule = Callable[[Function, list[Any], Mapping[str, Any]], Array]

cares: dict[Function, CareRule] = {}
"""How the NumPy functions that multiply are run with care."""

OPERATORS: dict[Function, Function] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.divide: operator.truediv,
    np.power: operator.pow,
    np.negative: operator.neg,
}
"""What a rule means by them: on complex numbers a ufunc rounds otherwise than Python's operator."""


class Careful(np.lib.mixins.NDArrayOperatorsMixin):
    """A cotangent whose zeros ask nothing. `payload`: an array, or a Value."""

    __slots__ = ("payload",)
    __array_priority__ = 1.0  # Dask asks its chunks

    def __init__(self, payload: Array) -> None:
        self.payload = payload

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", ())
        if method == "outer":
            x, y = inputs
            inputs = np.reshape(x, np.shape(x) + (1,) * np.ndim(y)), y
        elif method != "__call__":
            return written(out, run(getattr(ufunc, method), inputs, kwargs, None))
        function = ufunc if kwargs else OPERATORS.get(ufunc, ufunc)
        return written(out, run(function, inputs, kwargs, cares.get(ufunc)))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in cares and kwargs.get("out") is not None:
            out = kwargs["out"]
            return written((out,), function(*args, **{**kwargs, "out": None}))
        return run(function, args, kwargs, cares.get(function))

    def __primitive__(self, op: Any, operands: Sequence[Array], params: Mapping[str, Any]) -> Any:
        return run(op, operands, params, op.care)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.payload, dtype, copy=copy)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self.payload, name)
        if not callable(found):
            return careful(found)
        return lambda *args, **kwargs: careful(found(*map(bare, args), **kwargs))

    def dot(self, y: Array) -> Any:
        return np.dot(self, y)

    def __getitem__(self, index: Any) -> Any:
        return careful(self.payload[bare(index)])

    def __setitem__(self, index: Any, x: Any) -> None:
        if not is_array(self.payload):  # a Value: others hold the old one
            self.payload = self.payload.copy()
        self.payload[bare(index)] = bare(x)

    def __len__(self) -> int:
        return len(self.payload)

    def __bool__(self) -> bool:
        return bool(self.payload)

    def __float__(self) -> float:
        return float(self.payload)

    def __int__(self) -> int:
        return int(self.payload)

    def __complex__(self) -> complex:
        return complex(self.payload)

    def __format__(self, spec: str) -> str:
        return format(self.payload, spec)

    def __repr__(self) -> str:
        return f"Careful({self.payload!r})"


def careful(x: Any) -> Any:
    """`x`, numbers as `Careful` arrays."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(careful, x))
    dtype = getattr(x, "dtype", None)
    return Careful(x) if dtype and is_inexact(dtype) and type(x) is not Careful else x


def bare(x: Any) -> Any:
    """What `Careful` arrays hold, also inside lists and tuples."""
    if type(x) is Careful:
        return x.payload
    return type(x)(map(bare, x)) if type(x) in (list, tuple) else x


def run(
    function: Function, args: Sequence[Any], params: Mapping[str, Any], rule: CareRule | None
) -> Any:
    """The function of what `Careful` arrays hold; with care where it multiplies."""
    each = [x for arg in args for x in (arg if type(arg) in (list, tuple) else (arg,))]
    linear = [x for x in each if type(x) is Careful]
    if rule is None or len(linear) != 1:
        args = [*map(bare, args)]
        params = {name: bare(x) for name, x in params.items()}
        return careful(function(*args, **params))
    if not met:
        return careful(rule(function, list(args), params))
    kind = max((kind_of(innermost(x)) for x in each), key=lambda kind: kind.rank)
    return careful(kind.take_care(rule, function, list(args), params))


def written(out: tuple[Any, ...], made: Any) -> Any:
    """What an operation made, in the arrays that it is to be written into, if any: g *= y."""
    if not out:
        return made
    results = made if len(out) > 1 else (made,)
    done = tuple(x if place is None else into(place, x) for place, x in zip(out, results))
    return done if len(out) > 1 else done[0]


def into(place: Any, x: Any) -> Any:
    """`place`, with `x` in it; a number or a Value is replaced: others hold the old one."""
    target = bare(place)
    if not is_array(target):
        return x
    np.copyto(target, bare(x))
    return place


# Care rules: `rule(function, args, params)`; one of `args` is `Careful`.


def product(function: Function, args: list[Any], params: Mapping[str, Any]) -> Array:
    """g * y is 0 where g is, whatever y is there."""
    x, y = args
    if type(x) is Careful:
        return function(x.payload, unless_unasked(y, x.payload), **params)
    return function(unless_unasked(x, y.payload), y.payload, **params)


def quotient(function: Function, args: list[Any], params: Mapping[str, Any]) -> Array:
    """g / d is 0 where g is, whatever d is there."""
    g, d = args
    if type(g) is not Careful:
        return function(g, d.payload, **params)
    bad = ~np.isfinite(np.divide(1, detached(d)))
    if anywhere(bad):
        d = np.where(bad & (g.payload == 0), 1, d)
    return function(g.payload, d, **params)


def unless_unasked(y: Array, g: Array) -> Array:
    """`y`, but 0 where it is not finite and `g` asks nothing: a factor for `g`."""
    bad = ~np.isfinite(y)
    return np.where(bad & (g == 0), 0, y) if anywhere(bad) else y


def contraction(function: Function, args: list[Any], params: Mapping[str, Any]) -> Array:
    """A sum of products, one factor of each a cotangent: terms where it is 0 add 0.

    What is not finite among the other factors is left out of the sum, and then the infinities that
    somebody asked for are put in: by their signs, which a product of signs counts.
    """
    factors = [i for i, x in enumerate(args) if type(x) is Careful or is_number_array(x)]
    values = [detached(bare(args[i])) for i in factors]
    cotangent = [type(args[i]) is Careful for i in factors]
    fine = [*map(np.isfinite, values)]
    args = [*map(bare, args)]
    if not any(anywhere(~ok) for ok, known in zip(fine, cotangent) if not known):
        return function(*args, **params)

    def count(arrays: list[Array]) -> Array:
        """The sum of products with other factors."""
        numbers = list(args)
        for i, x in zip(factors, arrays):
            numbers[i] = x.astype(float)
        return function(*numbers, **params)

    def singular(arrays: list[Array]) -> Array:
        """The same over terms with a factor that is not finite."""
        return count(arrays) - count([x * ok for x, ok in zip(arrays, fine)])

    asked = [x != 0 if known else (x == x) | True for x, known in zip(values, cotangent)]
    finite_terms = list(args)
    for i, ok in zip(factors, fine):
        finite_terms[i] = np.where(ok, args[i], 0) if anywhere(~ok) else args[i]
    total = function(*finite_terms, **params)
    terms = singular(asked)
    if any(np.iscomplexobj(x) for x in values):
        return np.where(terms > 0, function(*args, **params), total)
    numbers = [(x != 0) & (x == x) for x in values]
    clear = singular(numbers)  # terms without a factor 0 or NaN
    signs = singular([np.sign(np.where(ok, x, 0)) for x, ok in zip(values, numbers)])
    lost = (terms > clear) | ((clear > signs) & (clear > -signs))
    return np.where(terms > 0, np.where(lost, np.nan, np.copysign(np.inf, signs)), total)


def systems(function: Function, args: list[Any], params: Mapping[str, Any]) -> Array:
    """Solutions of a x = g, 0 where the whole of g is, whatever a is there."""
    a, g = args
    if type(g) is not Careful:
        return function(*map(bare, args), **params)
    g = g.payload
    vector = np.ndim(data_of(g)) == 1
    unasked = np.all(g == 0, axis=None if vector else (-2, -1), keepdims=not vector)
    if anywhere(unasked):
        a = np.where(unasked, created(np.eye, a.shape[-1], dtype=a.dtype, like=a), a)
    return function(a, g, **params)


def whole(function: Function, args: list[Any], params: Mapping[str, Any]) -> Array:
    """A linear map of matrices g: 0 where the whole of g is."""
    (g,) = (x.payload for x in args if type(x) is Careful)
    asked = np.any(g != 0, axis=(-2, -1), keepdims=True)
    return np.where(asked, function(*map(bare, args), **params), 0)


def asked(a: Array, g: Array) -> Array:
    """`a`, with 1 for matrices of which g, a row for each, asks nothing: a rule may factor it."""
    if type(g) is not Careful:
        return a
    one = created(np.eye, *a.shape[-2:], dtype=a.dtype, like=a)
    return np.where(np.any(g.payload != 0, axis=-1)[..., None, None], a, one)


def is_number_array(x: Any) -> bool:
    return isinstance(getattr(x, "dtype", None), np.dtype)


class Unsure(Exception):
    """A sweep without care met what it may not judge: it is to be made with care."""


class Care(Reading):
    """The cotangents are `Careful`."""

    def given(self, node: Node, args: tuple[Array, ...], sweep: Any) -> tuple[Array, ...]:
        return Careful(args[0]), *args[1:]

    def answered(self, node: Node, i: int, c: Array, sweep: Any) -> Array:
        return bare(c)


class Opaque(Reading):
    """Of a rule that is not ours: it may hide an infinity, so it is given none without care; and
    write into the cotangent, so it is given one of its own.
    """

    def given(self, node: Node, args: tuple[Array, ...], sweep: Any) -> tuple[Array, ...]:
        g = args[0]
        if not sweep.careful and not finite(g):
            raise Unsure
        return (g.copy() if is_array(g) else g), *args[1:]


CARE, OPAQUE = Care(), Opaque()


def finite(g: Array) -> bool:
    """Whether a cotangent has finite entries only, for all examples of a `vmap`."""
    if type(g) is not np.ndarray:
        g = innermost(g)
        if issubclass(type(g), np.inexact):
            return cmath.isfinite(g)
    if type(g) is np.ndarray:
        entries = g if g.ndim < 2 else g.ravel("K")  # a view, in whatever order it lies in memory
        if cmath.isfinite(entries.dot(entries)):  # half the time of isfinite; but it may overflow
            return True
    return kind_of(g).finite(g)

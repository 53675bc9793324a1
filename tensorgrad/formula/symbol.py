"""Symbols: arrays that remember the expression they came from, so that a rule can be read.

A rule is plain NumPy. Given symbols instead of arrays it computes as ever, and what it returns
knows the formula: NumPy's protocols and calls of primitives are noted on the way. What a rule
decides by looking at numbers (is anything singular here?) it decides for the numbers at hand.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive
from tensorgrad.ops.nn.cost import one_hot


class Name(NamedTuple):
    """A name in a formula: `g`, `out`, or one of the operands."""

    text: str


class Constant(NamedTuple):
    """A number, an array, or anything else that is not part of the formula."""

    value: Any


class Applied:
    """A function of expressions. Calls are compared by identity: a formula is a graph of them.

    `shapes`: of the arguments, where they are known; notations count their axes.
    """

    __slots__ = ("args", "function", "params", "shapes")

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Expression],
        params: Mapping[str, Expression],
        shapes: Sequence[tuple[int, ...]] = (),
    ) -> None:
        self.function, self.args, self.params = function, tuple(args), dict(params)
        self.shapes = tuple(shapes)


Expression = Any  # a Name, Constant, Applied, or a tuple or list of expressions


class Symbol(np.lib.mixins.NDArrayOperatorsMixin):
    """An array and its expression; in everything that a rule may ask, it is that array."""

    __slots__ = ("data", "expression")

    def __init__(self, data: Array, expression: Expression) -> None:
        self.data, self.expression = data, expression

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("out", None)  # x *= y of what is the rule's own: x is a new symbol
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if any(isinstance(x.data, np.generic) for x in kwargs.get("out", ())):
            del kwargs["out"]  # `x *= y` of a number is a new one
        return noted(function, args, kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        return noted(function, args, kwargs)

    def __primitive__(self, op: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        return noted(op, args, params)

    def __getitem__(self, index: Any) -> Any:
        return noted(operator.getitem, (self, index), {})

    def __getattr__(self, name: str) -> Any:
        """An attribute of the array; `x.sum(axis=0)` and its like as NumPy's function."""
        if name.startswith("__"):
            raise AttributeError(name)
        function = getattr(np, name, None)
        if not callable(getattr(np.ndarray, name, None)) or function is None:
            return getattr(self.data, name)
        if name in ("reshape", "transpose"):
            return lambda *args, **kwargs: function(
                self, args[0] if len(args) == 1 else args or None, **kwargs
            )
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    @property
    def T(self) -> Any:
        return np.transpose(self)

    @property
    def mT(self) -> Any:
        return np.swapaxes(self, -1, -2)

    @property
    def real(self) -> Any:
        return np.real(self)

    @property
    def imag(self) -> Any:
        return np.imag(self)

    def astype(self, dtype: Any) -> Any:
        from tensorgrad.ops.elementwise import astype

        return astype(self, dtype=np.dtype(dtype))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.data, dtype)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __index__(self) -> int:
        return operator.index(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __complex__(self) -> complex:
        return complex(self.data)


def noted(function: Callable[..., Any], args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """What `function` returns, as symbols of the call; a tuple is its items."""
    arrays = arrays_of(tuple(args))
    result = function(*arrays, **{k: arrays_of(v) for k, v in params.items()})
    call = Applied(
        function,
        tuple(map(expression_of, args)),
        {k: expression_of(v) for k, v in params.items()},
        shapes_of(arrays),
    )
    call = known_as_one_hot(call) or call
    if isinstance(result, (tuple, list)):
        parts = [
            Symbol(part, Applied(operator.getitem, (call, Constant(i)), {}))
            for i, part in enumerate(result)
        ]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return Symbol(result, call)


def known_as_one_hot(call: Applied) -> Applied | None:
    """`one_hot(y, n)`, where a call is `y[..., None] == arange(n)`."""
    if (
        call.function is not np.equal
        or getattr(call.args[0], "function", 0) is not operator.getitem
    ):
        return None
    (y, index), classes = call.args[0].args, call.args[1]
    n = np.size(classes.value) if isinstance(classes, Constant) else 0
    if (
        index != (Constant(...), Constant(None))
        or not n
        or not np.array_equal(classes.value, np.arange(n))
    ):
        return None
    return Applied(one_hot, [y, Constant(n)], {}, call.args[0].shapes)


def shapes_of(arrays: Sequence[Any]) -> list[tuple[int, ...]]:
    """The shapes of arrays and numbers; of anything else there is none, ()."""
    return [getattr(x, "shape", ()) for x in arrays]


def arrays_of(x: Any) -> Any:
    """The arrays in place of symbols."""
    if isinstance(x, Symbol):
        return x.data
    return type(x)(map(arrays_of, x)) if type(x) in (list, tuple) else x


def expression_of(x: Any) -> Expression:
    """The expression of a symbol; of anything else, a constant."""
    if isinstance(x, Symbol):
        return x.expression
    if type(x) in (list, tuple):
        return type(x)(map(expression_of, x))
    return Constant(x)

"""A graph of primitives as Python source: one lambda that can be pasted into a test."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.arguments import defaults
from tensorgrad.engine.domain import Shape
from tensorgrad.engine.primitive import Primitive, registry
from tensorgrad.engine.rules import Each

Array = Any

SYMBOLS: dict[Callable[..., Any], str] = {
    operator.add: "{} + {}",
    operator.sub: "{} - {}",
    operator.mul: "{} * {}",
    operator.truediv: "{} / {}",
    operator.floordiv: "{} // {}",
    operator.mod: "{} % {}",
    operator.pow: "{} ** {}",
    operator.matmul: "{} @ {}",
    operator.neg: "-{}",
    operator.pos: "+{}",
}


class Expression:
    """A function of arrays or Values. Its repr, `source`, is the Python code that it runs.

    The code knows two names, `np` and `registry` (of `tensorgrad.primitive`).

    >>> f = Expression("lambda x: (t1 := np.tanh(x)) * t1")
    >>> f(np.array([0.0, 1.0])).round(6)
    array([0.      , 0.580026])
    >>> from tensorgrad import Value
    >>> f(Value(1.0))
    Value(0.58..., op=multiply)
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._function = eval(source, {"np": np, "registry": registry})

    def __call__(self, *args: Array) -> Any:
        return self._function(*args)

    def __repr__(self) -> str:
        return self.source


class Term(NamedTuple):
    """A node of the graph: an argument or a number (`text`), or an operation; with its value at
    the arguments, and at the points around them."""

    values: list[Array]
    text: str = ""
    op: Primitive | None = None
    operands: tuple[Term, ...] = ()
    params: Mapping[str, Any] = {}

    @property
    def shape(self) -> Shape:
        return np.shape(self.values[0])


def literal(x: Any) -> str:
    """Python source of a number, an array or a param, exact."""
    if isinstance(x, np.ndarray):
        dtype = "" if x.dtype in (np.float64, np.int64) and x.size else f", np.{x.dtype.name}"
        return f"np.array({x.tolist()}{dtype})" if x.size else f"np.zeros({x.shape}{dtype})"
    if isinstance(x, np.generic):
        return f"np.{x.dtype.name}({x.item()!r})"
    if isinstance(x, (tuple, list)):
        parts = [literal(part) for part in x]
        if isinstance(x, list):
            return f"[{', '.join(parts)}]"
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    if x is Ellipsis:
        return "..."
    if isinstance(x, np.dtype):
        return f"np.dtype({x.name!r})"
    if isinstance(x, type) and issubclass(x, np.generic):
        return f"np.{x.__name__}"
    return repr(x)


def said(t: Term, op: Primitive) -> list[str]:
    """The params, but for those that have their default."""
    usual = defaults(op.rules.rule if isinstance(op.rules, Each) else op.rules[0])
    needed = {k for k, v in defaults(op.forward).items() if v is inspect.Parameter.empty}

    def default(key: str, value: Any) -> bool:
        same = type(value) is type(usual.get(key)) and bool(value == usual.get(key))
        return same and key not in needed

    return [f"{k}={literal(v)}" for k, v in t.params.items() if not default(k, v)]


def name_in_numpy(op: Primitive) -> str:
    """`np.tanh` or `np.linalg.inv`; where NumPy does not have it, its place in the registry."""
    name = getattr(op.forward, "__name__", "")
    for module, prefix in ((np, "np"), (np.linalg, "np.linalg")):
        if getattr(module, name, None) is op.forward:
            return f"{prefix}.{name}"
    return f"registry[{op.name!r}]"


def source(result: Term, names: list[str]) -> str:
    """The graph as a lambda. What is needed twice is named where it first stands."""
    uses: dict[int, int] = {}

    def count(t: Term) -> None:
        uses[id(t)] = uses.get(id(t), 0) + 1
        if uses[id(t)] == 1:
            for operand in t.operands:
                count(operand)

    count(result)
    named: dict[int, str] = {}

    def spelled(t: Term, inner: bool = False) -> str:
        if t.op is None:
            return t.text
        if id(t) in named:
            return named[id(t)]
        symbol = SYMBOLS.get(t.op.forward)
        xs = [spelled(x, inner=symbol is not None or t.op.name == "getitem") for x in t.operands]
        if symbol:
            text = symbol.format(*xs)
        elif t.op.name == "getitem":
            index = t.params.get("index", ())
            text = literal(index)
            text = f"{xs[0]}[{text[1:-1] if isinstance(index, tuple) and index else text}]"
        else:
            name = name_in_numpy(t.op)
            if t.op.domain.make:
                xs = [f"*registry[{t.op.name!r}].domain.make({', '.join(xs)})"]
            xs += said(t, t.op)
            text = f"{name}({', '.join(xs)})"
        if uses[id(t)] > 1:
            named[id(t)] = f"t{len(named) + 1}"
            return f"({named[id(t)]} := {text})"
        return f"({text})" if inner and symbol else text

    return f"lambda {', '.join(names)}: {spelled(result)}"

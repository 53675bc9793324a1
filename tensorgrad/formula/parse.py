"""A reader of expressions such as `(a + b) * exp(-b)`: arithmetic and the registry's functions.

Nothing is executed that is not a declared operation: there is no `eval`, and an expression cannot
reach anything but the names it is given.
"""

from __future__ import annotations

import ast
import math
import operator
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from tensorgrad.engine.primitive import implementations, registry
from tensorgrad.ops.constant import ANSWERS, named

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.MatMult: operator.matmul,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
CONSTANTS = {"pi": np.pi, "e": np.e, "inf": np.inf, "nan": np.nan}
PLAIN = (np.array, np.arange, np.zeros)  # they make what is not computed
FILES = set(named(ANSWERS["text and files"]))
LONGEST = 10_000  # characters
LARGE = 10_000_000  # entries of an array
LARGEST = 10_000  # a power with a larger exponent of Python's whole numbers could take for ever


class ExpressionError(ValueError):
    """What is wrong with an expression, and where."""

    def __init__(self, text: str, at: int, reason: str) -> None:
        line = text.replace("\n", " ")
        super().__init__(f"{reason}, at character {at + 1}\n  {line}\n  {' ' * at}^")


Functions = Mapping[str, list[Callable[..., Any]]]


def functions() -> Functions:
    """What an expression may call: by each name the primitive, NumPy's function around it, others.

    The first that takes the arguments is called.
    """
    found: dict[str, list[Callable[..., Any]]] = {name: [op] for name, op in registry.items()}
    known = {id(f) for f in implementations if f not in FILES} | {id(f) for f in PLAIN}
    homes = {"": np, "linalg.": np.linalg, "fft.": np.fft}
    scipy = [sys.modules[home] for home in ("scipy.special", "scipy.linalg") if home in sys.modules]
    for prefix, home in (*homes.items(), *(("", home) for home in scipy)):
        for name, function in vars(home).items():
            if id(function) in known:
                found.setdefault(prefix + name, []).append(function)
    return {**found, "slice": [slice]}


def evaluate(text: str, values: Mapping[str, Any]) -> Any:
    """The value of an expression of `values`, by name.

    ExpressionError names the position and the reason where it is no expression, a name that has no
    value, or what the language does not have.

    >>> evaluate("(a + b) * (b + 1)", {"a": 2.0, "b": 1.0})
    6.0
    """
    text = text.strip().replace("\n", " ")
    if len(text) > LONGEST:
        raise ExpressionError(text[:60], 0, f"an expression of more than {LONGEST} characters")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at = max((getattr(error, "offset", None) or 1) - 1, 0)
        reason = getattr(error, "msg", None) or "too deeply nested"
        raise ExpressionError(text, at, reason) from None
    try:
        return Reader(text, values, functions()).read(tree.body)
    except RecursionError:
        raise ExpressionError(text, 0, "too deeply nested") from None


class Reader:
    """Walks the syntax tree of one expression."""

    def __init__(self, text: str, values: Mapping[str, Any], known: Functions) -> None:
        self.text, self.values, self.known = text, values, known

    def error(self, x: ast.AST, reason: str) -> ExpressionError:
        at = len(self.text.encode()[: getattr(x, "col_offset", 0)].decode(errors="ignore"))
        return ExpressionError(self.text, at, reason)

    def read(self, x: ast.expr) -> Any:
        """The value of a part."""
        method = getattr(self, f"read_{type(x).__name__.lower()}", None)
        if method is None:
            raise self.error(x, f"{type(x).__name__} is not part of an expression")
        return method(x)

    def apply(self, x: ast.expr, function: Callable[..., Any], *args: Any, **params: Any) -> Any:
        try:
            result = function(*args, **params)
        except Exception as error:  # whatever NumPy says of odd arguments
            raise self.error(x, str(error) or type(error).__name__) from error
        if isinstance(result, np.ndarray) and result.dtype.kind == "O":
            raise self.error(x, "not a number, or one too large for NumPy")
        return result

    def read_constant(self, x: ast.Constant) -> Any:
        if not isinstance(x.value, (int, float, complex, str, type(None), type(Ellipsis))):
            raise self.error(x, f"{x.value!r} is no number")
        return x.value

    def read_name(self, x: ast.Name) -> Any:
        if x.id in self.values:
            return self.values[x.id]
        if x.id in CONSTANTS:
            return CONSTANTS[x.id]
        if x.id in self.known:
            raise self.error(x, f"{x.id} is a function: write {x.id}(...)")
        given = ", ".join(sorted(self.values)) or "none"
        raise self.error(x, f"{x.id} has no value (there are: {given})")

    def read_binop(self, x: ast.BinOp) -> Any:
        left, right = self.read(x.left), self.read(x.right)
        if isinstance(left, (str, list, tuple)) or isinstance(right, (str, list, tuple)):
            raise self.error(x, "arithmetic is of numbers and arrays: write array([...])")
        whole = isinstance(x.op, ast.Pow) and isinstance(left, int) and isinstance(right, int)
        if whole and (abs(right) > LARGEST or abs(left) > 2**64):
            raise self.error(x, "a power of whole numbers that is too large")
        return self.apply(x, self.operator(x, x.op), left, right)

    def read_unaryop(self, x: ast.UnaryOp) -> Any:
        return self.apply(x, self.operator(x, x.op), self.read(x.operand))

    def read_compare(self, x: ast.Compare) -> Any:
        if len(x.ops) > 1:
            raise self.error(x, "compare two at a time: (a < b) & (b < c)")
        right = self.read(x.comparators[0])
        return self.apply(x, self.operator(x, x.ops[0]), self.read(x.left), right)

    def operator(self, x: ast.expr, op: ast.AST) -> Callable[..., Any]:
        if type(op) not in OPERATORS:
            raise self.error(x, f"{type(op).__name__} is not part of an expression")
        return OPERATORS[type(op)]

    def read_call(self, x: ast.Call) -> Any:
        name = ast.unparse(x.func).removeprefix("np.")
        if name not in self.known:
            raise self.error(x, f"there is no function {name}")
        if any(k.arg is None for k in x.keywords):
            raise self.error(x, "** is not part of an expression")
        params = {str(k.arg): self.read(k.value) for k in x.keywords}
        args = [self.read(arg) for arg in x.args]
        known = self.known[name]
        sizes = args[0] if args and isinstance(args[0], tuple) else args
        if (
            known[-1] in (np.zeros, np.arange)
            and math.prod(n for n in sizes if isinstance(n, int)) > LARGE
        ):
            raise self.error(x, f"an array of more than {LARGE:,} entries")
        if len(known) > 1 and args and isinstance(args[0], list):
            known = known[1:]  # a primitive takes its operands one by one
        for function in known[:-1]:
            with suppress(Exception):
                return function(*args, **params)
        return self.apply(x, known[-1], *args, **params)

    def read_subscript(self, x: ast.Subscript) -> Any:
        return self.apply(x, operator.getitem, self.read(x.value), self.read(x.slice))

    def read_slice(self, x: ast.Slice) -> Any:
        return slice(*(p and self.read(p) for p in (x.lower, x.upper, x.step)))

    def read_attribute(self, x: ast.Attribute) -> Any:
        value = self.read(x.value)
        if x.attr not in ("T", "mT"):
            raise self.error(x, f"there is no .{x.attr}, only .T and .mT")
        return self.apply(x, np.transpose if x.attr == "T" else np.matrix_transpose, value)

    def read_tuple(self, x: ast.Tuple) -> Any:
        return tuple(map(self.read, x.elts))

    def read_list(self, x: ast.List) -> Any:
        return [self.read(part) for part in x.elts]

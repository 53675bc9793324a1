"""A reader of expressions such as `(a + b) * exp(-b)`: arithmetic and the registry's functions.

Nothing is executed that is not a declared operation: there is no `eval`, and an expression cannot
reach anything but the names it is given. Nor can it take more memory and time than `Cost` allows.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.batching import alike, elementwise, moving, reduction
from tensorgrad.engine.dtypes import is_numeric
from tensorgrad.engine.node import data_of
from tensorgrad.engine.primitive import Primitive, implementations, registry
from tensorgrad.engine.words import ARGUMENTS
from tensorgrad.extras import printable
from tensorgrad.ops.constant import ANSWERS, named
from tensorgrad.ops.join import array
from tensorgrad.ops.nn.cost import one_hot
from tensorgrad.value import Value

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
PLAIN = (array, np.arange, np.zeros, np.ones)  # they make what is not computed
# Text is no value, and how many bins a histogram has depends on numbers, not on sizes.
BINS = (np.histogram, np.histogram2d, np.histogramdd, np.histogram_bin_edges)
EXCLUDED = {*named(ANSWERS["text and files"]), *BINS}
LONGEST = 10_000  # characters
LARGE = 10_000_000  # entries of all arrays that are made
LONG = 2_000_000_000  # multiplications: a second or a few
LARGEST = 100_000  # bits of one of Python's whole numbers: a power of them could take for ever


class ExpressionError(ValueError):
    """What is wrong with an expression, and where."""

    def __init__(self, text: str, at: int, reason: str) -> None:
        before, line = (printable(part, LONGEST) for part in (text[:at], text.replace("\n", " ")))
        said = printable(reason)
        super().__init__(f"{said}, at character {at + 1}\n  {line}\n  {' ' * len(before)}^")


Function = Callable[..., Any]
Functions = Mapping[str, list[Function]]


def functions() -> Functions:
    """What an expression may call: by each name the primitive, NumPy's function around it, others.

    The first that takes the arguments is called.
    """
    found: dict[str, list[Callable[..., Any]]] = {name: [op] for name, op in registry.items()}
    known = {id(f) for f in implementations if f not in EXCLUDED} | {id(f) for f in PLAIN}
    homes = {"": np, "linalg.": np.linalg, "fft.": np.fft}
    scipy = [sys.modules[home] for home in ("scipy.special", "scipy.linalg") if home in sys.modules]
    for prefix, home in (*homes.items(), *(("", home) for home in scipy)):
        for name, function in vars(home).items():
            if id(function) in known:
                found.setdefault(prefix + name, []).append(function)
    return {**found, "array": [array], "slice": [slice], "one_hot": [one_hot]}


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


class Cost(NamedTuple):
    """What a call may take, at most: told before it, from the sort of the function and from sizes.

    For nobody keeps a list of all functions that could make a large array of small ones.
    """

    entries: float  # of the result
    work: float  # multiplications
    sized: bool = False  # whether numbers were taken for sizes
    bits: int = 0  # of a power of whole numbers


def cost_of(function: Function, args: Sequence[Any], params: Mapping[str, Any]) -> Cost:
    """What a call may take."""
    operands = [*args, *params.values()]
    sizes = [size(x) for x in operands]
    data, product = float(sum(sizes)), math.prod(map(float, sizes))
    forward, batch = getattr(function, "forward", function), getattr(function, "batch", None)
    if forward is operator.getitem or batch is moving:
        side = min(shape_of(operands[0]), default=1) if sizes and sizes[0] else 1
        return Cost(product / side, product / side)  # an index in place of an axis, or a view
    if function in (array, slice) or batch in (reduction, alike):
        return Cost(data, data)
    signature = getattr(function, "signature", None) or getattr(forward, "signature", None)
    if forward is operator.matmul:
        signature = registry["matmul"].signature
    if signature:
        return cost_of_stacks(signature.split("->")[0], operands)
    home = getattr(forward, "__module__", "")  # SciPy's have none
    if batch is elementwise or home == "_operator" or type(forward) is np.ufunc:
        bits = 0
        match operands:
            case [int(base), int(exponent), *_] if forward is operator.pow:
                bits = base.bit_length() * max(exponent, 0)
        try:
            entries = float(math.prod(np.broadcast_shapes(*map(shape_of, operands))))
            entries *= 16 if any(isinstance(x, str) for x in operands) else 1  # numbers as text
        except ValueError:
            entries = 0.0  # they do not fit, as the call will say
        return Cost(entries, entries, bits=bits)
    most = product
    if not isinstance(function, Primitive):  # such as diag: n by n of n numbers
        most = max(most, float(max(sizes, default=1)) ** 2)
    elif "index" in params:  # which is no size
        operands = [*args, *(x for name, x in params.items() if name != "index")]
        most = math.prod(float(size(x)) for x in operands)
    numbers = math.prod(map(asked, operands))
    if function in PLAIN:  # a range goes by fractions too
        numbers *= math.prod(max(1 / (magnitude(data_of(x)) or 1), 1) for x in operands)
    return Cost(most * numbers, most * numbers, numbers > 1)


def cost_of_stacks(signature: str, operands: Sequence[Any]) -> Cost:
    """What a function of stacks of matrices may take, such as `(m?,k),(k,n?)` or `(n,n)`."""
    several, sides = 1.0, [1]
    letters: dict[str, int] = {}
    shared = set()
    terms = re.findall(r"\(([^)]*)\)", signature)
    for term, x in zip(terms, operands):
        names, shape = [name for name in term.split(",") if name], shape_of(x)
        if len(shape) < len(names):
            names = [name for name in names if name[-1] != "?"]
        core = shape[max(len(shape) - len(names), 0) :] if names else ()
        several *= math.prod(shape[: len(shape) - len(core)])
        shared |= letters.keys() & set(names)
        letters |= dict(zip(names, core))
        sides += core
    if len(terms) == 1:  # a decomposition may complete a basis
        square = several * float(max(sides)) ** 2
        return Cost(square, square * min(sides[1:], default=1))
    free = math.prod(float(n) for name, n in letters.items() if name not in shared)
    return Cost(several * free, several * math.prod(map(float, letters.values())))


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an argument, () of what has none, such as the results of eigh."""
    try:
        return np.shape(data_of(x))
    except (ValueError, AttributeError, TypeError):
        return ()


def size(x: Any) -> int:
    """How many numbers there are in an argument or a result."""
    if isinstance(x, (list, tuple)):
        return sum(map(size, x))
    n = getattr(x, "size", 1)
    return n if isinstance(n, int) else 1  # of a type, a description of its attribute


def asked(x: Any) -> float:
    """How many entries the numbers in an argument may ask for: as a shape, or as repeats."""
    if isinstance(x, (list, tuple)):
        return math.prod(map(asked, x))
    x = data_of(x)
    if isinstance(x, np.ndarray) and x.ndim and x.dtype.kind in "iu":
        numbers = np.maximum(np.abs(x.astype(float)), 1)
        return float(np.prod(numbers) if x.size <= 64 else np.sum(numbers))
    return max(magnitude(x), 1.0)


def magnitude(x: Any) -> float:
    """|x| of a single number, 1 of all else, such as infinity: no size."""
    if not isinstance(x, (int, float, np.generic, np.ndarray)) or np.ndim(x):
        return 1.0
    try:
        number = abs(complex(x))
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return 1.0
    return number if math.isfinite(number) else 1.0


def no_number(text: str) -> bool:
    """Whether a word is a type of text, or of millions of numbers in one. ("U": upper, to eigh.)"""
    try:
        return not is_numeric(np.dtype(text)) and text != "U"
    except Exception:
        return False


def too_large(x: Any) -> bool:
    """Whether it has a whole number that NumPy would compute with as Python does, at any length."""
    if isinstance(x, (list, tuple)):
        return any(map(too_large, x))
    return isinstance(x, int) and x.bit_length() > 64


class Reader:
    """Walks the syntax tree of one expression."""

    def __init__(self, text: str, values: Mapping[str, Any], known: Functions) -> None:
        self.text, self.values, self.known = text, values, known
        self.entries = self.work = 0.0

    def error(self, x: ast.AST, reason: str) -> ExpressionError:
        at = len(self.text.encode()[: getattr(x, "col_offset", 0)].decode(errors="ignore"))
        return ExpressionError(self.text, at, reason)

    def read(self, x: ast.expr) -> Any:
        """The value of a part."""
        method = getattr(self, f"read_{type(x).__name__.lower()}", None)
        if method is None:
            raise self.error(x, f"{type(x).__name__} is not part of an expression")
        return method(x)

    def apply(
        self, x: ast.expr, functions: Sequence[Function], /, *args: Any, **params: Any
    ) -> Any:
        """What the first of some functions says that takes the arguments; the last one's error."""
        *others, last = functions
        for function in others:
            self.afford(x, function, args, params)
            with suppress(Exception):
                return self.spent(x, function(*args, **params))
        self.afford(x, last, args, params)
        try:
            result = last(*args, **params)
        except Exception as error:  # whatever NumPy says of odd arguments
            raise self.error(x, str(error) or type(error).__name__) from error
        return self.spent(x, result)

    def afford(
        self, x: ast.expr, function: Function, args: Sequence[Any], params: Mapping[str, Any]
    ) -> None:
        """ExpressionError if a call may take more memory or time than is left."""
        for word in (*args, *params.values()):
            if isinstance(word, str) and no_number(word):
                raise self.error(x, f"{word!r} is no type of number")
        if getattr(function, "__module__", "") != "_operator" and any(map(too_large, args)):
            raise self.error(x, "a whole number that is too large for NumPy (write it as a float)")
        cost = cost_of(function, args, params)
        if cost.bits > LARGEST:
            raise self.error(x, "a power of whole numbers that is too large")
        if self.entries + cost.entries > LARGE:
            hint = ", for a number may be a size (write array([...]) for data)" * cost.sized
            raise self.error(x, f"an array of more than {LARGE:,} entries{hint}")
        self.work += cost.work
        if self.work > LONG:
            raise self.error(x, f"more than {LONG:,} multiplications")

    def spent(self, x: ast.expr, result: Any) -> Any:
        """A result, if it is as small as was thought, and a number."""
        self.entries += size(result)
        if self.entries > LARGE:
            raise self.error(x, f"arrays of more than {LARGE:,} entries")
        huge = isinstance(result, int) and result.bit_length() > LARGEST
        objects = isinstance(result, np.ndarray) and result.dtype.kind == "O"
        if huge or objects or isinstance(result, type):
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
        function, left, right = self.operator(x, x.op), self.read(x.left), self.read(x.right)
        if function is operator.mul and isinstance(left, tuple) and type(right) is int:
            if len(left) * right > LONGEST:
                raise self.error(x, f"a tuple of more than {LONGEST:,} entries")
            return left * right
        if isinstance(left, (str, list, tuple)) or isinstance(right, (str, list, tuple)):
            raise self.error(x, "arithmetic is of numbers and arrays: write array([...])")
        return self.apply(x, [function], left, right)

    def read_unaryop(self, x: ast.UnaryOp) -> Any:
        return self.apply(x, [self.operator(x, x.op)], self.read(x.operand))

    def read_compare(self, x: ast.Compare) -> Any:
        if len(x.ops) > 1:
            raise self.error(x, "compare two at a time: (a < b) & (b < c)")
        right = self.read(x.comparators[0])
        return self.apply(x, [self.operator(x, x.ops[0])], self.read(x.left), right)

    def operator(self, x: ast.expr, op: ast.AST) -> Callable[..., Any]:
        if isinstance(op, ast.BitXor):
            raise self.error(x, "^ is no power: write x**2 for the square of x")
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
        for word in ARGUMENTS.keys() & params.keys():
            raise self.error(x, f"{name}: write {ARGUMENTS[word]} for {word}=, as NumPy")
        args = [self.read(arg) for arg in x.args]
        if name in ("max", "min") and len(args) > 1 and isinstance(args[1], (float, Value)):
            raise self.error(x, f"{name} takes one array and an axis: write {name}imum(a, b)")
        known = self.known[name]
        if len(known) > 1 and args and isinstance(args[0], list):
            known = known[1:]  # a primitive takes its operands one by one
        return self.apply(x, known, *args, **params)

    def read_subscript(self, x: ast.Subscript) -> Any:
        return self.apply(x, [operator.getitem], self.read(x.value), self.read(x.slice))

    def read_slice(self, x: ast.Slice) -> Any:
        return slice(*(p and self.read(p) for p in (x.lower, x.upper, x.step)))

    def read_attribute(self, x: ast.Attribute) -> Any:
        value = self.read(x.value)
        if x.attr not in ("T", "mT"):
            raise self.error(x, f"there is no .{x.attr}, only .T and .mT")
        return self.apply(x, [np.transpose if x.attr == "T" else np.matrix_transpose], value)

    def read_tuple(self, x: ast.Tuple) -> Any:
        return tuple(map(self.read, x.elts))

    def read_list(self, x: ast.List) -> Any:
        parts = map(self.read, x.elts)
        return [array(part) if isinstance(part, list) else part for part in parts]

"""What NumPy's functions are in a loop: a table of them, and of the types of numbers."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from tensorgrad.compiler.llvm import mathematics
from tensorgrad.compiler.llvm.mathematics import BOOL, F32, F64, Term, absolute, where

Write = Callable[..., Term]
"""Of terms, all of one type, the term that a function makes; its first argument is their dtype."""

KINDS = {"f4": F32, "f8": F64, "b1": BOOL}
KINDS |= {f"{sign}{n}": ir.IntType(8 * n) for sign in "iu" for n in (1, 2, 4, 8)}


def kind_of(dtype: Any) -> Any:
    """The type of a number in a register; None for what is no real number of this machine's."""
    dtype = np.dtype(dtype)
    return KINDS.get(f"{dtype.kind}{dtype.itemsize}") if dtype.isnative else None


def place_of(dtype: Any) -> Any:
    """Its type in memory."""
    kind = kind_of(dtype)
    return ir.IntType(8) if kind == BOOL else kind


def number(b: Any, x: Any, dtype: Any) -> Term:
    """A constant. A float16 or an integer goes through `dtype`, as NumPy has it."""
    return Term(b, ir.Constant(kind_of(dtype), np.asarray(x).astype(dtype).item()))


def converted(x: Term, old: Any, new: Any) -> Term:
    """What `x.astype(new)` is."""
    old, new = np.dtype(old), np.dtype(new)
    b, kind = x.b, kind_of(new)
    if old == new:
        return x
    if new.kind == "b":
        return x.compare("!=", 0.0 if old.kind == "f" else 0)
    if old.kind == new.kind == "f":
        return x.to(kind)
    if old.kind == "f":
        sign = "u" if new.kind == "u" else "s"
        name = f"llvm.fpto{sign}i.sat"  # defined for what an integer cannot hold
        f = b.module.declare_intrinsic(name, [kind, x.v.type], ir.FunctionType(kind, [x.v.type]))
        return Term(b, b.call(f, [x.v]))
    unsigned = old.kind in "bu"
    if new.kind == "f":
        return Term(b, (b.uitofp if unsigned else b.sitofp)(x.v, kind))
    if new.itemsize < old.itemsize:
        return Term(b, b.trunc(x.v, kind))
    wider = kind != x.v.type
    return Term(b, (b.zext if unsigned else b.sext)(x.v, kind)) if wider else x


def compared(sign: str) -> Write:
    return lambda dtype, x, y: x.compare(sign, y, unsigned=dtype.kind in "bu")


def invert(x: Term) -> Term:
    return Term(x.b, x.b.not_(x.v))


def larger(dtype: np.dtype[Any], x: Term, y: Term) -> Term:
    """np.maximum: NaN if one is."""
    return chosen(dtype, x, y, ">=")


def smaller(dtype: np.dtype[Any], x: Term, y: Term) -> Term:
    return chosen(dtype, x, y, "<=")


def chosen(dtype: np.dtype[Any], x: Term, y: Term, sign: str) -> Term:
    if dtype.kind != "f":
        return where(x.compare(sign, y, unsigned=dtype.kind in "bu"), x, y)
    if isinstance(y.v, ir.Constant):  # one comparison, which is an instruction of most machines
        return where(Term(x.b, x.b.fcmp_unordered(sign, x.v, y.v)), x, y)
    return where(x.compare(sign, y) | x.is_nan(), x, y)


def sign(dtype: np.dtype[Any], x: Term) -> Term:
    if dtype.kind != "f":
        return where(x.compare(">", 0, dtype.kind == "u"), 1, where(x.is_(0), x, -1))
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, where(x.is_(0.0), 0.0, x)))


def size(dtype: np.dtype[Any], x: Term) -> Term:
    if dtype.kind == "f":
        return absolute(x)
    return where(x < 0, -x, x) if dtype.kind == "i" else x


def whole(name: str) -> Write:
    return lambda dtype, x: x.call(name) if dtype.kind == "f" else x


def of_reals(f: Callable[..., Term]) -> Write:
    return lambda dtype, *xs: f(*xs)


def arithmetic(real: Callable[..., Term], of_bools: Callable[..., Term]) -> Write:
    return lambda dtype, x, y: (of_bools if dtype.kind == "b" else real)(x, y)


def power(dtype: np.dtype[Any], x: Term, y: Term) -> Term:
    """x^y, for some numbers y without a logarithm."""
    known = POWERS.get(y.v.constant) if isinstance(y.v, ir.Constant) else None
    return known(x) if known else mathematics.power(x, y)


POWERS: dict[float, Callable[[Term], Term]] = {
    -2: lambda x: 1.0 / (x * x),
    -1: lambda x: 1.0 / x,
    -0.5: lambda x: 1.0 / mathematics.sqrt(x),
    0.5: mathematics.sqrt,
    1: lambda x: x,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
    4: lambda x: (x * x) * (x * x),
}

OPERATIONS: dict[Any, Write] = {
    np.add: arithmetic(operator.add, operator.or_),
    np.subtract: of_reals(operator.sub),
    np.multiply: arithmetic(operator.mul, operator.and_),
    np.true_divide: of_reals(operator.truediv),
    np.negative: of_reals(operator.neg),
    np.positive: of_reals(lambda x: x),
    np.conjugate: of_reals(lambda x: x),
    np.absolute: size,
    np.fabs: size,
    np.square: of_reals(lambda x: x * x),
    np.reciprocal: of_reals(lambda x: 1.0 / x),
    np.sqrt: of_reals(mathematics.sqrt),
    np.exp: of_reals(mathematics.exp),
    np.expm1: of_reals(mathematics.expm1),
    np.log: of_reals(mathematics.log),
    np.log1p: of_reals(mathematics.log1p),
    np.tanh: of_reals(mathematics.tanh),
    np.sin: of_reals(mathematics.sin),
    np.cos: of_reals(mathematics.cos),
    np.power: power,
    np.maximum: larger,
    np.minimum: smaller,
    np.sign: sign,
    np.copysign: of_reals(mathematics.with_sign),
    np.floor: whole("floor"),
    np.ceil: whole("ceil"),
    np.trunc: whole("trunc"),
    np.rint: whole("rint"),
    np.isnan: of_reals(Term.is_nan),
    np.isinf: of_reals(lambda x: absolute(x).is_(math.inf)),
    np.isfinite: of_reals(lambda x: absolute(x) < math.inf),
    np.signbit: of_reals(lambda x: x.as_bits() < 0),
    np.greater: compared(">"),
    np.greater_equal: compared(">="),
    np.less: compared("<"),
    np.less_equal: compared("<="),
    np.equal: compared("=="),
    np.not_equal: compared("!="),
    np.logical_and: of_reals(operator.and_),
    np.logical_or: of_reals(operator.or_),
    np.logical_not: of_reals(invert),
    np.logical_xor: of_reals(lambda x, y: x.compare("!=", y)),
    np.bitwise_and: of_reals(operator.and_),
    np.bitwise_or: of_reals(operator.or_),
    np.bitwise_xor: of_reals(lambda x, y: Term(x.b, x.b.xor(x.v, y.v))),
    np.invert: of_reals(invert),
}
ERF = of_reals(mathematics.erf)
REALS = {np.reciprocal, np.true_divide, np.isnan, np.isinf, np.isfinite, np.signbit}
REALS |= {f for f in OPERATIONS if getattr(f, "types", [""])[0] in ("e->e", "ee->e")}
"""What is computed of real numbers alone here: of integers NumPy's answer is another, or slow."""
DEAR = {np.exp, np.expm1, np.log, np.log1p, np.tanh, np.sin, np.cos, np.power}
SLOW = {np.true_divide, np.reciprocal, np.sqrt}


def write_of(f: Any) -> Write | None:
    """What a function is in a loop; of SciPy's, if that is loaded, the error function."""
    special = sys.modules.get("scipy.special")
    return ERF if special is not None and f is special.erf else OPERATIONS.get(f)


def price(f: Any) -> int:
    """About how many cheap operations it is."""
    return 20 if f in DEAR or write_of(f) is ERF else 6 if f in SLOW else 1


def combined(name: str) -> Write:
    """Two numbers of a reduction; of real numbers NaN if one is."""

    def write(dtype: np.dtype[Any], x: Term, y: Term) -> Term:
        if dtype.kind == "f":
            return x.call(name, y)
        return OPERATIONS[np.maximum if name == "maximum" else np.minimum](dtype, x, y)

    return write


def total(dtype: np.dtype[Any], x: Term, y: Term) -> Term:
    """A sum that may be taken in another order."""
    add = x.b.fadd(x.v, y.v, flags=("reassoc", "contract")) if dtype.kind == "f" else None
    return Term(x.b, add) if add else OPERATIONS[np.add](dtype, x, y)


def product(dtype: np.dtype[Any], x: Term, y: Term) -> Term:
    mul = x.b.fmul(x.v, y.v, flags=("reassoc", "contract")) if dtype.kind == "f" else None
    return Term(x.b, mul) if mul else OPERATIONS[np.multiply](dtype, x, y)


def lowest(dtype: np.dtype[Any]) -> Any:
    return -math.inf if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind in "iu" else False


def highest(dtype: np.dtype[Any]) -> Any:
    return math.inf if dtype.kind == "f" else np.iinfo(dtype).max if dtype.kind in "iu" else True


REDUCTIONS: dict[np.ufunc, tuple[Write, Callable[[np.dtype[Any]], Any]]] = {
    np.add: (total, lambda dtype: 0),
    np.multiply: (product, lambda dtype: 1),
    np.maximum: (combined("maximum"), lowest),
    np.minimum: (combined("minimum"), highest),
    np.logical_or: (of_reals(operator.or_), lambda dtype: False),
    np.logical_and: (of_reals(operator.and_), lambda dtype: True),
}
"""How two numbers are combined, and what changes nothing."""


def loop_dtypes(f: np.ufunc, given: Sequence[Any]) -> tuple[np.dtype[Any], ...]:
    """The dtypes in which a ufunc computes and answers; Python's numbers are weak."""
    dtypes: tuple[np.dtype[Any], ...] = f.resolve_dtypes((*given, *[None] * f.nout))
    return dtypes

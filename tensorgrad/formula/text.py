"""Expressions as text, in NumPy's spelling without the `np.`: what `parse.py` reads again."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, implementations, registry
from tensorgrad.formula.symbol import Applied, Constant, Expression, Name

# How tightly things bind: an operand that binds less tightly than its operator is put in brackets.
LOOSE, COMPARE, OR, AND, SUM, PRODUCT, SIGN, POWER, ATOM = range(9)

LONG = 16  # entries of an array that are written out for a reader
SMALL = 4  # entries that are all shown where there is little room
DIGITS = 4
INFIX: dict[Callable[..., Any], tuple[str, int]] = {
    operator.add: ("+", SUM),
    operator.sub: ("-", SUM),
    operator.mul: ("*", PRODUCT),
    operator.truediv: ("/", PRODUCT),
    operator.floordiv: ("//", PRODUCT),
    operator.mod: ("%", PRODUCT),
    operator.matmul: ("@", PRODUCT),
    operator.pow: ("**", POWER),
    np.less: ("<", COMPARE),
    np.less_equal: ("<=", COMPARE),
    np.greater: (">", COMPARE),
    np.greater_equal: (">=", COMPARE),
    np.equal: ("==", COMPARE),
    np.not_equal: ("!=", COMPARE),
    np.bitwise_and: ("&", AND),
    np.bitwise_or: ("|", OR),
}
PREFIX: dict[Callable[..., Any], str] = {
    operator.neg: "-",
    operator.pos: "+",
    np.invert: "~",
}


def primitive_of(function: Callable[..., Any]) -> Primitive | None:
    """The primitive that is meant by a function, if there is one."""
    op = function if isinstance(function, Primitive) else implementations.get(function)
    if op is not None and not isinstance(op, Primitive):  # a function of more arguments around it
        op = registry.get(spelling(function))
    return op


def numpy_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The plain function behind a primitive or a NumPy function that has one."""
    op = primitive_of(function)
    return op.forward if op else function


def transposed(x: Applied) -> Expression | None:
    """What a call transposes as a matrix, if it does that."""
    if x.function is np.transpose and len(x.args) == 1 and not x.params:
        return x.args[0]
    axes = [a.value for a in (*x.args[1:], *x.params.values()) if isinstance(a, Constant)]
    if spelling(x.function) == "swapaxes" and sorted(axes) == [-2, -1]:
        return x.args[0]
    return None


def spelling(function: Callable[..., Any]) -> str:
    """The name of a function: a primitive's own, or NumPy's without `np.`."""
    if isinstance(function, Primitive):
        return function.name
    owner = getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"{owner.__name__}.{function.__name__}"
    name = str(getattr(function, "__name__", function)).lstrip("_")  # zeta calls a ufunc _zeta
    for home in ("linalg", "fft"):
        if getattr(getattr(np, home), name, None) is function and not hasattr(np, name):
            return f"{home}.{name}"
    return name


def render(x: Expression, names: Mapping[str, str]) -> str:
    """The text of an expression, with `names` for its names where they have others."""
    return rendered(x, names)[0]


def rendered(x: Any, names: Mapping[str, str]) -> tuple[str, int]:
    """The text of an expression, and how tightly it binds."""
    if isinstance(x, Name):
        text = names.get(x.text, x.text)
        return text, binding(text)
    if isinstance(x, Constant):
        return of_constant(x.value, bool(names))
    if type(x) in (tuple, list):
        return sequence(x, [render(part, names) for part in x]), ATOM
    function, args = numpy_of(x.function), x.args
    if function in INFIX and len(args) == 2:
        sign, level = INFIX[function]
        # what stands on the right of - and / needs brackets at the same level; so does x of x**y
        left = level + (level in (POWER, COMPARE))
        right = level + (level != POWER)
        second = within(args[1], right, names)
        second = f"({second})" if second.startswith("-") else second  # a + (-1)
        return f"{within(args[0], left, names)} {sign} {second}", level
    if function in PREFIX and len(args) == 1:
        inner = within(args[0], SIGN, names)
        return PREFIX[function] + (f"({inner})" if inner.startswith("-") else inner), SIGN
    if spelling(x.function) == "getitem" and (len(args) > 1 or "index" in x.params):
        inside = index(x.params["index"] if x.params else args[1], names)
        return f"{within(args[0], ATOM, names)}[{inside}]", ATOM
    if (matrix := transposed(x)) is not None:
        name = "T" if x.function is np.transpose else "mT"
        return f"{within(matrix, ATOM, names)}.{name}", ATOM
    given = [render(arg, names) for arg in args]
    given += [f"{name}={render(value, names)}" for name, value in x.params.items()]
    return f"{spelling(x.function)}({', '.join(given)})", ATOM


def within(x: Expression, level: int, names: Mapping[str, str]) -> str:
    text, own = rendered(x, names)
    return text if own >= level else f"({text})"


def binding(text: str) -> int:
    """How tightly what stands for a name binds: another name, a number, a derivative."""
    if re.fullmatch(r"[\w.]+(e[+-]\d+|\[[^]]*\])?|\[[^]]*\]", text):
        return ATOM
    if re.fullmatch(r"-[\w.]+(e[+-]\d+)?", text):
        return SIGN
    return PRODUCT if text.startswith("∂") else LOOSE


def sequence(x: Any, parts: list[str]) -> str:
    if type(x) is list:
        return f"[{', '.join(parts)}]"
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def index(x: Any, names: Mapping[str, str]) -> str:
    """What stands between the brackets of an item."""
    value = x.value if isinstance(x, Constant) else x
    if type(value) is tuple and value:
        return ", ".join(index(part, names) for part in value)
    if isinstance(value, slice):
        parts = ["" if p is None else str(p) for p in (value.start, value.stop, value.step)]
        return ":".join(parts[: 3 if parts[2] else 2])
    known = isinstance(x, (Name, Constant, Applied)) or type(x) is list
    return render(x, names) if known else of_constant(x, bool(names))[0]


def of_constant(x: Any, short: bool) -> tuple[str, int]:
    """A constant: for a reader with four digits and no long arrays, or as it can be read back."""
    if short and (
        isinstance(x, (float, np.floating)) or (isinstance(x, np.ndarray) and x.size > LONG)
    ):
        text = brief(x)
        return text, binding(text)
    return literal(x)


def literal(x: Any) -> tuple[str, int]:
    """A constant, as text that is read back as the same."""
    if isinstance(x, np.ndarray) and x.ndim:
        return array_literal(x), ATOM
    if isinstance(x, np.dtype):
        return repr(x.name), ATOM
    if isinstance(x, type) and issubclass(x, np.generic):
        return repr(x.__name__), ATOM
    if isinstance(x, (np.generic, np.ndarray)):
        x = x.item()
    if type(x) in (tuple, list):
        return sequence(x, [literal(part)[0] for part in x]), ATOM
    if x is Ellipsis:
        return "...", ATOM
    if isinstance(x, slice):
        return f"slice({x.start}, {x.stop}, {x.step})", ATOM
    text = repr(x)
    number = isinstance(x, (int, float, complex)) and not isinstance(x, bool)
    return text, SIGN if number and text.startswith("-") else ATOM


def array_literal(x: Any) -> str:
    if x.ndim == 1 and x.dtype.kind == "i" and np.array_equal(x, np.arange(x.size)):
        return f"arange({x.size})"
    return f"array({x.tolist()!r})" if x.size else f"zeros({x.shape})"


# For a reader.


def brief(x: Array) -> str:
    """A number to four digits, a small array as a list, the shape of a large one."""
    x = np.asarray(x)
    if not x.ndim:
        return number(x[()])
    if x.ndim == 1 and x.size <= SMALL:
        return f"[{', '.join(map(number, x))}]"
    return f"{x.dtype}[{', '.join(map(str, x.shape))}]"


def number(x: Any) -> str:
    """A number to four significant digits."""
    if isinstance(x, (complex, np.complexfloating)):
        return f"({number(x.real)}{'' if str(x.imag).startswith('-') else '+'}{number(x.imag)}j)"
    if isinstance(x, (bool, np.bool, int, np.integer)):
        return str(x)
    text = f"{float(x):.{DIGITS}g}"
    return "0" if text == "-0" else text

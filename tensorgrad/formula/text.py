"""Expressions as text, in NumPy's spelling without the `np.`: what `parse.py` reads again."""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arguments import defaults
from tensorgrad.engine.arrays import entries_in
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, implementations, registry
from tensorgrad.formula.symbol import Applied, Constant, Expression, Name

# How tightly things bind: an operand that binds less tightly than its operator is put in brackets.
LOOSE, COMPARE, OR, AND, SUM, PRODUCT, SIGN, POWER, ATOM = range(9)

LONG = 16  # entries of an array that are written out for a reader
SMALL = 4  # entries that are all shown where there is little room
DIGITS = 4
SLIGHT = 4  # last bits by which a number may miss its four digits: 0.1 + 0.2 = 0.3
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
        op = registry.get(spelling(function).rpartition(".")[2])
    return op


def usual(op: Primitive) -> dict[str, Any]:
    """The params of a primitive that may be left out, with the defaults that its rule names."""
    try:
        parameters = inspect.signature(op.formulas[0]).parameters.values()
    except (TypeError, ValueError):
        return {}
    needed = {k for k, x in defaults(op.forward).items() if x is inspect.Parameter.empty}
    return {p.name: p.default for p in parameters if p.name not in needed}


def numpy_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The plain function behind a primitive or a NumPy function that has one."""
    op = primitive_of(function)
    return op.forward if op else function


def transposed(x: Applied) -> Expression | None:
    """What a call transposes as a matrix, if it does that."""
    axes = [plain(a) for a in (*x.args[1:], *x.params.values())]
    name, ndim = spelling(x.function), len(x.shapes[0]) if x.shapes else 0
    turned = name == "transpose" and all(a is None or (ndim == 2 and turns(a)) for a in axes)
    swapped = name == "swapaxes" and sorted(a - ndim * (a >= 0) for a in axes) == [-2, -1]
    return x.args[0] if turned or swapped else None


def told_of(x: Applied) -> tuple[Sequence[Expression], dict[str, Expression]]:
    """The arguments of a call without those that say what is usual."""
    args, op = list(x.args), primitive_of(x.function)
    while len(args) > 1 and getattr(args[-1], "value", x) is None:
        args.pop()
    default = usual(op) if op else {}
    params = x.params.items()
    return args, {k: v for k, v in params if getattr(v, "value", x) is not default.get(k, op)}


def plain(x: Expression) -> Any:
    """What a constant is, or a list of constants."""
    return [plain(part) for part in x] if type(x) in (tuple, list) else getattr(x, "value", x)


def turns(axes: Any) -> bool:
    """Whether a matrix with its axes in this order is its transpose."""
    return [a % 2 for a in np.ravel(axes)] == [1, 0]


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
        return f"{of_items(within(args[0], ATOM, names))}[{inside}]", ATOM
    if (matrix := transposed(x)) is not None:
        name = "T" if spelling(x.function) == "transpose" else "mT"
        inside = within(matrix, ATOM, names)
        return f"{of_items(inside)}.{name}", ATOM
    if spelling(x.function) == "astype" and names:
        return rendered(args[0], names)  # the same numbers
    args, told = told_of(x)
    given = [render(arg, names) for arg in args]
    given += [f"{name}={render(value, names)}" for name, value in told.items()]
    return f"{spelling(x.function)}({', '.join(given)})", ATOM


def of_items(text: str) -> str:
    """What is read back as an array: a number would have no items."""
    return f"array({text.strip('()')})" if re.fullmatch(r"\(?-?\d[\d.e+j-]*\)?", text) else text


def within(x: Expression, level: int, names: Mapping[str, str]) -> str:
    text, own = rendered(x, names)
    return text if own >= level else f"({text})"


def binding(text: str) -> int:
    """How tightly what stands for a name binds: another name, a number, a derivative."""
    if re.fullmatch(r"[\w.]+(e[+-]\d+|\[[^]]*\]|\([^()]*\))?|\[[^]]*\]|\([^()]*\)", text):
        return ATOM
    if re.fullmatch(r"-[\w.]+(e[+-]\d+)?", text):
        return SIGN
    return PRODUCT if text.startswith("∂") else LOOSE


def sequence(x: Any, parts: list[str]) -> str:
    if type(x) is list:
        return f"[{', '.join(parts)}]"
    if len(parts) > SMALL and len({*parts}) == 1:
        return f"({parts[0]},) * {len(parts)}"
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def index(x: Any, names: Mapping[str, str]) -> str:
    """What stands between the brackets of an item."""
    value = x.value if isinstance(x, Constant) else x
    if type(value) is tuple and value:
        return ", ".join(index(part, names) for part in value)
    if isinstance(value, slice):
        parts = ["" if p is None else str(p) for p in (value.start, value.stop, value.step)]
        return ":".join(parts[: 3 if parts[2] else 2])
    parts = x if type(x) is list else [x]
    known = all(isinstance(part, (Name, Constant, Applied)) for part in parts)
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


class Rounded(str):
    """The text of a number that is rounded, or with such a number: beside it stands ≈, not =."""

    __slots__ = ()


def brief(x: Array) -> str:
    """A number to four digits, a small array as lists, the shape of a large one."""
    x = np.asarray(entries_in(x))
    if not x.ndim:
        return number(x[()])
    if not shown(x):
        return f"{x.dtype}[{', '.join(map(str, x.shape))}]"
    parts = [*map(brief, x)]
    return marked(f"[{', '.join(parts)}]", *parts)


def shown(x: Array) -> bool:
    """Whether `brief` writes the entries of an array."""
    return np.ndim(x) in (1, 2) and 0 not in np.shape(x)[1:] and x.size <= SMALL


def marked(text: str, *parts: str) -> str:
    """`text`, as rounded if one of the parts is."""
    return Rounded(text) if any(isinstance(part, Rounded) for part in parts) else text


def number(x: Any) -> str:
    """A number to four significant digits."""
    if isinstance(x, (complex, np.complexfloating)):
        real, imag = number(x.real), number(x.imag)
        return marked(f"({real}{'' if imag.startswith('-') else '+'}{imag}j)", real, imag)
    if isinstance(x, (bool, np.bool, int, np.integer)):
        return str(x)
    text = f"{float(x):.{DIGITS}g}"
    near = SLIGHT * abs(np.spacing(x)) if np.isfinite(x) else 0
    exact = not np.isfinite(x) or abs(float(text) - x) <= near
    text = "0" if text == "-0" else text
    return text if exact else Rounded(text)

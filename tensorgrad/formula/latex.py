"""Expressions as LaTeX, from the notation that each primitive declares; and LaTeX as MathML.

What has to be put in brackets follows from the notation: an argument next to a minus sign, to
another factor, below an exponent, after the name of a function.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from string import Formatter
from typing import Any

import numpy as np

from tensorgrad.extras import missing
from tensorgrad.formula import text as text_
from tensorgrad.formula.symbol import Applied, Constant, Expression, Name
from tensorgrad.ops.nn.cost import one_hot

AXES = "ijklm"
SUMS = {"mean": r"\frac{1}{n} \sum_{i}", "sum": r"\sum_{i}"}  # the words of `reduction`
LOOSE, SUM, SIGN, ENTRIES, PRODUCT, APPLIED, POWER, ATOM = range(8)  # ENTRIES: a ⊙ b
MARK = re.compile(r"@(\d)")
COMPARISONS = {
    np.less: r"\lt",
    np.less_equal: r"\le",
    np.greater: r"\gt",
    np.greater_equal: r"\ge",
    np.equal: "=",
    np.not_equal: r"\ne",
    np.bitwise_and: r"\land",
    np.bitwise_or: r"\lor",
    np.logical_and: r"\land",
    np.logical_or: r"\lor",
}
GREEK = re.compile(
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|chi|"
    "psi|omega|Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega"
)
SPECIAL = {c: f"\\{c}" for c in "{}$&%#_"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def render(x: Expression, names: Mapping[str, str]) -> str:
    """The LaTeX of an expression, with `names` for its names where they have others."""
    return rendered(x, names)[0]


def rendered(x: Any, names: Mapping[str, str]) -> tuple[str, int]:
    """The LaTeX of an expression, and how tightly it binds."""
    if isinstance(x, Name):
        if x.text not in names:
            return letter(x.text), ATOM
        text = names[x.text]
        return text, binding_of_text(text)
    if isinstance(x, Constant):
        return of_constant(x.value, bool(names))
    if type(x) in (tuple, list):
        return r"\left(" + ", ".join(render(part, names) for part in x) + r"\right)", ATOM
    function, args = text_.numpy_of(x.function), x.args
    if function in COMPARISONS and len(args) == 2:
        sides = [within(arg, SUM, names) for arg in args]
        return f" {COMPARISONS[function]} ".join(sides), LOOSE
    if function is np.invert or function is np.logical_not:
        return r"\lnot " + within(args[0], ATOM, names), APPLIED
    if function is np.ones:
        return rf"\mathbf{{1}}_{{{times(np.atleast_1d(args[0].value).tolist())}}}", ATOM
    if (added := added_axes(x)) is not None:
        return f"{{{within(args[0], ATOM, names)}}}{letters_of(*added)}", ATOM
    if (vectors := outer(x)) is not None:
        a, b = (within(part, level, names) for part, level in zip(vectors, (APPLIED, ATOM)))
        return rf"{a} {b}^{{\top}}", PRODUCT
    if text_.spelling(x.function) == "getitem" and (len(args) > 1 or x.params):
        inside = text_.index(x.params["index"] if x.params else args[1], {})
        return f"{{{within(args[0], ATOM, names)}}}_{{{words(inside)}}}", ATOM
    if (matrix := text_.transposed(x)) is not None:
        return f"{within(matrix, ATOM, names)}^{{\\top}}", POWER
    if function is one_hot:
        return rf"\operatorname{{onehot}}\left({render(args[0], names)}\right)", ATOM
    if text_.spelling(x.function) in ("astype", "copy"):  # the same numbers
        return rendered(args[0], names)
    op = text_.primitive_of(x.function)
    notation = op.notation if op else None
    notation = notation(*x.shapes[: len(args)]) if callable(notation) else notation
    if op and notation is not None and fits(notation, len(args)):
        params, by_itself = Params(x, text_.usual(op)), {"indices", "n", "keepdims"}
        by_itself |= set() if "axis" in x.params else {"axis"}
        others = params.keys() - set(fields(notation)) - by_itself
        if "others" in fields(notation):
            shown = [name for name in x.params if name in others]
            params["others"] = "".join(rf", \text{{{words(k)}}}={params[k]}" for k in shown)
        if not others or "others" in fields(notation):
            levels, own = bindings(notation)
            parts = [within(arg, levels.get(i, LOOSE), names) for i, arg in enumerate(args)]
            written = Formatter().vformat(notation, parts, params)
            written = re.sub(FACTOR + r" (?=\\text\{)", r"\1 \, ", written)
            return written.replace("_{, ", "_{").replace("_{}", ""), own  # nothing to be told
    name = r"\operatorname{" + words(text_.spelling(x.function)) + "}"
    args, told = text_.told_of(x)
    given = [render(arg, names) for arg in args]
    given += [f"\\text{{{words(k)}}}={render(v, names)}" for k, v in told.items()]
    return name + r"\left(" + ", ".join(given) + r"\right)", ATOM


class Params(dict[str, str]):
    """A call's params for a notation that shows some; those left out are empty.

    Axes have letters: `axis` those that a call works along, `indices` all of its operand. `n` is
    how many entries lie along `axis`; `others` are all that the notation has no other place for.
    """

    def __init__(self, x: Applied, usual: Mapping[str, Any]) -> None:
        super().__init__()
        given = {name: text_.plain(value) for name, value in x.params.items()}
        shape = x.shapes[0] if x.shapes else ()
        axis = given.pop("axis", usual.get("axis"))
        axis = axis if isinstance(axis, (int, tuple, list)) else None
        along = range(len(shape)) if axis is None else np.atleast_1d(axis).tolist()
        if shape and len(shape) <= len(AXES):
            along = sorted(a % len(shape) for a in along)
            self["axis"] = ", ".join(AXES[a] for a in along)
            self["indices"] = AXES[: len(shape)]
            self["n"] = str(math.prod(shape[a] for a in along))
        elif axis is not None:
            self["axis"] = rf"\text{{axis }}{axis}"
        for name, value in given.items():
            if value is not None:
                self[name] = setting(name, value, x.params[name])

    def __missing__(self, name: str) -> str:
        return "n" if name == "n" else ""


def setting(name: str, value: Any, x: Expression) -> str:
    """A param in a notation: sizes as 2 x 3, a number that all axes or times share once."""
    several = isinstance(value, (tuple, list)) and len(value) > 0
    if several and name in ("kernel_size", "size"):
        return times(value)
    if several and all(type(part) is int and part == value[0] for part in value):
        return str(value[0])
    known = SUMS.get(value) if isinstance(value, str) else None
    return known or rendered(x, {})[0]


def added_axes(x: Expression) -> tuple[int, list[int]] | None:
    """How many axes the result of a call has, and which of them are new, if it does no more than
    add some."""
    if not isinstance(x, Applied) or not x.shapes:
        return None
    had, name = len(x.shapes[0]), text_.spelling(x.function)
    if name not in ("expand_dims", "getitem"):
        return None
    (given,) = (text_.plain(a) for a in (*x.args[1:], *x.params.values()))
    if name == "expand_dims":
        axes = np.ravel(given).tolist()
        return had + len(axes), [a % (had + len(axes)) for a in axes]
    parts = list(given) if isinstance(given, (tuple, list)) else [given]
    whole = [part for part in parts if isinstance(part, slice) and part == slice(None)]
    new = [part for part in parts if part is None]
    dots = [part for part in parts if part is Ellipsis]
    if not new or len(whole) + len(new) + len(dots) < len(parts):
        return None
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    parts[at : at + 1] = [slice(None)] * (had - len(whole))
    return len(parts), [i for i, part in enumerate(parts) if part is None]


def letters_of(total: int, new: list[int]) -> str:
    """The subscripts of an array that got `new` axes: the letters of those that it had."""
    letters = "".join(AXES[a] for a in range(total) if a not in new) if total <= len(AXES) else ""
    return f"_{{{letters}}}" if letters else ""


def outer(x: Applied) -> tuple[Expression, Expression] | None:
    """The vectors a and b, where a call multiplies a column of the one with a row of the other."""
    if text_.numpy_of(x.function) is not operator.mul or len(x.shapes) != 2:
        return None
    (a, b), row = x.args, x.shapes[1]
    if added_axes(a) != (2, [1]):
        return None
    if len(row) == 1:
        return a.args[0], b
    return (a.args[0], b.args[0]) if added_axes(b) == (2, [0]) else None


def within(x: Expression, level: int, names: Mapping[str, str]) -> str:
    text, own = rendered(x, names)
    if own >= level:
        return text
    # a condition as a number is 1 or 0: Iverson's brackets
    return rf"\left[{text}\right]" if own == LOOSE else rf"\left({text}\right)"


@cache
def fits(notation: str, n: int) -> bool:
    """Whether a notation has a place for each of n operands."""
    try:
        found = [field for field in Formatter().parse(notation) if field[1] is not None]
        places = {int(f) for _, f, _, _ in found if f and f.isdigit()}
        if any(spec or conversion for _, _, spec, conversion in found):
            return False
    except ValueError:  # a brace too many
        return False
    return places == set(range(n))


def fields(notation: str) -> list[str]:
    """What a notation has places for."""
    return [field for _, field, _, _ in Formatter().parse(notation) if field]


@cache
def bindings(notation: str) -> tuple[dict[int, int], int]:
    """How tightly each operand has to bind where a notation puts it, and how tightly the whole."""
    marked = notation.format(
        *(f"@{i}" for i in range(10)), **{f: "" for f in fields(notation) if not f.isdigit()}
    )
    levels: dict[int, int] = {}
    for match in MARK.finditer(marked):
        before, after = marked[: match.start()].rstrip(), marked[match.end() :].lstrip()
        i = int(match[1])
        levels[i] = max(levels.get(i, LOOSE), needed(before, after))
    return levels, binding_of(marked)


OPENING = re.compile(
    r"(^|[({|,&]|\\begin\{cases\}|\\text\{[^}]*\}|\\\\|\\l(vert|Vert|floor|ceil|angle))$"
)
CLOSING = re.compile(r"$|[)}|,&]|\\\\|\\r(vert|Vert|floor|ceil|angle)|[+=<>-]")
TIMES = r"\\(odot|cdot|otimes|times)"
SLIDES = r"(\\star|(?<= )\*)(_\{[^{}]*\})?"
FACTOR = r"((?:^|[^\\\w])\w|[)}\d])"  # how one ends; \odot and its like do not
FUNCTION = re.compile(r"\\[a-zA-Z]+(\{[^{}]*\})?([_^](\{[^{}]*\}|.))*$")


def needed(before: str, after: str) -> int:
    """How tightly what stands between two pieces of LaTeX has to bind."""
    if after.startswith(("^", "_", "'", "}^", "}_")):
        return ATOM
    if before.endswith(("+", "-")):
        return ENTRIES
    if re.search(f"({TIMES}|{SLIDES})$", before):
        return APPLIED
    if OPENING.search(before):
        first_factor = SIGN if re.match(TIMES, after) else PRODUCT
        return LOOSE if CLOSING.match(after) else first_factor
    return APPLIED + bool(FUNCTION.search(before))  # after another factor, or a function's name


def binding_of(marked: str) -> int:
    """How tightly a notation binds as a whole, by the signs outside of all brackets."""
    cleaned = re.sub(r"\\begin\{cases\}.*\\end\{cases\}", "A", marked)
    cleaned = re.sub(r"\\l(vert|Vert|floor|ceil).*\\r(vert|Vert|floor|ceil)", "A", cleaned)
    depth, top = 0, ""
    for c in cleaned:
        depth -= c in ")}"
        top += c if not depth else ""
        depth += c in "({"
    if re.search(r"[^ ] *[+-]", top):
        return SUM
    if top.startswith("-"):
        return SIGN
    if re.search(f"{TIMES}|{SLIDES}", top):
        return ENTRIES
    if re.search(r"[@\w})] *@|@\d *\\[a-zA-Z]", top):
        return PRODUCT
    if re.match(r"\\(?!sqrt|overline|bar)[a-zA-Z]+", top):
        return POWER if top.endswith("()") else APPLIED  # f(x) and f x
    return POWER if "^" in top else ATOM


def binding_of_text(text: str) -> int:
    """How tightly LaTeX binds that stands for a name: a number, a derivative, another name."""
    if text.startswith((r"\frac", "D_{")):
        return APPLIED
    if re.search(r" [+-] ", text):
        return SUM
    return SIGN if text.startswith("-") else PRODUCT if r"\cdot" in text else ATOM


def of_constant(x: Any, short: bool) -> tuple[str, int]:
    """A constant; `short` to four digits, and without the entries of an array."""
    if isinstance(x, (bool, int, float, np.generic)) or (isinstance(x, np.ndarray) and not x.ndim):
        number = brief(x) if short else power_of_ten(repr(x.item() if hasattr(x, "item") else x))
        return number, binding_of_text(number)
    return rf"\text{{{words(text_.of_constant(x, short)[0])}}}", ATOM


def brief(x: Any) -> str:
    """As `text.brief`: a number to four digits, a small array, or the shape of a large one."""
    x = np.asarray(x)
    if not x.ndim:
        return power_of_ten(text_.number(x[()]))
    if text_.shown(x):
        parts = [*map(brief, x)]
        return text_.marked(rf"\left[{', '.join(parts)}\right]", *parts)
    return rf"\mathbb{{{'C' if x.dtype.kind == 'c' else 'R'}}}^{{{times(x.shape)}}}"


def times(shape: Sequence[int]) -> str:
    return r" \times ".join(map(str, shape))


def power_of_ten(text: str) -> str:
    """The text of a number, with `e-05` written as a power of ten."""
    special = {"inf": r"\infty", "-inf": r"-\infty", "nan": r"\text{NaN}"}
    new = re.sub(r"e([+-])0*(\d+)", lambda m: rf" \cdot 10^{{{m[1].strip('+')}{m[2]}}}", text)
    new = special.get(new, new if new not in ("True", "False") else rf"\text{{{new}}}")
    return text_.marked(new, text)


def letter(name: str) -> str:
    """A name as a symbol: `x`, `x1` with a subscript, `weight`, `beta`; `W[0, 1]` as an entry."""
    if entry := re.fullmatch(r"(.+)\[([\d, ]+)\]", name):
        return f"{{{letter(entry[1])}}}_{{{entry[2]}}}"
    found = re.fullmatch(r"([A-Za-z]+?)(\d*)", name)
    if found is None or not (len(found[1]) == 1 or GREEK.fullmatch(found[1])):
        return rf"\text{{{words(name)}}}"
    stem = found[1] if len(found[1]) == 1 else "\\" + found[1]
    return f"{stem}_{{{found[2]}}}" if found[2] else stem


def words(text: str) -> str:
    """Any text, escaped: none of it is a command of LaTeX."""
    return "".join(SPECIAL.get(c, c if c.isprintable() else " ") for c in text)


def to_mathml(latex: str) -> str:
    """MathML of LaTeX. ImportError, with what to install, without latex2mathml.

    The converter copies text as it is, markup and backslashes: what is escaped passes in disguise.
    """
    try:
        from latex2mathml.converter import convert
    except ImportError:
        raise missing("MathML needs latex2mathml", "viz") from None
    for i, (written, _) in enumerate(DISGUISES):
        latex = latex.replace(written, chr(PRIVATE + i))
    mathml = str(convert(latex))
    for i, (_, shown) in enumerate(DISGUISES):
        mathml = mathml.replace(chr(PRIVATE + i), escape(shown))
    return mathml


PRIVATE = 0xE000  # characters that Unicode leaves to private use
DISGUISES = [(written, c) for c, written in SPECIAL.items()]

"""Calls and arguments of a program as NumPy code: names, constants, operators."""

from __future__ import annotations

import keyword
import operator
import re
from typing import Any
from unicodedata import normalize

import numpy as np

from tensorgrad.compiler.program import (
    Instruction,
    chosen,
    converted,
    draw,
    entries,
    item,
    viewed,
)
from tensorgrad.engine.dtypes import spelt

INFIX = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.pow: "**",
    operator.gt: ">",
    operator.ge: ">=",
    operator.lt: "<",
    operator.le: "<=",
    operator.eq: "==",
    operator.ne: "!=",
    operator.and_: "&",
    operator.or_: "|",
    operator.xor: "^",
    operator.matmul: "@",
    operator.lshift: "<<",
    operator.rshift: ">>",
}
PREFIX = {operator.neg: "-", operator.pos: "+", operator.invert: "~"}
CHOICE, COMPARISON, SUM, PRODUCT, SIGN, POWER, NAME = range(7)
"""What binds its operands how much."""
BINDS: dict[Any, int] = {
    **{chosen: CHOICE, operator.add: SUM, operator.sub: SUM, operator.mul: PRODUCT},
    **{operator.truediv: PRODUCT, operator.neg: SIGN, operator.pow: POWER},
    **{operator.gt: COMPARISON, operator.ge: COMPARISON, operator.lt: COMPARISON},
    **{operator.le: COMPARISON, operator.eq: COMPARISON, operator.ne: COMPARISON},
}


class Text:
    """The words of some code: names, none of them twice, and calls of what they stand for.

    `constants`: what the code is given, by name; `setup`: lines that run once.
    """

    def __init__(self) -> None:
        self.names: dict[Instruction, str] = {}
        self.taken = {
            "np",
            "math",
            "finite",
            "step",
            "make",
            "range",
            "slice",
            "float",
            "abs",
            *keyword.kwlist,
        }
        self.last: dict[str, int] = {}  # by name, the number that its newest like has
        self.constants: dict[str, Any] = {}
        self.known: dict[Any, str] = {}
        self.setup: list[Any] = []
        self.binds: dict[Instruction, int] = {}  # of what goes by no name, but by its text

    def new(self, name: str) -> str:
        """A name like that, which nothing has yet."""
        name = normalize("NFKC", name)  # as Python reads it: x² is x2
        name = re.sub(r"\W+", "_", name).strip("_") or "x"
        if not f"x{name}".isidentifier():
            name = re.sub(r"\W+", "_", ascii(name)).strip("_")
        name = f"x{name}" if name[0].isdigit() else name
        found, n = name, self.last.get(name, 1)
        while found in self.taken:
            n += 1
            found = f"{name}_{n}"
        self.last[name] = n
        self.taken.add(found)
        return found

    def constant(self, x: Any, name: str = "k") -> str:
        """The name of an object that the code is given, or of a number that it makes."""
        number = isinstance(x, np.ndarray) and not x.ndim and x.dtype.kind in "fiu"
        key = (x.dtype, x.tobytes()) if number else id(x)
        if key not in self.known:
            if number:
                name = f"{x:.6g}".replace("-", "minus_").replace(".", "_").replace("+", "")
                name = {"1": "one", "2": "two", "0": "zero"}.get(name, f"c{name}")
            made = self.known[key] = self.new(name)
            if number and np.isfinite(x):
                self.setup.append(f"{made} = np.array({x.item()!r}, {spelt(x.dtype)!r})")
            else:
                self.constants[made] = x
        return self.known[key]

    def function(self, f: Any) -> str:
        """The name of a function, Python's, NumPy's or one that the code is given."""
        name = getattr(f, "__name__", "f")
        if f is float or f is abs:
            return name
        for module, prefix in ((np, "np"), (np.linalg, "np.linalg"), (np.fft, "np.fft")):
            if getattr(module, name, None) is f:
                return f"{prefix}.{name}"
        ufunc = getattr(f, "__self__", None)
        if isinstance(ufunc, np.ufunc) and getattr(ufunc, name, None) == f:
            return f"{self.function(ufunc)}.{name}"
        return self.constant(f, name)

    def text(self, x: Any) -> str:
        """An argument, as it is written."""
        if isinstance(x, Instruction):
            return self.names[x]
        if type(x) is tuple:
            return f"({', '.join(map(self.text, x))}{',' if len(x) == 1 else ''})"
        if type(x) is list:
            return f"[{', '.join(map(self.text, x))}]"
        if type(x) is slice:
            return f"slice({', '.join(map(self.text, (x.start, x.stop, x.step)))})"
        if type(x) in (bool, int, str, type(None), type(...)):
            return repr(x)
        if type(x) in (float, complex) and np.isfinite(x):
            return repr(x)
        if isinstance(x, np.dtype) and x.names is None:
            return f"np.dtype({spelt(x)!r})"
        name = str(getattr(x, "__name__", "k"))
        if isinstance(x, type) and getattr(np, name, None) is x:
            return f"np.{name}"
        return self.constant(x, name)

    def index(self, x: Any) -> str:
        """What stands in brackets."""
        if type(x) is slice:
            ends = ("" if p is None else self.text(p) for p in (x.start, x.stop, x.step))
            start, stop, step = ends
            return f"{start}:{stop}" + (f":{step}" if step else "")
        if type(x) is tuple and x:
            return ", ".join(map(self.index, x)) + ("," if len(x) == 1 else "")
        return self.text(x)

    def operand(self, x: Any, least: int) -> str:
        """An argument of an operator, in parentheses if it binds less than that."""
        text = self.text(x)
        bound = self.binds.get(x, NAME) if isinstance(x, Instruction) else NAME
        bound = SIGN if text.startswith("-") and bound == NAME else bound
        return text if bound >= least else f"({text})"

    def expression(self, i: Instruction) -> str:
        """The call, as NumPy code."""
        f, args = i.function, i.args
        if f is operator.getitem:
            return f"{self.text(args[0])}[{self.index(args[1])}]"
        if f in INFIX and not i.kwargs:
            binds = BINDS.get(f, NAME)  # -2 ** y is -(2 ** y)
            left, right = max(binds, SUM) if binds < POWER else NAME, min(binds + 1, SIGN)
            return f"{self.operand(args[0], left)} {INFIX[f]} {self.operand(args[1], right)}"
        if f in PREFIX:
            return f"{PREFIX[f]}{self.operand(args[0], NAME)}"
        if f is chosen:
            mask, x, y = (self.operand(x, COMPARISON) for x in args)
            return f"{x} if {mask} else {y}"
        if f is item:
            return f"{self.text(args[0])}.item()"
        if f is draw:
            return f"{self.text(args[0])}.{args[1]}({self.arguments(args[2:], i.kwargs)})"
        if f is viewed:
            return f"{self.text(args[0])}.view({self.text(args[1])})"
        if f is converted and i.shape:
            return f"{self.text(args[0])}.astype({self.arguments(args[1:], i.kwargs)})"
        if not args or isinstance(getattr(args[0], "dtype", int), type):  # Python's have no methods
            return f"{self.function(f)}({self.arguments(args, i.kwargs)})"
        if f is entries:
            return f"[*{self.text(args[0])}.flat]"
        if f is np.take and isinstance(args[0], Instruction) and args[0].shape:  # 1.5 µs earlier
            return f"{self.text(args[0])}.take({self.arguments(args[1:], i.kwargs)})"
        if f is np.reshape and not i.kwargs:
            return f"{self.text(args[0])}.reshape({self.text(args[1])})"
        if f is np.transpose and not i.kwargs and all(x is None for x in args[1:]):
            return f"{self.text(args[0])}.T"
        if f is np.swapaxes or (f is np.transpose and not i.kwargs):
            axes = ", ".join(map(self.text, (*args[1:], *i.kwargs.values())))
            return f"{self.text(args[0])}.{f.__name__}({axes})"
        return f"{self.function(f)}({self.arguments(args, i.kwargs)})"

    def arguments(self, args: Any, kwargs: Any) -> str:
        named = [f"{name}={self.text(x)}" for name, x in kwargs.items()]
        return ", ".join([*map(self.text, args), *named])

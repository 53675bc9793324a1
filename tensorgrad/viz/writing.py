"""How explanations write names, numbers and derivatives: as text, and as LaTeX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tensorgrad.node import Array
from tensorgrad.viz import latex
from tensorgrad.viz.formula import Formula
from tensorgrad.viz.names import brief


class Writer(Protocol):
    """A way to write: `TEXT` or `LATEX`."""

    def name(self, name: str) -> str: ...

    def number(self, x: Array) -> str: ...

    def derivative(self, of: str, by: str) -> str: ...

    def product(self, factors: list[str]) -> str: ...

    def formula(self, formula: Formula, words: Mapping[str, str], scalar: bool) -> str: ...


class Text:
    """For terminals: `∂e/∂b = ∂e/∂d * ∂d/∂b`."""

    def name(self, name: str) -> str:
        return name

    def number(self, x: Array) -> str:
        return brief(x)

    def derivative(self, of: str, by: str) -> str:
        return f"∂{of}/∂{by}"

    def product(self, factors: list[str]) -> str:
        return " * ".join(f"({f})" if f.startswith("-") and i else f for i, f in enumerate(factors))

    def formula(self, formula: Formula, words: Mapping[str, str], scalar: bool) -> str:
        return formula.text(words)


class Latex:
    """For paper."""

    def name(self, name: str) -> str:
        return latex.letter(name)

    def number(self, x: Array) -> str:
        return latex.brief(x)

    def derivative(self, of: str, by: str) -> str:
        return rf"\frac{{\partial {self.name(of)}}}{{\partial {self.name(by)}}}"

    def product(self, factors: list[str]) -> str:
        bracketed = (rf"({f})" if f.startswith("-") and i else f for i, f in enumerate(factors))
        return r" \cdot ".join(bracketed)

    def formula(self, formula: Formula, words: Mapping[str, str], scalar: bool) -> str:
        written = formula.latex(words)
        return written.replace(r"\odot", r"\cdot") if scalar else written


TEXT, LATEX = Text(), Latex()

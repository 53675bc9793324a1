"""How explanations write names, numbers and derivatives: as text, and as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tensorgrad.engine.node import Array
from tensorgrad.formula import latex
from tensorgrad.formula.formula import Formula
from tensorgrad.formula.text import brief


class Writer:
    """Text for terminals: `∂e/∂b = ∂e/∂d * ∂d/∂b`."""

    times = "*"

    def name(self, name: str) -> str:
        return name

    def number(self, x: Array) -> str:
        return brief(x)

    def derivative(self, of: str, by: str) -> str:
        return f"∂{of}/∂{by}"

    def formula(self, formula: Formula, words: Mapping[str, str], scalar: bool) -> str:
        return formula.text(words)

    def product(self, factors: Iterable[str]) -> str:
        return f" {self.times} ".join(bracketed(factors))

    def equal(self, sides: Sequence[str]) -> str:
        return " = ".join(sides)

    def sum(self, terms: Iterable[str]) -> str:
        return " + ".join(bracketed(terms))


class Latex(Writer):
    """LaTeX, for math mode."""

    times = r"\cdot"

    def name(self, name: str) -> str:
        return latex.letter(name)

    def number(self, x: Array) -> str:
        return latex.brief(x)

    def derivative(self, of: str, by: str) -> str:
        return rf"\frac{{\partial {self.name(of)}}}{{\partial {self.name(by)}}}"

    def equal(self, sides: Sequence[str]) -> str:
        """The sides of an equation; an array that is not shown is in a space."""
        *rest, last = sides
        return (
            rf"{' = '.join(rest)} \in {last}" if last.startswith(r"\mathbb") else " = ".join(sides)
        )

    def formula(self, formula: Formula, words: Mapping[str, str], scalar: bool) -> str:
        written = formula.latex(words)
        return written.replace(r"\odot", r"\cdot") if scalar else written


def bracketed(parts: Iterable[str]) -> list[str]:
    """Parts of a sum or product: negative numbers in brackets, but for the first."""
    return [f"({part})" if i and part.startswith("-") else part for i, part in enumerate(parts)]


TEXT, LATEX = Writer(), Latex()

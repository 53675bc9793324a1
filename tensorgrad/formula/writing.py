"""How explanations write names, numbers and derivatives: as text, and as LaTeX."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from tensorgrad.engine.node import Array
from tensorgrad.formula import latex
from tensorgrad.formula.formula import Formula
from tensorgrad.formula.text import Rounded, brief, marked


class Writer:
    """Text for terminals: `∂e/∂b = ∂e/∂d * ∂d/∂b`."""

    times, near, dots = "*", "≈", "…"

    def name(self, name: str) -> str:
        return name

    def number(self, x: Array) -> str:
        return brief(x)

    def derivative(self, of: str, by: str, of_sum: bool = False) -> str:
        return f"∂{'Σ' * of_sum}{of}/∂{by}"

    def along(self, direction: str, name: str) -> str:
        """A directional derivative."""
        return f"D_{direction}({name})"

    def formula(self, formula: Formula, words: Mapping[str, str], scalar: bool) -> str:
        written = formula.text(words)
        return Rounded(written) if formula.rounded(words) else written

    def product(self, factors: Sequence[str]) -> str:
        return marked(f" {self.times} ".join(bracketed(factors)), *factors)

    def equal(self, sides: Sequence[str]) -> str:
        """The sides of an equation, ≈ beside those that are rounded."""
        rest = (f" {self.sign(*pair)} {pair[1]}" for pair in itertools.pairwise(sides))
        return "".join([*sides[:1], *rest])

    def sign(self, left: str, right: str) -> str:
        """What stands between two sides of an equation."""
        return self.near if isinstance(left, Rounded) or isinstance(right, Rounded) else "="

    def sum(self, terms: Sequence[str]) -> str:
        return marked(" + ".join(bracketed(terms)), *terms)


class Latex(Writer):
    """LaTeX, for math mode."""

    times, near, dots = r"\cdot", r"\approx", r"\dots"

    def name(self, name: str) -> str:
        return latex.letter(name)

    def number(self, x: Array) -> str:
        return latex.brief(x)

    def derivative(self, of: str, by: str, of_sum: bool = False) -> str:
        of = r"\Sigma " * of_sum + self.name(of)
        return rf"\frac{{\partial {of}}}{{\partial {self.name(by)}}}"

    def along(self, direction: str, name: str) -> str:
        return f"D_{{{self.name(direction)}}} {self.name(name)}"

    def sign(self, left: str, right: str) -> str:
        """An array that is not shown is in a space."""
        return r"\in" if right.startswith(r"\mathbb") else super().sign(left, right)

    def formula(self, formula: Formula, words: Mapping[str, str], scalar: bool) -> str:
        written = formula.latex(words)
        written = written.replace(r"\odot", r"\cdot") if scalar else written
        return Rounded(written) if formula.rounded(words) else written


def bracketed(parts: Iterable[str]) -> list[str]:
    """Parts of a sum or product: negative numbers in brackets, but for the first."""
    return [f"({part})" if i and part.startswith("-") else part for i, part in enumerate(parts)]


TEXT, LATEX = Writer(), Latex()

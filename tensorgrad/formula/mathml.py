"""Formulas of a page as MathML: each element written once, however often it occurs."""

from __future__ import annotations

import importlib.util
import json
import xml.etree.ElementTree as ElementTree
from typing import Any

from tensorgrad.formula.latex import to_mathml


def available() -> bool:
    """Whether there is what makes MathML; pages show text without it."""
    return importlib.util.find_spec("latex2mathml") is not None


class Formulas:
    """MathML as `pieces` of pieces, for JSON.

    A piece is a tag, its text or the numbers of the pieces in it, and its attributes if any; of a
    number the text alone, of a row the numbers alone.
    """

    def __init__(self, trees: dict[str, ElementTree.Element]) -> None:
        self.trees = trees  # what was converted already
        self.pieces: list[Any] = []
        self.known: dict[str, int] = {}

    def add(self, latex: str) -> int:
        """The number of the piece that a formula is."""
        if latex not in self.trees:
            shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in latex)
            self.trees[latex] = ElementTree.fromstring(to_mathml(shown))
        return self.piece(self.trees[latex])

    def piece(self, element: ElementTree.Element) -> int:
        tag = element.tag.partition("}")[2]
        inside = [self.piece(part) for part in element]
        if tag in ("math", "mrow") and len(inside) == 1:
            return inside[0]
        new: Any = [tag, inside or element.text or ""]
        if element.attrib:
            new.append(element.attrib)
        elif tag == "mrow":
            new = inside
        elif tag == "mn":
            new = element.text
        key = json.dumps(new)
        if key not in self.known:
            self.known[key] = len(self.pieces)
            self.pieces.append(new)
        return self.known[key]

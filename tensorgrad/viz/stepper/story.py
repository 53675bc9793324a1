"""What a page tells of a computation: its events, in both modes, as JSON has them."""

from __future__ import annotations

import json
import operator
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.arrays import is_lazy
from tensorgrad.engine.node import Array, Node
from tensorgrad.formula.latex import to_mathml
from tensorgrad.formula.text import Rounded, brief, number
from tensorgrad.formula.writing import LATEX, TEXT
from tensorgrad.graph.names import Names
from tensorgrad.graph.replay import Event, Replay
from tensorgrad.value import Value
from tensorgrad.viz.graph.labels import CELLS, blocks, largest, norm
from tensorgrad.viz.graph.layout import PLACES, places
from tensorgrad.viz.graph.outline import Outline

MOST_NODES = 1000
FORWARD = 500  # events of forward mode: it is offered for the first inputs that fit
MAP = CELLS
SHORT = 24  # characters of a formula in the picture


class Sweeps(NamedTuple):
    """All events of all sweeps. A node, and an edge, goes by the number of its place here."""

    values: list[Event]
    nodes: dict[Node, int]
    edges: dict[tuple[Node, int | None], int]  # by the node and the operand
    ends: list[tuple[int, int]]  # of each edge, from operand to node
    inputs: list[Node]
    derivatives: list[list[Event]]  # reverse mode; forward mode by the first of the inputs


def told(value: Value, wrt: Any, names: Names) -> Sweeps:
    """Replay `value` in both modes. ValueError for too many nodes."""
    replay = Replay(value, wrt, names)
    nodes = {node: i for i, node in enumerate(replay.order)}
    edges: dict[tuple[Node, int | None], int] = {}
    ends: list[tuple[int, int]] = []
    for node in nodes:
        for i, x in enumerate(node.operands):
            if x is not None and x in nodes:
                edges[node, i] = len(ends)
                ends.append((nodes[x], nodes[node]))
    if len(nodes) > MOST_NODES or places(ends) > PLACES:
        raise ValueError(
            f"{len(nodes):,} nodes, whose arrows pass {places(ends):,} places, are too many to "
            f"step through ({MOST_NODES:,} and {PLACES:,} are the limits): take a smaller example, "
            "or draw it folded with tg.viz.graph(value, model, depth=0)"
        )
    derivatives = [list(replay.backward())]
    values = list(replay.values(derivatives[0][0]))
    if wrt is None:
        inputs = [node for node in nodes if node.op is None]
    else:
        inputs = [x.node for x in (wrt if isinstance(wrt, (list, tuple)) else [wrt])]
    for node in inputs:
        derivatives.append(list(replay.forward(node)))
        if sum(map(len, derivatives[1:])) > FORWARD:
            break
    return Sweeps(values, nodes, edges, ends, inputs, derivatives)


class Share(NamedTuple):
    """How much of a story is told: events of forward mode, sides of heat maps, MathML."""

    forward: int
    cells: int
    math: bool


def story(
    sweeps: Sweeps, picture: Outline, share: Share, trees: dict[str, ElementTree.Element]
) -> dict[str, Any]:
    """What the page tells, as JSON has it."""
    formulas = Formulas(trees) if share.math else None
    shared = sweeps.derivatives[:2]
    for sweep in sweeps.derivatives[2:]:
        if sum(map(len, [*shared[1:], sweep])) <= share.forward:
            shared.append(sweep)
    sizes = [node.data.size for node in sweeps.inputs]  # a sweep by each number
    counts = [reached(sweeps, sweeps.nodes[node]) for node in sweeps.inputs]
    return {
        "nodes": [
            without_none(
                {
                    "name": event.name,
                    "kind": kind(event, sweeps),
                    "label": label(event),
                    "at": picture.places[f"n{i}"],
                    "about": about(event.value) if np.ndim(event.value) else None,
                    "box": size(event.value),
                    "cells": grid(event.value, share.cells),
                    "large": large(event.value) or None,
                    "text": str(event),
                    **(formulas.equation(event) if formulas else {}),
                }
            )
            for i, event in enumerate(sweeps.values)
        ],
        "edges": [
            {"ends": ends, "at": picture.places[f"e{k}"]} for k, ends in enumerate(sweeps.ends)
        ],
        "sweeps": [
            {
                "by": sweeps.nodes[sweep[0].node],
                "events": [told_of(event, sweeps, share.cells, formulas) for event in sweep],
            }
            for sweep in shared
        ],
        "inputs": len(counts),
        "numbers": sum(sizes),
        "forward": sum(map(operator.mul, sizes, counts)),
        "formulas": formulas and formulas.pieces,
    }


def told_of(event: Event, sweeps: Sweeps, cells: int, formulas: Formulas | None) -> dict[str, Any]:
    """An event where derivatives travel; without what the page can put together from the rest."""
    what, total = event.moving(event.target), in_short(arrived(event))
    box, local = moved(event), event.local
    result = {
        "target": sweeps.nodes[event.target],
        "what": what,
        "sum": total,
        "box": None if box == TEXT.equal([what, total]) else box,
        "cells": grid(arrived(event), cells),
        "large": large(arrived(event)) or None,
        "rough": isinstance(total, Rounded) or None,
        "choice": event.choice,
        "text": str(event).removeprefix(what),
        **(formulas.equation(event) if formulas else {}),
    }
    if event.kind == "edge":
        part = in_short(event.contribution)
        result["edge"] = sweeps.edges[event.node, event.operand]
        result["part"] = None if part == total else part
        result["local"] = None if local is None or np.ndim(local) else brief(local)
    return without_none(result)


def without_none(given: dict[str, Any]) -> dict[str, Any]:
    return {key: x for key, x in given.items() if x is not None}


def kind(event: Event, sweeps: Sweeps) -> str | None:
    if event is sweeps.values[-1]:
        return "output"
    return "leaf" if event.kind == "leaf" else None


def reached(sweeps: Sweeps, start: int) -> int:
    """How many edges forward mode walks from node `start`."""
    found, count = {start}, 0
    for x, node in sweeps.ends:
        if x in found and node != start:
            found.add(node)
            count += 1
    return count


def arrived(event: Event) -> Array:
    """Its derivative so far."""
    return event.g if event.kind == "seed" else event.total


def label(event: Event) -> str:
    """A node's name and formula, as they stand in the picture."""
    name = shortened(event.name)
    if event.node.op is None:
        return name
    sides = event.sides()
    text = f"{name} = {sides[1]}"
    return text if len(sides) > 2 and len(text) <= SHORT else f"{name} = {event.node.op.name}"


def moved(event: Event) -> str:
    """The derivative so far, as it stands in the picture."""
    x, what = arrived(event), event.moving(event.target)
    if len(what) > SHORT // 2:
        what = "gradient" if event.mode == "rev" else "tangent"
    return TEXT.equal([f"‖{what}‖", norm(x)] if np.ndim(x) else [what, brief(x)])


def in_short(x: Array) -> str:
    """As `brief`; of a large array the norm."""
    return f"norm\N{NO-BREAK SPACE}{norm(x)}" if large(x) else brief(x)


def large(x: Array) -> bool:
    """Whether `brief` tells of an array no more than its shape."""
    return bool(np.ndim(x)) and not brief(x).startswith("[")


def size(x: Array) -> str:
    """A number, or the shape of an array."""
    return " × ".join(map(str, np.shape(x))) if np.ndim(x) else brief(x)


def about(x: Array) -> str:
    """Of an array the dtype, the shape, and between what its entries lie."""
    parts = f"{x.dtype}, {size(x)}"
    if x.size and x.dtype.kind in "fiu":
        parts += f", from {number(x.min())} to {number(x.max())}"
    return parts


def grid(x: Array, side: int) -> list[list[str]] | None:
    """An array as a table of at most `side` rows and columns: its entries, or of blocks the largest
    ones."""
    if is_lazy(x) or not np.ndim(x) or not np.size(x) or not side:
        return None
    x = np.abs(x) if np.iscomplexobj(x) else np.asarray(x, float)
    return [[f"{largest(block):.3g}" for block in line] for line in blocks(x, side)]


def shortened(name: str) -> str:
    """A name, without its middle if it is long."""
    return name if len(name) <= SHORT - 4 else f"{name[:6]}…{name[-(SHORT - 12) :]}"


class Formulas:
    """MathML as `pieces` of pieces, for JSON.

    A piece is a tag, its text or the numbers of the pieces in it, and its attributes if any; of a
    number the text alone, of a row the numbers alone.
    """

    def __init__(self, trees: dict[str, ElementTree.Element]) -> None:
        self.trees = trees  # what was converted already
        self.pieces: list[Any] = []
        self.known: dict[str, int] = {}

    def equation(self, event: Event) -> dict[str, Any]:
        """The sides of an event, and before which of them stands ≈."""
        sides = event.sides(LATEX)
        signs = [LATEX.sign(*pair) for pair in pairwise(sides)]
        near = [i for i, sign in enumerate(signs, 1) if sign == LATEX.near]
        return {"math": [self.add(side) for side in sides], "near": near or None}

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

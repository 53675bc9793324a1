"""`stepper`: backpropagation as a page of HTML to step through, in class or in a notebook.

What is said comes from the events of `steps`, where it stands from Graphviz. The page is
`stepper.html`, its looks `stepper.css`; `stepper.js` walks through the events, in both modes.
"""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from string import Template
from typing import Any

import numpy as np

from tensorgrad.formula.text import brief
from tensorgrad.graph.names import Names
from tensorgrad.value import Value
from tensorgrad.viz.graph.layout import Picture, check_rankdir, effort
from tensorgrad.viz.graph.outline import Outline, outline
from tensorgrad.viz.page import Page, asset, only, shell
from tensorgrad.viz.stepper import story
from tensorgrad.viz.stepper.story import Share, Sweeps

CELL = 7  # of a heat map, in points
WIDE, HIGH = 7.9, 20  # a character of the picture, and a line, in points
BYTES = 499_000  # if a page is larger, less is told
SHARES = [
    Share(story.FORWARD, story.MAP, True),
    Share(50, story.MAP // 2, True),
    Share(1, 0, True),
    Share(1, 0, False),
]


def stepper(value: Value, wrt: Any = None, names: Names = None, *, rankdir: str = "LR") -> Page:
    """How `value` and its derivatives come about, as a page to step through.

    First the values, then the derivatives: in reverse mode, in forward mode by an input that the
    page lets choose, or in both, side by side, with the edges counted. The current nodes and edges
    are lit, formulas have their numbers in, sums grow. The page is one file that asks the network
    for nothing: `.save(path)` writes it, notebooks show it.

    `wrt`, `names`: as for `steps`; forward mode is by one of `wrt`, or of the leaves (of a large
    graph the first few). `rankdir`: "LR", "TB", ... as for `graph`. Constants stand in the
    formulas, not in the picture. For 500 nodes the page has less than 500 KB.

    ValueError for more than 1000 nodes, or arrows across too many of them; RuntimeError if the
    layout takes more than 20 seconds; TypeError and ValueError as `steps` raises them.

    >>> a, b = Value(2.0, name="a"), Value(1.0, name="b")
    >>> page = stepper((a + b) * (b + 1))
    >>> page.title
    'The chain rule, step by step: v3'
    """
    check_rankdir(rankdir)
    sweeps = story.told(value, wrt, names)
    picture = drawn(sweeps, rankdir)
    title = f"The chain rule, step by step: {sweeps.values[-1].name}"
    trees: dict[str, ElementTree.Element] = {}
    known = find_spec("latex2mathml") is not None  # else the page shows text
    for share in (share._replace(math=share.math and known) for share in SHARES):
        page = written(story.story(sweeps, picture, share, trees), picture, title)
        if len(page.html.encode("utf-8", "replace")) <= BYTES:
            break
    return page


def drawn(sweeps: Sweeps, rankdir: str) -> Outline:
    """Where everything stands: boxes as large as the longest text they will hold."""
    lines = [
        f"digraph {{ graph [rankdir={rankdir} nodesep=0.25 ranksep=0.3 {effort(len(sweeps.ends))}]",
        'node [shape=box fixedsize=true label=""] edge [dir=both arrowsize=0.8 fontsize=12]',
    ]
    moves = [event for sweep in sweeps.derivatives for event in sweep]
    texts = {e.node: [story.label(e), story.size(e.value)] for e in sweeps.values}
    adds = [["1"] for _ in sweeps.ends]
    for event in moves:
        texts[event.target].append(story.moved(event))
        if event.kind == "edge":
            on_edge = adds[sweeps.edges[event.node, event.operand]]
            on_edge.append(story.in_short(event.contribution))
            if event.local is not None and not np.ndim(event.local):
                on_edge.append(brief(event.local))
    for event in sweeps.values:
        i, cells = sweeps.nodes[event.node], story.grid(event.value, story.MAP)
        rows, columns = np.shape(cells or [[]])
        width = max(len(max(texts[event.node], key=len)) * WIDE, 2 * columns * CELL + 16) + 18
        height = 3 * HIGH + 14 + (rows * CELL + 8 if columns else 0)
        more = " style=rounded" if event.kind == "forward" else ""
        more += " peripheries=2" if event is sweeps.values[-1] else ""
        lines.append(f"n{i} [id=n{i} width={width / 72:.2f} height={height / 72:.2f}{more}]")
    for k, (start, end) in enumerate(sweeps.ends):
        text = "0" * (2 + len(max(adds[k], key=len)))
        lines.append(rf'n{start} -> n{end} [id=e{k} label="{text}\n{text}"]')
    return outline(Picture("\n".join([*lines, "}"])).svg())


def written(told: dict[str, Any], picture: Outline, title: str) -> Page:
    """The page. No name is markup in it: there is no `<` in the JSON, and only one script runs."""
    script = asset("stepper/stepper.js")
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    body = Template(asset("stepper/stepper.html")).substitute(
        title=html.escape(title),
        picture=picture.svg,
        story=re.sub("[<\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text),
        script=script,
    )
    return shell(title, asset("stepper/stepper.css"), body, only(script))

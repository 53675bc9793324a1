"""`graph`: a computation as a picture, with every number of its gradient."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.compiler import Compiled
from tensorgrad.engine.arrays import is_lazy
from tensorgrad.engine.node import Array, Node, data_of
from tensorgrad.formula.text import brief
from tensorgrad.formula.writing import TEXT
from tensorgrad.graph.border import looks_here
from tensorgrad.graph.modules import Path, modules_in, modules_of, outermost
from tensorgrad.graph.names import Called, Names, parameters_in
from tensorgrad.graph.replay import Event, Mode, Replay, leaves_first, replayable, totals
from tensorgrad.value import Value
from tensorgrad.viz.graph.labels import Row, Write, bare, gradient_row, norm, rich, value_rows
from tensorgrad.viz.graph.layout import MANY, PLACES, Picture, check_rankdir, places
from tensorgrad.viz.graph.program import SHOWN, program_graph
from tensorgrad.viz.graph.themes import Theme, head, theme_of

FORMULA = 40  # characters of a formula that are shown
DRAWN = 200  # nodes
SWEPT = 10_000  # nodes of a graph whose derivatives are computed for a picture
SHAPES = {
    "parameter": ("box", "filled,bold"),
    "input": ("box", "filled,dashed"),
    "constant": ("plaintext", "filled"),
    "operation": ("box", "rounded,filled"),
    "output": ("box", "rounded,filled,bold"),
    "folded": ("box3d", "filled"),
}
FOLDED = "a box in relief: several in one; a number on an arrow: how many it stands for"
SUMMARY = "a summary by operation: arrows go round where one works on what it led to"
MAPS = (
    "; in a node: left the value, right the derivative, each as shades of its largest entry"
    " (of a large array: the largest of each block)"
)
LEGENDS: dict[Mode, str] = {
    "rev": "on an edge: × the local derivative, + what it adds to the derivative by the operand",
    "fwd": "on an edge: × the local derivative, + what it adds to the derivative of the result",
}


@looks_here
def graph(
    value: Value | Compiled,
    names: Names = None,
    *,
    wrt: Any = None,
    mode: Mode = "rev",
    gradients: bool = True,
    depth: int | None = None,
    max_nodes: int | None = None,
    rankdir: str = "LR",
    theme: str = "light",
) -> Picture:
    """Draw how `value` comes about, and its gradient.

    A node has its name, formula, value (a number; dtype, shape and a small heat map) and the
    derivative of `value` by it; an edge the local derivative, as a factor, and what that adds to
    the derivative of the operand; for arrays, the norm of what it adds. Parameters have a bold
    frame, inputs a dashed one, constants none, results round corners, the output two frames.

    `names`: what to call Values, a mapping such as `locals()`, or a Module: the nodes that its
    parts made stand in frames named by their attribute paths; by default the Modules that made
    the nodes. `wrt`: the Values by which gradients
    are shown, by default all; in forward mode (`mode="fwd"`) the one by which each node is
    differentiated. `gradients=False` shows what `.grad` holds; a graph of more than 10,000 nodes
    shows neither. `depth`: Modules deeper than that are folded to one node. A graph of more than
    `max_nodes` nodes (200) is folded as far as it needs to be, or summarised by operations.
    `rankdir`: "LR", "TB", ...; `theme`: "light", "dark" or "print".

    Of a compiled function the program is drawn, as it ran last: frames are the parts of a step and
    its Modules, and of more than `max_nodes` operations (80) those of a frame are one box.

    >>> a, b = Value(2.0, name="a"), Value(1.0, name="b")
    >>> picture = graph((a + b) * (b + 1))
    >>> print(picture.source[:9])
    digraph {
    """
    if isinstance(value, Compiled):
        return program_graph(value, max_nodes=max_nodes or SHOWN, rankdir=rankdir, theme=theme)
    max_nodes = DRAWN if max_nodes is None else max_nodes
    check_rankdir(rankdir)
    if max_nodes < 1 or (depth is not None and depth < 0):
        raise ValueError("max_nodes must be at least 1, depth at least 0")
    colours = theme_of(theme)
    if names is None:
        names = outermost(leaves_first(replayable(value).node))
    replay = Replay(replayable(value), wrt, names)
    paths = modules_of(replay.order, modules_in(names))
    groups = grouped(replay.order, paths, depth, max_nodes)
    derivatives = replay.derivatives(mode, wrt)
    events = list(derivatives) if gradients and len(replay.order) <= SWEPT else []
    found = totals(events) if gradients else {x: data_of(x.grad) for x in replay.order}
    choices = {event.node: event.choice for event in events if event.choice}
    drawing = partial(
        Drawing, replay, parameters_in(names), groups, events, found, choices, colours
    )
    return Picture(*("\n".join(drawing(write).lines(rankdir)) + "\n" for write in (rich, bare)))


class Group(NamedTuple):
    """What is drawn as one: a node, or, with a title, several that are folded."""

    path: Path  # of the frames that it stands in
    title: str
    nodes: list[Node]
    alike: bool = False  # folded by operation, not by Module


def grouped(
    order: list[Node], paths: Mapping[Node, Path], depth: int | None, most: int
) -> list[Group]:
    """Each node by itself if they are few, else folded by Module, else by operation."""
    deepest = max(map(len, paths.values()), default=0)
    for limit in range(deepest if depth is None else depth, -1, -1):
        groups = folded(order, paths, limit)
        if len(groups) <= most and places(ends_of(groups)) <= PLACES:
            return groups
    alike: defaultdict[str, list[Node]] = defaultdict(list)
    for node in order:
        alike[".".join((*paths[node][:1], node.op.name if node.op else "leaves"))].append(node)
    return [Group((), title, nodes, True) for title, nodes in alike.items()]


def folded(order: list[Node], paths: Mapping[Node, Path], limit: int) -> list[Group]:
    """The nodes of each Module deeper than `limit` together."""
    groups: dict[Any, Group] = {}
    for node in order:
        path = paths[node]
        key: Any = path[: limit + 1] if len(path) > limit else node
        if key not in groups:
            title = "" if key is node else ".".join(path[: limit + 1])
            groups[key] = Group(path[:limit], title, [])
        groups[key].nodes.append(node)
    return list(groups.values())


def ends_of(groups: list[Group]) -> Iterable[tuple[int, int]]:
    """The edges between groups, each pair once."""
    index = {node: i for i, group in enumerate(groups) for node in group.nodes}
    pairs = ((index[x], i) for node, i in index.items() for x in node.operands if x in index)
    return dict.fromkeys((start, end) for start, end in pairs if start != end)


class Drawing(NamedTuple):
    """All that is drawn, and how labels are written; `lines` are those of the DOT source."""

    replay: Replay
    parameters: set[Node]
    groups: list[Group]
    events: list[Event]
    gradients: Mapping[Node, Array]
    choices: Mapping[Node, str]
    theme: Theme
    write: Write

    def lines(self, rankdir: str) -> Iterator[str]:
        theme = self.theme
        edges, folds = list(self.edges()), any(group.title for group in self.groups)
        crowded = folds and len(edges) > MANY
        if crowded:  # where one edge has a label, dot makes room for one on each
            edges = [edge.partition(" [")[0] for edge in edges]
        legends = [FOLDED] if folds else []
        if self.groups[0].alike:
            legends.insert(0, SUMMARY)
        elif self.events and not crowded:
            arrays = any(np.ndim(node.data) for node in self.replay.order)
            legends.insert(0, LEGENDS[self.events[0].mode] + MAPS * arrays)
        apart = 1.5 if crowded else 0.45
        yield from head(theme, rankdir, r"\n".join(legends), len(edges), apart)
        yield from self.framed(())
        yield from self.constants()
        yield from edges
        yield "}"

    def framed(self, path: Path) -> Iterator[str]:
        """The nodes that stand in the frame `path`, and the frames within."""
        indent = "  " * (len(path) + 1)
        inner: set[str] = set()
        for i, group in enumerate(self.groups):
            if group.path == path:
                yield indent + self.folded(i) if group.title else indent + self.node(i)
            elif group.path[: len(path)] == path and group.path[len(path)] not in inner:
                inner.add(group.path[len(path)])
                within = group.path[: len(path) + 1]
                name = bare([Row(".".join(within))])
                yield f'{indent}subgraph "cluster {name[1:]} {{'
                yield f"{indent}  label={name}"
                yield from self.framed(within)
                yield f"{indent}}}"

    def node(self, i: int) -> str:
        """One node: name, formula, value, derivative, what was chosen."""
        (node,) = self.groups[i].nodes
        replay, theme = self.replay, self.theme
        names = Shortened(replay.names, self.groups[i].path)
        rows = [Row(names[node], theme.text, bold=True)]
        if node.op is not None:
            _, *formula, _ = Event("forward", node, names, replay.output).sides()
            fits = formula and len(formula[0]) <= FORMULA
            rows.append(Row(formula[0] if fits else node.op.name, theme.faint))
        gradient = self.gradients.get(node)
        rows += value_rows(node.data, gradient, theme)
        rows += self.derivative(node, names, gradient)
        if node in self.choices:
            rows.append(Row(f"a choice: {self.choices[node]}", theme.gradient))
        return self.box(f"n{i}", self.kind(node), rows)

    def derivative(self, node: Node, names: Called, gradient: Array | None) -> list[Row]:
        """The derivative that is shown at a node: of the output by it, or of it by the input."""
        if not self.events and len(self.replay.order) > SWEPT:
            return []
        seed = self.events[0] if self.events else Event("seed", node, names, self.replay.output)
        if seed.mode == "fwd":
            gradient = 0 if gradient is None else gradient
        return [gradient_row(replace(seed, names=names).moving(node), gradient, self.theme)]

    def kind(self, node: Node) -> str:
        if node.op is not None:
            return "output" if node is self.replay.output else "operation"
        return "parameter" if node in self.parameters or not self.parameters else "input"

    def folded(self, i: int) -> str:
        """Several nodes as one."""
        _, title, nodes, _ = self.groups[i]
        made = sum(node.op is not None for node in nodes)
        leaves = [node for node in nodes if node.op is None]
        size = sum(node.data.size for node in leaves)
        rows = [Row(title, self.theme.text, bold=True)]
        rows += [Row(counted(made, "operation"), self.theme.faint)] if made else []
        more = f"{counted(len(leaves), 'leaf', 'leaves')}, {counted(size, 'number')}"
        rows += [Row(more, self.theme.faint)] if leaves else []
        return self.box(f"n{i}", "folded", rows)

    def box(self, place: str, kind: str, rows: list[Row]) -> str:
        shape, style = SHAPES[kind]
        fill = self.theme.operation if kind == "folded" else getattr(self.theme, kind)
        more = {
            "output": " peripheries=2",
            "constant": " width=0 height=0",
            "folded": ' margin="0.12,0.1"',  # the relief is drawn within
        }.get(kind, "")
        look = f'shape={shape} style="{style}" fillcolor="{fill}"{more}'
        return f"{place} [{look} label={self.write(rows)}]"

    def constants(self) -> Iterator[str]:
        """The operands that do not require grad: Values and arrays once, numbers where they are
        read, and once where Modules side by side read the same: that is their input.

        Of what a folded group reads, what has a name.
        """
        places: dict[Any, str] = {}
        names, theme = self.replay.names, self.theme
        arrows: set[tuple[str, int]] = set()
        read = [
            (i, x, data)
            for i, group in enumerate(self.groups)
            for node in group.nodes
            for x, data in zip(node.operands, node.inputs)
            if x is None or not x.requires_grad
        ]
        beside: defaultdict[Any, set[Path]] = defaultdict(set)
        for i, _, data in read:
            path = self.groups[i].path
            beside[id(data), path[:-1]] |= {path} if path else set()
        for i, x, data in read:
            name, array = names.get(id(data)) or (x and x.name), np.ndim(data) > 0
            if self.groups[i].title and not name:
                continue
            key: Any = id(data), self.groups[i].path[:-1]
            if array or x is not None:
                key = id(data)
            elif len(beside[key]) < 2:
                key = f"number {len(places)}"
            if key not in places:
                places[key] = f"c{len(places)}"
                rows = [Row(name, theme.text, bold=True)] if name else []
                rows += value_rows(data if is_lazy(data) else np.asarray(data), None, theme)
                yield "  " + self.box(places[key], "input" if array else "constant", rows)
            if (places[key], i) not in arrows:
                arrows.add((places[key], i))
                yield f"  {places[key]} -> n{i} [style=dashed]"

    def edges(self) -> Iterator[str]:
        """The edges between Values: parallel ones too; those of folded nodes counted."""
        index = {node: i for i, group in enumerate(self.groups) for node in group.nodes}
        events = {(event.node, event.operand): event for event in self.events}
        between: Counter[tuple[int, int]] = Counter()
        for node in self.replay.order:
            for k, x in enumerate(node.operands):
                if x is None or not x.requires_grad:
                    continue
                start, end = index[x], index[node]
                if self.groups[start].title or self.groups[end].title:
                    between[start, end] += start != end
                    continue
                rows = self.on_edge(events.get((node, k)))
                yield f"  n{start} -> n{end}" + (f" [label={self.write(rows)}]" if rows else "")
        for (start, end), count in between.items():
            if count:
                yield f"  n{start} -> n{end}" + (f' [label="{count:,}"]' if count > 1 else "")

    def on_edge(self, event: Event | None) -> list[Row]:
        """The local derivative as a factor, and what the edge adds; of arrays the norm of that."""
        if event is None or event.contribution is None:
            return []
        array = np.ndim(event.contribution)
        total = norm(event.contribution)
        adds = TEXT.equal(["‖+‖", total]) if array else f"+ {brief(event.contribution)}"
        rows = [Row(adds, self.theme.gradient)]
        if event.local is not None and not np.ndim(event.local):
            rows.insert(0, Row(f"× {brief(event.local)}", self.theme.faint))
        return rows


class Shortened(Called):
    """Names without the path of the frame that they are shown in."""

    def __init__(self, names: Called, path: Path) -> None:
        self.names, self.frame = names, "".join(f"{part}." for part in path)

    def __missing__(self, key: Any) -> str:
        return self.names[key].removeprefix(self.frame)

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self.names else default


def counted(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"

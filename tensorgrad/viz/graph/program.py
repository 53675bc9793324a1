"""A compiled step as a picture: what NumPy is asked to do, in frames of its parts and Modules."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.compiler import Compiled
from tensorgrad.compiler.names import BACKWARD, FORWARD, UPDATE, Part
from tensorgrad.compiler.program import Fused, Instruction, Program, shares, takes
from tensorgrad.viz.graph.labels import Row, Write, bare, rich
from tensorgrad.viz.graph.layout import Picture, check_rankdir
from tensorgrad.viz.graph.themes import Theme, head, theme_of

SHOWN = 80
"""Operations that are drawn one by one."""
LISTED = 6
"""Operations that are named in a box for several."""
BOXES = {
    "parameter": ("box", "filled,bold"),
    "input": ("box", "filled,dashed"),
    "operation": ("box", "rounded,filled"),
    "fused": ("box", "filled"),
    "output": ("box", "rounded,filled,bold"),
}
LEGEND = (
    "bold: state, read and written; dashed: arguments; round: an operation; square: several that "
    "run as one; views are left out"
)
FOLDED = (
    "bold: state, read and written; dashed: arguments; round: the operations of a part, with its "
    "parameters; their gradients go to the update"
)


class Group(NamedTuple):
    """What is drawn as one: an operation, or all of a part."""

    part: Part
    members: list[Instruction]


def program_graph(
    step: Compiled, *, max_nodes: int = SHOWN, rankdir: str = "LR", theme: str = "light"
) -> Picture:
    """The program of the last call of a compiled function.

    Frames are the parts of a step, and the calls of Modules within; an operation has the name of
    its result, NumPy's name of it, dtype and shape; what runs as one is a box with the names of
    all. Of more than `max_nodes` operations those of a part and Module are one box, with its
    parameters in it, and one arrow stands for all gradients on their way to the update.

    >>> import tensorgrad as tg
    >>> step = tg.compile(lambda x: np.tanh(x) * 2)
    >>> _ = step(np.ones(3))
    >>> "tanh" in program_graph(step).source
    True
    """
    check_rankdir(rankdir)
    last = step.ran()
    program, over = last.program, last.replaced()
    shown = [i for i in program.body if takes(i) or not (shares(i) or is_part(i))]
    groups = grouped(shown, folded=len(shown) > max_nodes)
    state = {i for i in program.inputs if i in {*over.values()}}
    drawing = partial(ProgramDrawing, program, groups, state, theme_of(theme))
    return Picture(*("\n".join(drawing(write).lines(rankdir)) + "\n" for write in (rich, bare)))


def grouped(shown: Iterable[Instruction], folded: bool) -> list[Group]:
    """In their order; what a pass added belongs where the one before it does. `folded`: what
    follows one another in a part is one."""
    found: list[Group] = []
    part = Part(FORWARD)
    for i in shown:
        part = part if i.scope is None else i.scope
        if not (folded and found and found[-1].part == part):
            found.append(Group(part, []))
        found[-1].members.append(i)
    return found


class ProgramDrawing:
    """The lines of the DOT source. `state`: the inputs that the step gives new values."""

    def __init__(
        self,
        program: Program,
        groups: list[Group],
        state: set[Instruction],
        theme: Theme,
        write: Write,
    ) -> None:
        self.program, self.groups, self.state = program, groups, state
        self.theme, self.write = theme, write
        self.place: dict[Instruction, str] = {}
        for k, group in enumerate(groups):
            self.place |= dict.fromkeys(group.members, f"n{k}")
        self.step = {f"n{k}": group.part.step for k, group in enumerate(groups)}
        self.place |= {i: f"i{k}" for k, i in enumerate(program.inputs)}
        earlier = (group.members for group in groups if group.part.step != UPDATE)
        read = {self.source(x) for members in earlier for i in members for x in i.operands}
        self.named = {i.name for i in state if i in read}
        self.results = {self.source(x) for x in program.outputs if isinstance(x, Instruction)}
        self.folded = any(len(group.members) > 1 for group in groups)
        self.own = self.own_parameters() if self.folded else {}

    def own_parameters(self) -> dict[str, list[Instruction]]:
        """By the first box of a Module, its parameters, which are drawn within it."""
        first: dict[str, str] = {}
        for k, group in enumerate(self.groups):
            if group.part.step == FORWARD and group.part.module:
                first.setdefault(group.part.module, f"n{k}")
        found: dict[str, list[Instruction]] = {}
        for i in self.program.inputs:
            module = i.name
            while module and module not in first:
                module = module.rpartition(".")[0]
            if module and i in self.state and i.name in self.named:
                found.setdefault(first[module], []).append(i)
        return found

    def source(self, i: Instruction) -> Instruction:
        """What a view is of."""
        while i not in self.place and i.operands:
            i = i.operands[0]
        return i

    def lines(self, rankdir: str) -> Iterator[str]:
        folded, within = self.folded, {self.place[i] for own in self.own.values() for i in own}
        edges = [edge for edge in self.edges() if edge[0] not in within]
        edges = self.one_to_update(edges) if folded else edges
        yield from head(self.theme, rankdir, FOLDED if folded else LEGEND, len(edges))
        readers: dict[Any, list[Instruction]] = {}
        for i in self.program.inputs:
            read = tuple(end for start, end in edges if start == self.place[i])
            if read:
                readers.setdefault((i in self.state, read), []).append(i)
        for same in readers.values():  # one box for what the same read
            yield "  " + self.input(same)
            alike = {self.place[i] for i in same[1:]}
            edges = [edge for edge in edges if edge[0] not in alike]
        parts: dict[str, dict[str, list[int]]] = {}
        for k, group in enumerate(self.groups):
            title = repr(group.part) if not folded else ""
            parts.setdefault(group.part.step, {}).setdefault(title, []).append(k)
        for step, modules in parts.items():
            yield from self.frame(step, step, self.inner(step, modules, folded))
        if folded:
            yield "  newrank=true"  # of boxes in several frames
            yield from (f"  {{rank=same; {a}; {b}}}" for a, b in self.levels())
        yield from (f"  {self.edge(start, end)}" for start, end in edges)
        yield "}"

    def one_to_update(self, edges: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Of the edges from gradients to the update that of the last gradient, for all."""
        gradients = [
            (start, end)
            for start, end in edges
            if self.step.get(end) == UPDATE and self.step.get(start) in (FORWARD, BACKWARD)
        ]
        last = max(gradients, key=lambda edge: int(edge[0][1:]), default=None)
        return [edge for edge in edges if edge == last or edge not in gradients]

    def levels(self) -> Iterator[tuple[str, str]]:
        """The boxes of a Module forward and backward, where it has one of each."""
        found: dict[str, dict[str, list[str]]] = {}
        for k, group in enumerate(self.groups):
            if group.part.module:
                steps = found.setdefault(group.part.module, {})
                steps.setdefault(group.part.step, []).append(f"n{k}")
        for steps in found.values():
            forward, backward = steps.get(FORWARD, []), steps.get(BACKWARD, [])
            if len(forward) == len(backward) == 1:
                yield forward[0], backward[0]

    def edge(self, start: str, end: str) -> str:
        """Forward goes one way and backward the other, below it."""
        before, after = (self.step.get(place, "") for place in (start, end))
        if after == BACKWARD and before != BACKWARD:
            return f"{start} -> {end} [constraint=false]"
        if after != FORWARD and before:
            return f"{end} -> {start} [dir=back]"
        return f"{start} -> {end}"

    def inner(self, step: str, modules: dict[str, list[int]], folded: bool) -> Iterator[str]:
        for title, members in modules.items():
            boxes = [self.group(k) if folded else self.operation(k) for k in members]
            yield from self.frame(f"{step} {title}", title, boxes) if title else boxes

    def frame(self, name: str, title: str, lines: Iterable[str]) -> Iterator[str]:
        yield f'  subgraph "cluster {bare([Row(name)])[1:]} {{'
        yield f"    label={bare([Row(title)])}"
        yield from ("  " + line for line in lines)
        yield "  }"

    def input(self, same: list[Instruction]) -> str:
        kind = "parameter" if same[0] in self.state else "input"
        rows = []
        for i in same[:LISTED]:
            rows += [self.bold(i.name), self.faint(shape_text(i))]
        if len(same) > LISTED:
            rows.append(self.plain(f"and {len(same) - LISTED} more"))
        return self.box(self.place[same[0]], kind, rows)

    def operation(self, k: int) -> str:
        (i,) = self.groups[k].members
        named = [i, *(x for x in self.program.body if is_part(x) and x.operands[0] is i)]
        rows = [self.bold(x.name.removeprefix("new.")) for x in named if x.name]
        if isinstance(i.function, Fused):
            rows += [self.plain(text) for text in listed(i.function.program.body)]
        else:
            rows.append(self.plain(called(i)))
        kind = "fused" if isinstance(i.function, Fused) else "operation"
        kind = "output" if i in self.results and kind == "operation" else kind
        return self.box(f"n{k}", kind, [*rows, self.faint(shape_text(i))])

    def group(self, k: int) -> str:
        """All operations of a part."""
        part, members = self.groups[k]
        several = f"{len(members)} operation" + "s" * (len(members) > 1)
        rows = [self.bold(repr(part) or several), *map(self.plain, listed(members))]
        for i in self.own.get(f"n{k}", ()):
            rows.append(self.faint(f"{i.name.removeprefix(part.module + '.')} {shape_text(i)}"))
        return self.box(f"n{k}", "operation", rows)

    def bold(self, text: str) -> Row:
        return Row(text, self.theme.text, bold=True)

    def plain(self, text: str) -> Row:
        return Row(text, self.theme.text)

    def faint(self, text: str) -> Row:
        return Row(text, self.theme.faint)

    def box(self, place: str, kind: str, rows: list[Row]) -> str:
        shape, style = BOXES[kind]
        fill = self.theme.operation if kind == "operation" else getattr(self.theme, kind, "")
        fill = fill or self.theme.constant
        look = f'shape={shape} style="{style}" fillcolor="{fill}"'
        return f"  {place} [{look} label={self.write(rows)}]"

    def edges(self) -> list[tuple[str, str]]:
        """Between what is drawn, each once; but from a parameter to its own update."""
        found: dict[tuple[str, str], None] = {}
        for group in self.groups:
            for i in group.members:
                for x in map(self.source, i.operands):
                    own = x in self.state and group.part.step == UPDATE and x.name in self.named
                    if x in self.place and self.place[x] != self.place[i] and not own:
                        found[self.place[x], self.place[i]] = None
        return [*found]


def is_part(i: Instruction) -> bool:
    """Whether it is one of several arrays that an operation makes."""
    return i.function is operator.getitem and bool(i.operands) and i.operands[0].shape is None


def called(i: Instruction) -> str:
    """NumPy's name of an operation, with what stands for which axis or number."""
    f = i.function
    owner = getattr(f, "__self__", None)
    name = getattr(f, "__name__", type(f).__name__)
    name = f"{owner.__name__}.{name}" if isinstance(owner, np.ufunc) else name
    numbers = [f"{x.item():.4g}" for x in i.args if isinstance(x, np.ndarray) and not x.ndim]
    numbers += [f"{x:.4g}" for x in i.args if type(x) in (int, float)]
    return " ".join([name, *numbers])


def listed(members: list[Instruction]) -> list[str]:
    """The names of several operations, the most frequent ones."""
    names = Counter(called(i).split()[0] for i in members if takes(i) or not shares(i))
    common = [f"{n} × {name}" if n > 1 else name for name, n in names.most_common(LISTED)]
    return common + ["…"] * (len(names) > LISTED)


def shape_text(i: Instruction) -> str:
    dtype = i.dtype.__name__ if isinstance(i.dtype, type) else str(i.dtype or "")
    return f"{dtype} {'×'.join(map(str, i.shape or ()))}".strip()

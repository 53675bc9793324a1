"""A table of a model: what each Module in it makes, holds and costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import as_array, beside
from tensorgrad.engine.batching import moving
from tensorgrad.engine.calls import forgetting_buffers
from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.engine.node import Node, data_of, record, recorder, within
from tensorgrad.nn.module import Module, in_mode
from tensorgrad.value import Value

MULTIPLY_ADDS: Mapping[str, Callable[..., int]] = {
    "linear": lambda out, x, weight, bias: out.size * x.shape[-1],
    "linear_map": lambda out, x, weight: out.size * x.shape[-1],
    "matmul": lambda out, x, y: out.size * x.shape[-1],
    "conv": lambda out, x, weight: out.size * (weight.size // weight.shape[0]),
    "conv_bias": lambda out, x, weight, bias: out.size * (weight.size // weight.shape[0]),
    "conv_transpose": lambda out, x, weight: x.size * (weight.size // weight.shape[0]),
    "attention_weights": lambda out, q, k, *mask: out.size * q.shape[-1],
    "attention": lambda out, q, k, v, *mask: (
        out.size // v.shape[-1] * k.shape[-2] * (k.shape[-1] + v.shape[-1])
    ),
    "lstm": lambda out, x, h, c, weight: len(x) * weight.size,
    "gru": lambda out, x, h, weight, *rest: len(x) * weight.size,
    "rnn_tanh": lambda out, x, h, weight: len(x) * weight.size,
    "rnn_relu": lambda out, x, h, weight: len(x) * weight.size,
}
"""How many products the operations of layers add up. All others compute each entry once."""
MOVING = ("embedding", "add_rows")


def moves(node: Node) -> bool:
    """Whether a node only moves entries."""
    op = node.op
    return op is not None and (op.view or op.batch is moving or op.name in MOVING)


def flops(node: Node) -> int:
    """The floating-point operations of a node: two for each product that is added up, one for each
    entry of what is computed entry by entry, none for what only moves entries."""
    op = node.op
    assert op is not None
    if op.name in MULTIPLY_ADDS:
        return 2 * int(MULTIPLY_ADDS[op.name](node.data, *node.inputs))
    if moves(node):
        return 0
    return max(int(np.size(x)) for x in (node.data, *node.inputs))


@dataclass
class Row:
    """One Module: `name`, its attribute path; `output`, the shape of what it returned last; and
    what it has and computes itself, not the Modules in it. `memory`: bytes of what it computed, as
    a sweep needs them."""

    name: str
    kind: str
    output: Any
    parameters: int = 0
    flops: int = 0
    memory: int = 0


class Sheet:
    """Numbers that are printed as a table, with totals below: in a terminal, in a notebook and by
    `rich.print`. The first `LEFT` columns are text."""

    HEAD: ClassVar[tuple[str, ...]]
    LEFT: ClassVar[int] = 2

    def lines(self) -> list[tuple[str, ...]]:
        """The cells of the table, as text."""
        raise NotImplementedError

    def totals(self) -> list[str]:
        """What stands below the table."""
        raise NotImplementedError

    def __str__(self) -> str:
        table = [self.HEAD, *self.lines()]
        widths = [max(len(line[i]) for line in table) for i in range(len(self.HEAD))]
        text = [
            "  ".join(
                cell.ljust(width) if i < self.LEFT else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths))
            ).rstrip()
            for line in table
        ]
        rule = "─" * (sum(widths) + 2 * len(widths) - 2)
        return "\n".join([text[0], rule, *text[1:], rule, *self.totals()])

    __repr__ = __str__

    def __rich__(self) -> Any:
        """The table for `rich.print`."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table()
        for i, head in enumerate(self.HEAD):
            table.add_column(head, justify="left" if i < self.LEFT else "right")
        for line in self.lines():
            table.add_row(*map(Text, line))
        return Group(table, *map(Text, self.totals()))

    def _repr_html_(self) -> str:
        left, right = "text-align:left;white-space:pre", "text-align:right"
        styles = [left if i < self.LEFT else right for i in range(len(self.HEAD))]

        def row(cells: tuple[str, ...], tag: str) -> str:
            made = (f'<{tag} style="{s}">{escape(c)}</{tag}>' for s, c in zip(styles, cells))
            return f"<tr>{''.join(made)}</tr>"

        body = "".join(row(line, "td") for line in self.lines())
        below = "<br>".join(map(escape, self.totals()))
        return f"<table>{row(self.HEAD, 'th')}{body}</table><p>{below}</p>"


@dataclass(repr=False)
class Summary(Sheet):
    """Rows of a table, and totals: numbers of parameters, and of those that learn; floating-point
    operations of a forward; bytes of parameters and buffers, and of what the forward computed."""

    rows: list[Row]
    parameters: int
    trainable: int
    flops: int
    held: int
    computed: int

    HEAD = ("Module", "Output", "Parameters", "FLOPs", "Memory")

    def lines(self) -> list[tuple[str, ...]]:
        """The cells of the table, as text."""
        found: list[tuple[str, ...]] = []
        names = {row.name for row in self.rows}
        for row in self.rows:
            parts = row.name.split(".") if row.name else []
            depth = sum(".".join(parts[:i]) in names for i in range(len(parts)))
            name = f"{'  ' * depth}{row.name or 'the model'} ({row.kind})"
            numbers = (count(row.parameters), count(row.flops), size(row.memory))
            found.append((name, shapes(row.output), *numbers))
        return found

    def totals(self) -> list[str]:
        """What stands below the table."""
        frozen = self.parameters - self.trainable
        held, computed = (size(n) or "0 B" for n in (self.held, self.computed))
        return [
            f"{self.parameters:,} parameters" + f", {frozen:,} of them frozen" * (frozen > 0),
            f"{self.flops:,} floating-point operations in a forward",
            f"{held} of parameters and buffers, {computed} computed",
        ]


def count(n: int) -> str:
    """A number, nothing for 0."""
    return f"{n:,}" if n else ""


def size(n: float) -> str:
    """Bytes; nothing for 0."""
    if not n:
        return ""
    units = iter(("B", "KB", "MB", "GB"))
    unit = next(units)
    while n >= 1000 and unit != "GB":
        n, unit = n / 1000, next(units)
    return f"{n:.3g} {unit}"


def shapes(x: Any) -> str:
    """Shapes, in the containers that a Module returned."""
    if x is None:
        return "–"
    if isinstance(x, dict):
        return ", ".join(f"{k}: {shapes(part)}" for k, part in x.items())
    nested = isinstance(x, (list, tuple)) and x and not isinstance(x[0], int)
    return ", ".join(map(shapes, x)) if nested else str(x).replace("()", "number")


def shape_of(x: Any) -> Any:
    """The shapes of arrays, in their containers."""
    if isinstance(x, (list, tuple)):
        return tuple(map(shape_of, x))
    if isinstance(x, dict):
        return {key: shape_of(part) for key, part in x.items()}
    return None if x is None else np.shape(data_of(x))


def summary(model: Module, *inputs: Any, dtype: npt.DTypeLike = np.float32) -> Summary:
    """What each Module of `model` makes, holds and costs, for inputs of these shapes.

    `inputs`: a shape, batch included, for each argument, of zeros in `dtype`; or arrays. The model
    runs once, as in use (`eval`), and remembers nothing. What comes back is printed as a table, in
    a notebook and by `rich.print` as such, and has the numbers: `rows`, `parameters`, `trainable`,
    `flops`, `held`, `computed`.

    >>> from tensorgrad import nn
    >>> print(summary(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), (2, 3)))
    Module                  Output  Parameters  FLOPs  Memory
    ─────────────────────────────────────────────────────────
    the model (Sequential)  (2, 4)
      layers.0 (Linear)     (2, 4)          16     48    32 B
      layers.1 (ReLU)       (2, 4)                  8    32 B
    ─────────────────────────────────────────────────────────
    16 parameters
    56 floating-point operations in a forward
    64 B of parameters and buffers, 64 B computed
    """
    parts = dict(model.named_modules())
    own = own_arrays(parts)
    rows = {
        id(module): Row(name, type(module).__name__, None, sum(p.size for p in own[name]))
        for name, module in parts.items()
    }
    outputs, nodes = run(model, [given(x, dtype, model) for x in inputs])
    for module, out in outputs:
        rows[id(module)].output = shape_of(out)
    for node in nodes:
        row = rows.get(id(node.scope.module) if node.scope else id(model))
        if row is not None:
            row.flops += flops(node)
            row.memory += 0 if moves(node) else node.data.nbytes
    called = [row for row in rows.values() if row.output is not None or row.parameters]
    parameters, arrays = model.parameters(), [*model.buffers()]
    return Summary(
        called,
        sum(p.size for p in parameters),
        sum(p.size for p in parameters if p.requires_grad),
        sum(row.flops for row in called),
        sum(p.data.nbytes for p in parameters) + sum(x.nbytes for x in arrays),
        sum(row.memory for row in called),
    )


def own_arrays(parts: Mapping[str, Module]) -> dict[str, list[Value]]:
    """The parameters of each Module that are in no Module within it, each counted once."""
    seen: set[int] = set()
    found: dict[str, list[Value]] = {}
    for name, module in parts.items():
        within_it = {id(p) for child in module.children() for p in child.parameters()}
        mine = [p for p in module.parameters() if id(p) not in within_it | seen]
        seen |= {id(p) for p in mine}
        found[name] = mine
    return found


def given(x: Any, dtype: npt.DTypeLike, model: Module) -> Any:
    """An input: zeros of that shape, where the model is, or the array itself; what it leads to is
    recorded."""
    array = as_array(data_of(x)) if not isinstance(x, (tuple, int)) else np.zeros(x, dtype)
    for p in model.parameters()[:1] if isinstance(x, (tuple, int)) else ():
        array = beside(array, p.data)
    return Value(array) if is_inexact(array.dtype) else array


def run(model: Module, inputs: list[Any]) -> tuple[list[tuple[Module, Any]], list[Node]]:
    """What each Module returned, and the nodes of a forward in use."""
    outputs: list[tuple[Module, Any]] = []
    nodes: list[Node] = []

    def note(*operation: Any) -> Node:
        nodes.append(record(*operation))
        return nodes[-1]

    handles = [
        module.register_forward_hook(lambda module, args, out: outputs.append((module, out)))
        for module in model.modules()
    ]
    try:
        with in_mode(model, False):
            within(recorder, note, forgetting_buffers, ((), model, *inputs), {})
    finally:
        for handle in handles:
            handle.remove()
    return outputs, nodes

"""The commands `explain` and `graph`: derivatives of an expression, in words and as a picture."""

from __future__ import annotations

import keyword
import unicodedata
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from tensorgrad import io, viz
from tensorgrad.formula import parse
from tensorgrad.graph.replay import Replay
from tensorgrad.value import Value
from tensorgrad.viz.explain import document

Expression = Annotated[
    str, typer.Argument(metavar="EXPRESSION", help='NumPy\'s spelling: "(a + b) * exp(-b)".')
]
Bindings = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME=NUMBER...", help="Values: a=2 b=[1,2] W=[[1,0],[0,1]]."),
]

UNASKED = 20  # derivatives: each is a document


def explain(
    expression: Expression,
    values: Bindings = None,
    wrt: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="By which value; else by the first 20."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Paths to be listed.")] = 5,
    html: Annotated[Path | None, typer.Option(help="Also write a page of set formulas.")] = None,
) -> None:
    """Derive an expression by its values, as on paper: rules, numbers, sums, paths."""
    if html:
        io.check_writable(html)
    result, given = computed(expression, values or [])
    used = set(Replay(result).order)
    occurring = [name for name, value in given.items() if value.node in used]
    for name in wrt or []:
        if name not in occurring:
            raise typer.BadParameter(f"{name} does not occur: there are {', '.join(occurring)}")
    names = wrt or occurring[:UNASKED]
    found = [viz.explain(result, given[name], top=top) for name in names]
    if html:
        document.page(found, expression).save(html)
    print("\n\n".join(map(str, found)))
    if more := len(occurring) - len(names) if not wrt else 0:
        print(f"\nby {more:,} more values: --wrt {occurring[UNASKED]}")


def graph(
    expression: Expression,
    values: Bindings = None,
    out: Annotated[Path, typer.Option(help="The file: .svg, .png, .pdf, .dot.")] = Path(
        "graph.svg"
    ),
    theme: Annotated[Literal["light", "dark", "print"], typer.Option(help="Colours.")] = "light",
    rankdir: Annotated[
        Literal["LR", "RL", "TB", "BT"], typer.Option(help="From left to right, ...")
    ] = "LR",
) -> None:
    """Draw the graph of an expression, with the derivatives on its nodes and edges."""
    io.check_writable(out)
    result, _ = computed(expression, values or [])
    viz.graph(result, theme=theme, rankdir=rankdir).save(out)
    print(out)


def computed(expression: str, bindings: list[str]) -> tuple[Value, dict[str, Value]]:
    """The value of an expression, called f, and the values that it is computed from."""
    given: dict[str, Value] = {}
    for binding in bindings:
        name, equals, number = binding.partition("=")
        name = unicodedata.normalize("NFKC", name.strip())  # as Python reads names
        if not equals or not name.isidentifier() or keyword.iskeyword(name):
            raise typer.BadParameter(f"{binding!r} is not NAME=NUMBER, such as a=2")
        if name in given:
            raise typer.BadParameter(f"{name} is given twice")
        try:
            data = np.array(parse.evaluate(number, {}))
        except ValueError as error:
            reason = str(error).partition("\n")[0]  # without the picture of where
            raise typer.BadParameter(f"{binding!r}: {reason}") from None
        if data.dtype.kind not in "biuf":
            raise typer.BadParameter(f"{binding!r}: not a number or an array of numbers")
        given[name] = Value(data.astype(float), name=name)
    with np.errstate(all="ignore"):  # what is not finite is shown as such
        result = parse.evaluate(expression, given)
    if not isinstance(result, Value) or result.op is None:
        raise ValueError(f"{expression} computes nothing of the values: pass NAME=NUMBER")
    result.name = "f" if "f" not in given else "result"
    return result, given

"""The commands: what they ask, and what they print."""

from __future__ import annotations

from typing import Annotated

import typer

import tensorgrad
from tensorgrad.commands.digits import predict, train
from tensorgrad.commands.expressions import explain, graph
from tensorgrad.commands.gradients import check

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
for command in (train, predict, check, explain, graph):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tensorgrad {tensorgrad.__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and exit.")
    ] = False,
) -> None:
    """Train networks that read handwritten digits; check gradients; explain derivatives."""

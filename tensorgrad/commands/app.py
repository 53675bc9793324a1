"""The commands, and `check` itself: gradients against numerical ones."""

from __future__ import annotations

from inspect import getdoc
from typing import Annotated

import typer

from tensorgrad import __version__
from tensorgrad.commands.choices import misuse
from tensorgrad.commands.expressions import explain, graph
from tensorgrad.commands.predict import export, predict
from tensorgrad.commands.train import train
from tensorgrad.extras import missing


def check(
    target: Annotated[
        str, typer.Argument(metavar="PATH::FUNCTION", help="A function in a Python file.")
    ] = "",
    all_primitives: Annotated[
        bool, typer.Option("--all", help="Check every primitive of tensorgrad instead.")
    ] = False,
    vjp: Annotated[
        str, typer.Option(metavar="NAME", help="The function's hand-written gradient, same file.")
    ] = "",
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=3,2", help="The shape of an argument; else drawn."),
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Points to try.")] = 100,
    order: Annotated[
        int | None,
        typer.Option(min=1, show_default="2 where there is one", help="Up to which derivatives."),
    ] = None,
) -> None:
    """Check the gradient of a function of arrays at drawn points.

    FUNCTION is a function of Values, or with --vjp of arrays; a primitive; a test made by
    testing.property_gradcheck; a torch.autograd.Function, JAX custom_vjp or autograd primitive.
    """
    from tensorgrad.testing import GradientError

    try:
        from tensorgrad.testing import target as targets
    except ImportError as error:
        raise missing(f"check draws with Hypothesis: {error}", "testing") from None

    if all_primitives and (vjp or shape or order):
        raise misuse("--all", "it goes with none of the others")
    if bool(target) == all_primitives:
        raise misuse("PATH::FUNCTION", "pass PATH::FUNCTION, or --all")
    try:
        if all_primitives:
            for line in targets.check_all(examples):
                print(line, flush=True)
        else:
            print(targets.check_target(target, vjp, shape or [], examples, order))
    except GradientError as error:
        print("\n".join([str(error), *getattr(error, "__notes__", ())]))
        raise typer.Exit(1) from None


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
for command in (train, predict, export, check, explain, graph):
    # Typer breaks lines where the docstring does, and once more where the terminal ends.
    paragraphs = (getdoc(command) or "").split("\n\n")
    app.command(help="\n\n".join(" ".join(p.split()) for p in paragraphs))(command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tensorgrad {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and exit.")
    ] = False,
) -> None:
    """Train networks that read handwritten digits; check gradients; explain derivatives."""

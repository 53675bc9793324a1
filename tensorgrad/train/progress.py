"""A progress bar, where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import Any

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 16  # of the sparkline


def sparkline(numbers: Sequence[float]) -> str:
    """Numbers as bars, the lowest to the highest; a space for one that is not finite.

    >>> sparkline([8.0, 4.0, 2.0, 1.0])
    '█▄▂▁'
    """
    finite = [x for x in numbers if isfinite(x)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if isfinite(high - low) and high > low else 0.0
    return "".join(BARS[round(scale * (x - low))] if isfinite(x) else " " for x in numbers)


@contextmanager
def progress_bar(
    epochs: int, batches: int | None, wanted: bool, done: int = 0
) -> Iterator[Callable[[int, float, Any], None]]:
    """A progress bar, or nothing where nobody looks. `batches`: of an epoch, where that is known;
    `done`: those of an earlier run."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda batches_done, loss, history: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        print("no progress bar: pip install 'tensorgrad-engine[cli]'", file=sys.stderr)
        yield lambda batches_done, loss, history: None
        return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    # Lines printed meanwhile go above the bar, but not if stdout is a file: they would miss it.
    above = sys.stdout.isatty()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=above) as bar:
        task = bar.add_task("", total=epochs * batches if batches else None, completed=done)

        def advance(done: int, loss: float, history: list[Any]) -> None:
            text = f"epoch {len(history) + 1}/{epochs}  loss {loss:.4f}"
            if history:
                losses = [line.loss for line in history[1 - WIDTH :]] + [loss]
                text += f" {sparkline(losses)}" if unicode(console) else ""
                if history[-1].accuracy is not None:
                    text += f"  accuracy {history[-1].accuracy:.2%}"
            bar.update(task, advance=done, description=text)

        yield advance


def unicode(console: Any) -> bool:
    """Whether a terminal has the bars."""
    return bool(console.encoding.lower().startswith("utf"))

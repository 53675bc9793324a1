"""A progress bar, where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(
    epochs: int, batches: Any, wanted: bool
) -> Iterator[Callable[[int, float, Any], None]]:
    """A progress bar, or nothing where nobody looks."""
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
        total = epochs * len(batches) if hasattr(batches, "__len__") else None
        task = bar.add_task("", total=total)

        def advance(done: int, loss: float, history: list[Any]) -> None:
            text = f"epoch {len(history) + 1}/{epochs}  loss {loss:.4f}"
            if history and history[-1].accuracy is not None:
                text += f"  accuracy {history[-1].accuracy:.2%}"
            bar.update(task, advance=done, description=text)

        yield advance

"""The history of a training: an `Epoch` for each pass over the data, in a `History`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Epoch(NamedTuple):
    """One line of a history: mean losses, the metric on the validation data, seconds so far.

    `measures` has what else was measured, by name: further metrics, those on further validation
    sets, and what callbacks add, such as `lr`.
    """

    epoch: int
    loss: float
    validation_loss: float | None
    accuracy: float | None
    seconds: float
    measures: Mapping[str, Any] = {}

    def row(self) -> dict[str, Any]:
        """All by name, `measures` among them: what a table has a column for.

        >>> Epoch(1, 0.5, None, None, 0.1, {"lr": 0.01}).row()
        {'epoch': 1, 'loss': 0.5, 'validation_loss': None, 'accuracy': None, 'seconds': 0.1, \
'lr': 0.01}
        """
        return {**dict(zip(self._fields, self[:5])), **self.measures}


class History(list[Epoch]):
    """What `fit` returns: a list of `Epoch`, and why it ended before the last of them.

    `stopped`: the reason in words, None where all epochs were trained. `interrupted`: whether that
    was Ctrl-C.
    """

    stopped: str | None = None
    interrupted = False

    def __repr__(self) -> str:
        """A table, of a long history its first and last lines.

        >>> first = Epoch(1, 2.0593, None, None, 0.1, {"lr": 0.01})
        >>> History([first, Epoch(2, 0.9884, None, None, 0.2)])
        epoch   loss  seconds    lr
            1  2.059      0.1  0.01
            2 0.9884      0.2
        """
        lines = [line.row() for line in self]
        names = dict.fromkeys(name for line in lines for name, x in line.items() if x is not None)
        if len(lines) > 2 * SHOWN:
            lines[SHOWN:-SHOWN] = [dict.fromkeys(names, "...")]
        table = [[*names], *[[cell(line.get(name)) for name in names] for line in lines]]
        widths = [max(map(len, column)) for column in zip(*table)]
        made = ["  ".join(map(str.rjust, line, widths)).rstrip() for line in table]
        return "\n".join(made) if lines else "no epochs"

    def column(self, name: str) -> list[Any]:
        """What was measured under that name, a number for each epoch.

        >>> History([Epoch(1, 0.5, None, None, 0.1), Epoch(2, 0.4, None, None, 0.2)]).column("loss")
        [0.5, 0.4]
        """
        rows = [line.row() for line in self]
        if rows and name not in rows[-1]:
            raise ValueError(unknown(name, rows[-1]))
        return [row.get(name) for row in rows]


SHOWN = 10
"""How many of the first, and of the last, lines of a long history are shown."""


def cell(x: Any) -> str:
    """What stands in a table: numbers to four digits, the beginning of what is longer."""
    if x is None:
        return ""
    if isinstance(x, (int, float, np.floating)):
        return f"{x:.4g}"
    return " ".join(str(x).split())[:20]


def unknown(name: str, names: Any) -> str:
    return f"nothing is measured under the name {name!r}; there are {', '.join(names)}"

"""The history of a training: an `Epoch` for each pass over the data, in a `History`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


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

    def column(self, name: str) -> list[Any]:
        """What was measured under that name, a number for each epoch.

        >>> History([Epoch(1, 0.5, None, None, 0.1), Epoch(2, 0.4, None, None, 0.2)]).column("loss")
        [0.5, 0.4]
        """
        rows = [line.row() for line in self]
        if rows and name not in rows[-1]:
            raise ValueError(unknown(name, rows[-1]))
        return [row.get(name) for row in rows]


def unknown(name: str, names: Any) -> str:
    return f"nothing is measured under the name {name!r}; there are {', '.join(names)}"

"""An experiment: what a source reports, and the function that measures it here.

    @experiment(Claim("784-30-10", 0.9542, at_least=0.9492), quick={"epochs": 1})
    def thirty(seed=0, epochs=30):
        ...
        return Reached(best_accuracy, lambda: figures.learning_curves(history))

`python -m examples.reproduce` runs those of all files, and writes docs/reproduced.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tensorgrad.train import Epoch


@dataclass(frozen=True)
class Claim:
    """A number that a source reports, `what` it is of, and what counts as its reproduction.

    `at_least`, `at_most`, or `within` so much of `reported`. `quick` is the bound of the same kind
    for a quick run. A claim without a bound is shown, not judged. `form`: how it is written.
    """

    what: str
    reported: float | None
    at_least: float | None = None
    at_most: float | None = None
    within: float | None = None
    quick: float | None = None
    form: str = ".2%"

    def met(self, reached: float, quick: bool = False) -> bool:
        bounds = {"at_least": self.at_least, "at_most": self.at_most, "within": self.within}
        kind, bound = next(((k, b) for k, b in bounds.items() if b is not None), ("", None))
        bound = self.quick if quick else bound
        if bound is None:
            return True
        if kind == "within":
            return abs(reached - self.reported) <= bound
        return reached >= bound if kind == "at_least" else reached <= bound

    def best(self, reached: Sequence[float]) -> float:
        if self.at_most is not None:
            return min(reached)
        if self.within is not None:
            return min(reached, key=lambda r: abs(r - self.reported))
        return max(reached)

    def written(self, number: float | None) -> str:
        text = "" if number is None else format(number, self.form)
        return text.replace("%", " %")


@dataclass(frozen=True)
class Reached:
    """A number for each claim, and how to draw the figure (matplotlib's) that the source has."""

    numbers: float | Sequence[float]
    draw: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Experiment:
    """`run(seed, **settings)` measures the `claims`, `seeds` times; `quick` are its settings for a
    look in seconds, `timed` those for the comparison with `by_hand`, the same training in plain
    NumPy. `note` is what a reader of the table must know, such as a larger batch than the book's.
    """

    run: Callable[..., Reached | float | Sequence[float]]
    claims: tuple[Claim, ...]
    seeds: int = 3
    quick: dict[str, Any] = field(default_factory=dict)
    by_hand: Callable[..., Any] | None = None
    timed: dict[str, Any] = field(default_factory=lambda: {"epochs": 1})
    note: str = ""

    @property
    def name(self) -> str:
        """Such as nielsen.ch1.thirty."""
        return f"{self.run.__module__}.{self.run.__name__}".removeprefix("examples.")

    @property
    def resumes(self) -> bool:
        """It takes the path of a `checkpoint`, to go on from if it was interrupted."""
        return "checkpoint" in inspect.signature(self.run).parameters

    def __call__(self, *args: Any, **settings: Any) -> Reached:
        result = self.run(*args, **settings)
        reached = result if isinstance(result, Reached) else Reached(result)
        numbers = reached.numbers
        numbers = list(numbers) if isinstance(numbers, Sequence) else [numbers]
        if len(numbers) != len(self.claims):
            raise ValueError(f"{self.name} has {len(self.claims)} claims, and {numbers} for them")
        return Reached([float(number) for number in numbers], reached.draw)


def experiment(*claims: Claim, **settings: Any) -> Callable[[Callable[..., Any]], Experiment]:
    return lambda run: Experiment(run, claims, **settings)


def show(line: Epoch) -> None:
    """An epoch of the history on a line."""
    accuracy = "" if line.accuracy is None else f"{line.accuracy:.2%}, "
    print(f"  epoch {line.epoch}: {accuracy}loss {line.loss:.4f}", flush=True)

"""What a check found: counts of what it compared, and failures that say what, where and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = Any


@dataclass
class Failure:
    """One thing that is wrong. `kind` is its name, "wrong value" say; `detail` a sentence.

    `argument`, `index`, `output`: the entry of the gradient, and the entry of the result that it is
    the derivative of. `found` is the claimed number, `expected` the numerical one, within `bar`.
    """

    kind: str
    detail: str = ""
    argument: str = ""
    index: tuple[int, ...] | None = None
    output: tuple[int, ...] | None = None
    found: Any = None
    expected: Any = None
    bar: float | None = None
    diagnosis: str = ""

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.detail}" if self.detail else self.kind]
        if self.argument:
            where = f"gradient by {self.argument}"
            where += f", entry {entry(self.index)}" if self.index else ""
            where += f", of output entry {entry(self.output)}" if self.output else ""
            lines.append(f"  {where}")
        if self.found is not None:
            lines.append(f"    found     {shown(self.found)}")
        if self.expected is not None:
            bar = "" if self.bar is None else f" ± {self.bar:.1g}"
            lines.append(f"    expected  {shown(self.expected)}{bar}")
        if self.diagnosis:
            lines.append(f"  diagnosis: {self.diagnosis}")
        return "\n".join(lines)


def entry(index: tuple[int, ...] | None) -> str:
    return "[" + ", ".join(map(str, index or ())) + "]"


def shown(x: Any) -> str:
    return f"{x:.12g}" if isinstance(x, (float, np.floating)) else str(x)


@dataclass
class Choice:
    """A point where calculus names no derivative: the slopes on both sides, and the claimed one."""

    argument: str
    index: tuple[int, ...]
    left: float
    right: float
    found: float

    def __str__(self) -> str:
        where = self.argument + (entry(self.index) if self.index else "")
        if np.isnan([self.left, self.right]).any():
            return f"a choice here: the function jumps along {where}"
        return (
            f"a choice here: by {where} the slope "
            f"is {shown(self.left)} on the left, {shown(self.right)} on the right; "
            f"the gradient says {shown(self.found)}"
        )


UNFIT = {
    "no array",
    "integers",
    "not finite",
    "no differentiable input",
    "nothing checked",
    "a choice here",
}
"""The failures that say nothing of the gradient."""


def unfit(failure: Failure) -> bool:
    """Whether it is the function that cannot be checked."""
    return failure.kind in UNFIT or failure.detail.startswith("the function")


@dataclass
class Report:
    """What was compared, and what was not. `str()` of it is for people.

    `compared`: how many numbers, by what they are ("entries", "directions", ...). `rejected`: how
    many points or entries were not, by reason ("kink", "edge", "drowned in rounding").
    `worst`: the largest |found - expected|, in multiples of what the error bar allows.
    """

    name: str = ""
    points: int = 1
    compared: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    choices: list[Choice] = field(default_factory=list)
    worst: float = 0.0
    sampling: str = ""
    failures: list[Failure] = field(default_factory=list)
    inputs: str = ""

    def add(self, other: Report) -> None:
        """Count what another report counted."""
        self.compared.update(other.compared)
        self.rejected.update(other.rejected)
        self.choices += other.choices
        self.failures += other.failures
        self.worst = max(self.worst, other.worst)

    def __str__(self) -> str:
        verdict = "wrong" if self.failures else "right"
        if self.failures and all(map(unfit, self.failures)):
            verdict = "could not be checked"
        counts = ", ".join(f"{n} {what}" for what, n in self.compared.items()) or "nothing"
        lines = [f"{self.name}: {verdict}; compared {counts}; worst error / bar {self.worst:.2g}"]
        if self.points != 1:
            lines[0] += f"; {self.points} points"
        lines += [self.sampling] if self.sampling else []
        if self.rejected:
            lines.append(
                "rejected: " + ", ".join(f"{n} ({why})" for why, n in self.rejected.items())
            )
        lines += map(str, self.choices[:3])
        lines += [str(failure) for failure in self.failures]
        if self.failures and self.inputs:
            lines.append(f"at {self.inputs}")
        return "\n".join(lines)


reports: list[Report] = []
"""The reports of this process's properties, for a summary."""


class GradientError(AssertionError):
    """A gradient that is wrong, or could not be checked. `.report` and `.failures` say why."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report

    @property
    def failures(self) -> list[Failure]:
        return self.report.failures


def described(names: list[str], args: list[Any]) -> str:
    """The arguments as Python source, as far as they are small."""
    parts = []
    for name, x in zip(names, args):
        if np.size(x) <= 20:
            text = repr(x).replace("\n", "")
        else:
            text = f"<{type(x).__name__} of shape {np.shape(x)}>"
        parts.append(f"{name} = {' '.join(text.split())}")
    return ", ".join(parts)

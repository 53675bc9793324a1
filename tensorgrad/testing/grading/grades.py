"""The grade: what is right in a student's backward pass, what is wrong, and the smallest input.

The teacher writes the forward pass on Values and names its quantities. A student's gradient is
right if it is the true one. It follows if it is what the engine makes of the student's own
gradients nearer to the loss: a mistake costs once, where it is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from textwrap import indent
from typing import Any

import hypothesis as hyp
import numpy as np
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from tensorgrad.testing.grading.lesson import largest
from tensorgrad.testing.grading.mistakes import explained
from tensorgrad.testing.grading.run import Run
from tensorgrad.testing.report import Failure, described
from tensorgrad.testing.strategies import arrays
from tensorgrad.testing.subject import Function, name_of

Array = Any
Arrays = dict[str, Array]


@dataclass
class Mistake(Failure):
    """A Failure, and inputs that show it. `argument` is the quantity, if it concerns one."""

    inputs: Arrays = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [described([name], [x]) for name, x in self.inputs.items()]
        return super().__str__() + "\n  at " + "\n     ".join(lines)


@dataclass
class Grade:
    """What is right and what is wrong in a student's backward pass. `str()` of it is for people.

    `right`: the quantities whose gradients are the true ones, in the order of the backward pass.
    `following`: those that are not, but follow from the student's own. `missing`: not returned.
    `mistakes`: the first diverging quantity first, at the smallest inputs; last what concerns none.
    `inputs`: how many were tried; `rejected`: how many of these have no derivative.
    """

    student: str
    right: list[str]
    following: list[str]
    missing: list[str]
    mistakes: list[Mistake]
    inputs: int
    rejected: int = 0

    @property
    def wrong(self) -> Mistake | None:
        """The first mistake; None where there is none."""
        return self.mistakes[0] if self.mistakes else None

    @property
    def points(self) -> int:
        """One for each gradient that is right or follows."""
        return len(self.right) + len(self.following)

    @property
    def out_of(self) -> int:
        """One for each gradient, and one for each mistake that concerns none."""
        return self.points + len(self.missing) + len(self.mistakes)

    @property
    def score(self) -> float:
        """The part of the points that were earned: 1 only if nothing is wrong or missing."""
        return self.points / max(self.out_of, 1)

    def __str__(self) -> str:
        rest = f", {self.rejected} rejected: no derivative there" if self.rejected else ""
        lines = [str(self.wrong)] if self.wrong else []
        for m in self.mistakes[1:]:
            told = (m.kind, m.argument, m.detail, m.diagnosis)
            lines.append(f"also {': '.join(text for text in told if text)}")
        lists = {"right": self.right, "right but for that": self.following, "missing": self.missing}
        lines += [f"{what}: {', '.join(names)}" for what, names in lists.items() if names]
        head = f"{self.student}: {self.points} of {self.out_of} ({self.inputs} inputs{rest})\n"
        return head + indent("\n".join(lines), "  ")


def grade(
    student: Function, reference: Function, inputs: Any = None, examples: int = 100, seed: int = 0
) -> Grade:
    """Compare the gradients that `student` computes by hand with the engine's, layer by layer.

    `reference(*inputs)` is the forward pass on Values. It returns the loss and a dict of the
    quantities whose gradients are asked for, parameters among them: `loss, {"z": z, "W": W}`.
    `student(*inputs)` does it all in plain NumPy, and returns a dict of the gradients of the loss
    by these names (or by other inputs). What is no float has no gradient.

    `inputs`: a Hypothesis strategy of the tuple of inputs; without it, they are numbers. Where it
    draws the sizes first, and then the arrays, they shrink best. `examples`: how many to draw.

    Whatever the student's function does becomes a part of the Grade. TypeError or ValueError for
    a reference that is none, or is nowhere finite, and for inputs that do not fit it.

    >>> import numpy as np
    >>> def reference(w, x):
    ...     z = w * x
    ...     a = np.tanh(z)
    ...     return a**2 / 2, {"w": w, "z": z, "a": a}
    >>> def student(w, x):
    ...     a = np.tanh(w * x)
    ...     return {"a": a, "z": a, "w": a * x}
    >>> print(grade(student, reference))
    student: 2 of 3 (100 inputs)
      wrong value
        gradient by z
          found     -0.635148952387
          expected  -0.378920851139
        diagnosis: missing a factor equal to 1 - a²
        at w = 0.5
           x = -1.5
      right: a
      right but for that: w
    """
    drawn = arguments(reference, inputs)
    runs: list[Run] = []
    explore(lambda x: runs.append(Run(student, reference, x)), drawn, examples, seed)
    names = runs[0].lesson.names
    defined = [run for run in runs if run.lesson.finite]
    sizes = {n: max((largest(run.lesson.true[n]) for run in defined), default=0) for n in names}
    judged = [run for run in defined if run.judge(sizes)]
    if not judged:
        raise ValueError(
            f"{name_of(reference)} or its gradients are not finite, or at a kink, at all of the "
            f"{len(runs)} inputs: pass a strategy of inputs where they are"
        )
    found = {key for run in judged for key in run.failures}
    keys = sorted(found, key=lambda key: names.index(key) if key in names else len(names))

    def fails(x: Arrays) -> bool:
        run = Run(student, reference, x)
        return run.lesson.finite and run.judge(sizes) and keys[0] in run.failures

    smallest = explore(fails, drawn, examples, seed) if keys else None
    mistakes = []
    for key in keys:
        failing = [run for run in judged if key in run.failures]
        shown = min(failing, key=lambda run: sum(map(np.size, run.inputs.values())))
        if smallest and key == keys[0]:
            run = Run(student, reference, smallest)
            shown = run if run.judge(sizes) and key in run.failures else shown
        failure = shown.failures[key]
        failure.diagnosis = explained(student, reference, key, failing)
        mistakes.append(Mistake(**vars(failure), inputs=shown.inputs))

    following = {n for run in judged for n in run.following} - found
    missing = {n for run in judged for n in run.missing} - found
    right = {n for run in judged for n in run.answer} - found - following - missing
    return Grade(
        name_of(student),
        [n for n in names if n in right],
        [n for n in names if n in following],
        [n for n in names if n in missing],
        mistakes,
        len(runs),
        len(runs) - len(judged),
    )


# Inputs are drawn, and those at which something shows are shrunk.


def arguments(
    reference: Function, inputs: st.SearchStrategy[Any] | None
) -> st.SearchStrategy[Arrays]:
    """The inputs of `reference` by the names of its parameters; numbers, if none are given."""
    names = list(inspect.signature(reference).parameters)
    if inputs is None:
        inputs = st.tuples(*(arrays((), start=i).map(float) for i in range(len(names))))
    if not isinstance(inputs, st.SearchStrategy):
        raise TypeError(f"inputs={inputs!r}: pass a strategy of tuples, such as st.tuples(...)")

    def by_name(drawn: Any) -> Arrays:
        if not isinstance(drawn, (tuple, list)) or len(drawn) != len(names):
            raise TypeError(
                f"inputs: {name_of(reference)} has parameters {', '.join(names)}; draw a tuple of "
                f"{len(names)}, not {drawn!r}"
            )
        return dict(zip(names, drawn))

    return inputs.map(by_name)


class Found(Exception):
    """Tells Hypothesis to shrink."""


def explore(
    visit: Callable[[Arrays], Any], drawn: st.SearchStrategy[Arrays], examples: int, seed: int
) -> Arrays | None:
    """Visit inputs, the same ones each time, until one visit is True; the smallest such inputs."""
    smallest = None

    @hyp.seed(seed)
    @hyp.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(hyp.Phase.generate, hyp.Phase.shrink),
        suppress_health_check=list(hyp.HealthCheck),
        verbosity=hyp.Verbosity.quiet,
    )
    @hyp.given(drawn)
    def test(inputs: Arrays) -> None:
        nonlocal smallest
        if visit(inputs):
            smallest = inputs
            raise Found

    with suppress(Found, Flaky):  # flaky: a student's function that is random
        test()
    return smallest

"""The student's side: what was returned for some inputs, and which of it is right."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tensorgrad.testing.grading.lesson import Lesson, largest, quietly, variable
from tensorgrad.testing.point import shown_type
from tensorgrad.testing.report import Failure
from tensorgrad.testing.subject import Function
from tensorgrad.value import Value

Array = Any
Arrays = dict[str, Array]
NUDGE, JUMP = 1e-7, 1e-3  # where a nudge of the inputs changes a gradient by such a part: a kink


class Run:
    """A student's function and the reference at the same inputs.

    `answer`: what the student returned for names that there are; `own`: gradients among it, with
    what is `expected` after those nearer to the loss. `changed`: inputs, as the student left them.
    """

    def __init__(self, student: Function, reference: Function, inputs: Arrays) -> None:
        self.inputs, self.reference = inputs, reference
        self.lesson = Lesson(reference, inputs)
        self.answer: Arrays = {}
        self.changed: Arrays = {}
        self.conduct: list[Failure] = []
        self.missing: list[str] = []
        self.own: Arrays = {}
        self.expected: Arrays = {}
        self.failures: dict[str, Failure] = {}
        self.following: list[str] = []
        own = copy.deepcopy(inputs)
        try:
            with quietly():
                result = student(*own.values())
                again = student(*copy.deepcopy(inputs).values())
        except (Exception, SystemExit) as error:
            self.conduct.append(Failure("raises", f"{type(error).__name__}: {error}"))
            return
        self.changed = {n: x for n, x in own.items() if not same(x, inputs[n])}
        if self.changed:
            detail = f"{', '.join(self.changed)} changed in place: work on a copy"
            self.conduct.append(Failure("mutates its input", detail))
        if not isinstance(result, dict):
            detail = f"returned {shown_type(result)}: return a dict of gradients by name"
            self.conduct.append(Failure("no dict", detail))
            return
        if not same(result, again):
            detail = "called again with equal inputs, it returned something else"
            self.conduct.append(Failure("not deterministic", detail))
        names = self.lesson.names
        unknown = [repr(name) for name in result if name not in names]
        if unknown:
            detail = f"{', '.join(unknown)}: there are {', '.join(names)}"
            self.conduct.append(Failure("unknown name", detail))
        self.answer = {n: result[n] for n in names if n in result}
        self.missing = [n for n in self.lesson.asked if n not in result]

    def judge(self, sizes: Mapping[str, float]) -> bool:
        """Sort the gradients into failures and what follows; False at a kink, where none is wrong.

        `sizes`: how large the gradients by each quantity are at other inputs: what is small besides
        may be all rounding.
        """
        true = self.lesson.true
        self.failures = {failure.kind: failure for failure in self.conduct}
        self.own = own = {}
        for name, d in self.answer.items():
            failure = misfit(name, d, true[name])
            if failure:
                self.failures[name] = failure
            else:
                own[name] = np.asarray(d)
        wrong = {
            name: bar
            for name, d in own.items()
            if largest(d - true[name]) > (bar := precision(true[name], sizes[name]))
        }
        self.expected = self.follow() if wrong else true
        self.following = []
        for name, bar in wrong.items():
            d, expected = own[name], self.expected[name]
            apart = np.abs(d - expected)
            if np.max(apart, initial=0) <= max(bar, precision(expected, 0)):
                self.following.append(name)
                continue
            i = np.unravel_index(int(np.argmax(apart)), apart.shape)
            index = tuple(map(int, i))
            self.failures[name] = Failure(
                "wrong value", "", name, index, found=d[i], expected=np.asarray(expected)[i]
            )
        return not (wrong and self.at_kink(sizes))

    def follow(self, **changes: Any) -> Arrays:
        """The gradients as they follow from the student's own; true ones where that is not finite.

        (The sweep of one step knows no `np.where` further down.)
        """
        with quietly():
            found = self.lesson.following(self.own, **changes)
        true = self.lesson.true
        return {n: d if np.isfinite(d).all() else true[n] for n, d in found.items()}

    def at_kink(self, sizes: Mapping[str, float]) -> bool:
        """Whether the true gradients are other ones a little further."""
        for seed in range(6):  # at a kink the engine's choice is the slope of one side
            try:
                moved = self.moved(NUDGE, np.random.default_rng(seed), self.inputs)
                lesson = Lesson(self.reference, moved)
            except Exception:  # it was defined here: the edge of its domain
                return True
            for name, true in self.lesson.true.items():
                limit = JUMP * largest(true) + precision(true, sizes[name])
                if not largest(lesson.true[name] - true) <= limit:
                    return True
        return False

    def moved(self, by: float, rng: np.random.Generator, names: Iterable[str]) -> Arrays:
        """The inputs, of which those with `names` are a little different."""
        return {
            name: x + by * rng.standard_normal(np.shape(x)) * (np.abs(x) + (largest(x) or 1))
            if name in names and isinstance(variable(x), Value)
            else x
            for name, x in self.inputs.items()
        }


def array_of(d: Any) -> Array:
    """What the student returned as an array; of objects, if it is none."""
    try:
        return np.asarray(d)
    except (TypeError, ValueError):  # a Value, lists of different lengths
        return np.array(None)


def same(x: Any, y: Any) -> bool:
    if isinstance(x, dict):
        return x.keys() == y.keys() and all(same(x[name], y[name]) for name in x)
    x, y = array_of(x), array_of(y)
    return x.shape == y.shape and np.array_equal(x, y, equal_nan=x.dtype.kind == "f")


def misfit(name: str, d: Any, true: Array) -> Failure | None:
    """What is wrong with a gradient before its numbers are compared."""
    found = array_of(d)
    if found.dtype.kind not in "iuf":
        return Failure("no array", f"it is {shown_type(d)}: return an array of floats", name)
    if found.shape != true.shape:
        return Failure("wrong shape", "", name, found=found.shape, expected=true.shape)
    if not np.isfinite(found).all():
        return Failure("not finite", "it holds NaN or infinity", name)
    return None


def precision(true: Array, size: float) -> float:
    """How much a gradient may be off: half of the digits, of the largest there are."""
    return float(np.sqrt(np.finfo(true.dtype).eps)) * max(largest(true), size)

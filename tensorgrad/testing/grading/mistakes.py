"""A diagnosis of a wrong gradient in a backward pass: what was forgotten or mixed up there.

Each is tried on several inputs of the same shapes: a coincidence in one number is no diagnosis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import permutations
from typing import Any

import numpy as np

from tensorgrad.testing.diagnosis import patterns
from tensorgrad.testing.evidence import CLOSE, Evidence
from tensorgrad.testing.grading.lesson import largest, quietly
from tensorgrad.testing.grading.run import Run
from tensorgrad.testing.subject import Function

Array = Any
Claim = tuple[str, list[Array], list[Array]]  # a sentence, true if these two are equal
VARIATIONS = 3  # of the parameters
FORMS: dict[str, Callable[[Array], Array]] = {  # the quantity itself, and slopes of activations
    "{}": lambda a: a,
    "1 - {}": lambda a: 1 - a,
    "{0} · (1 - {0})": lambda a: a * (1 - a),
    "1 - {}²": lambda a: 1 - a**2,
    "({} > 0)": lambda a: 1.0 * (a > 0),
}


class Variations(Evidence):
    """The gradients by one quantity in several runs, in place of several cotangents."""

    def __init__(self, runs: Sequence[Run], name: str) -> None:
        self.x = np.full(np.shape(runs[0].expected[name]), np.nan)  # it differs from run to run
        self.D = [np.asarray(run.answer[name]) for run in runs]
        self.right = [run.expected[name] for run in runs]
        self.true = np.array([np.ravel(d) for d in self.right])
        self.out, self.g, self.others = np.nan, [np.nan] * len(runs), {}
        self.of_others = {
            n: [run.own[n] for run in runs]
            for n, d in runs[0].own.items()
            if n != name and d.shape == self.x.shape and all(n in run.own for run in runs)
        }

    def along(self, d: Array) -> Array:
        return np.ravel(d)


def explained(student: Function, reference: Function, name: str, failing: Sequence[Run]) -> str:
    """A sentence on the gradient by the quantity `name`, which is wrong in `failing`; or ""."""
    if failing[0].failures[name].kind not in ("wrong value", "wrong shape"):
        return ""
    best = max(failing, key=lambda run: variety(run, name))
    runs, rng = [best], np.random.default_rng(0)
    for _ in range(VARIATIONS):
        with suppress(Exception):  # outside of the domain
            run = Run(student, reference, best.moved(0.1, rng, best.lesson.asked))
            run.judge(dict.fromkeys(run.lesson.names, 0.0))
            if np.shape(run.answer[name]) == np.shape(best.answer[name]) and run.lesson.finite:
                runs.append(run)
    alike = [run for run in failing if name in run.answer and axes(run) == axes(best)]
    e = Variations(runs, name)
    if not np.any(e.true):
        return "should be 0"
    with quietly():
        for text, found, expected in (*lengths(alike, name), *factors(e, runs)):
            if equal(found, expected):
                return text
        claims = (*steps(runs, name), *paths(runs, name))
        return patterns(e) or next((text for text, d in claims if equal(e.D, d)), "")


def axes(run: Run) -> list[int]:
    """How many axes each input has."""
    return [np.ndim(x) for x in run.inputs.values()]


def variety(run: Run, name: str) -> tuple[bool, int, int]:
    """How much a run can tell: whether the gradient is 0, whether the axes can be confused."""
    sides = [n for x in run.inputs.values() for n in np.shape(x)]
    return bool(np.any(run.expected[name])), len({*sides}), sum(sides)


def equal(found: Sequence[Array], expected: Sequence[Array]) -> bool:
    """Whether the gradients are equal in all runs, and are not all 0."""
    close = lambda x, y: x.shape == y.shape and largest(x - y) <= CLOSE * largest(y)
    return any(map(np.any, found)) and all(map(close, found, expected))


def lengths(runs: Sequence[Run], name: str) -> Iterator[Claim]:
    """Mistakes with the length of an axis: that of the batch, say. (If all are 2, it could be a
    half.) Inputs of several lengths tell one axis from another."""
    answers = [np.asarray(run.answer[name]) for run in runs]
    right = [run.expected[name] for run in runs]
    for argument, x in runs[0].inputs.items():
        for axis in range(np.ndim(x)):
            sizes = [np.shape(run.inputs[argument])[axis] for run in runs]
            if max(sizes) > 2:
                what = f"the length of axis {axis} of {argument}"
                larger = [d * n for d, n in zip(answers, sizes)]
                yield f"divided by {what}, once too often", larger, right
                smaller = [d / n for d, n in zip(answers, sizes)]
                yield f"not divided by {what}", smaller, right


def factors(e: Variations, runs: Sequence[Run]) -> Iterator[Claim]:
    """A factor made of some quantity was forgotten, is too much, or was made of another one."""
    named = {
        name: [run.lesson.nodes[name].data for run in runs]
        for name, node in runs[0].lesson.nodes.items()
        if np.shape(node.data) in ((), e.x.shape)
    }
    if e.D[0].shape != e.x.shape:
        return
    for form, f in FORMS.items():
        for name, values in named.items():
            made = list(map(f, values))
            text = form.format(name)
            yield f"missing a factor equal to {text}", products(e.D, made), e.right
            yield f"has a factor too many, equal to {text}", e.D, products(e.right, made)
        for a, b in permutations(named, 2):
            text = f"has {form.format(b)} in place of {form.format(a)}"
            belongs, stands = map(f, named[a]), map(f, named[b])
            yield text, products(e.D, belongs), products(e.right, stands)


def products(gradients: Iterable[Array], made: Iterable[Array]) -> list[Array]:
    return [d * f for d, f in zip(gradients, made)]


def steps(runs: Sequence[Run], name: str) -> Iterator[tuple[str, list[Array]]]:
    """What the gradient is if the backward pass takes one quantity to be another."""
    if np.shape(runs[0].answer[name]) != np.shape(runs[0].expected[name]):
        return
    data = {n: [run.lesson.nodes[n].data for run in runs] for n in runs[0].lesson.nodes}
    for a, values in data.items():
        others = {
            f"{b} in place of {a}": instead
            for b, instead in data.items()
            if b != a and np.shape(values[0]) == np.shape(instead[0])
        }
        if np.shape(values[0]) == np.shape(values[0])[::-1]:
            others[f"{a} transposed"] = [np.transpose(x) for x in values]
        if all(a in run.changed for run in runs):
            others[f"{a} as it was changed in place"] = [run.changed[a] for run in runs]
        for text, instead in others.items():
            with suppress(Exception):  # the shape does not fit, or not to its rules
                d = [run.follow(replaced=(a, x))[name] for run, x in zip(runs, instead)]
                yield f"computed with {text}", d


def paths(runs: Sequence[Run], name: str) -> Iterator[tuple[str, list[Array]]]:
    """What the gradient is if one of the uses of the quantity is forgotten."""
    lesson = runs[0].lesson
    labels = {node: n for n, node in lesson.nodes.items()}
    for i, user in enumerate(lesson.order):
        if lesson.nodes[name] in user.operands:
            text = f"the path through {labels.get(user, 'one of its uses')} is missing"
            with suppress(IndexError):  # a reference with branches
                uses = [(run.lesson.nodes[name], run.lesson.order[i]) for run in runs]
                yield text, [run.follow(without=use)[name] for run, use in zip(runs, uses)]

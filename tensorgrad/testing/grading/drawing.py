"""Drawing inputs for a reference, and shrinking those at which something shows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import hypothesis as hyp
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from tensorgrad.testing.strategies import arrays
from tensorgrad.testing.subject import Function, name_of

Array = Any
Arrays = dict[str, Array]


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

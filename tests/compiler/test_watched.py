"""A compiled step where somebody looks: it does as the eager one, or says why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim, viz
from tensorgrad.nn.functional import cross_entropy

X = np.random.default_rng(0).random((4, 6))
Y = np.array([0, 1, 1, 0])


def net(last: Any = None) -> tuple[Any, Callable[..., Any]]:
    """A model, and its loss; `last`: a Module after the others."""
    layers = [nn.Linear(6, 5, rng=0, dtype=float), nn.ReLU(), nn.Linear(5, 2, rng=1, dtype=float)]
    model = nn.Sequential(*layers, *([last] if last else []))

    def loss(x: Any, y: Any) -> Any:
        return cross_entropy(model(x), y)

    return model, loss


def training(wrap: Any) -> Any:
    model, loss_of = net()
    sgd = optim.SGD(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        loss = loss_of(x, y)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    return wrap(step)


def test_under_debug_a_step_takes_the_eager_steps_and_names_the_line_of_a_nan() -> None:
    eager, compiled = training(lambda f: f), training(tg.compile)
    compiled(X, Y), eager(X, Y)
    with tg.debug():
        assert compiled(X, Y).item() == eager(X, Y).item()
        said = []
        for step in (eager, compiled):
            with pytest.raises(FloatingPointError, match=r"test_watched.py, line \d+") as error:
                step(X * np.nan, Y)
            said.append(str(error.value))
    assert said[0] == said[1]
    assert compiled(X, Y).item() == pytest.approx(eager(X, Y).item(), rel=1e-12)


def test_lint_of_a_call_finds_what_it_finds_of_the_eager_one() -> None:
    found = []
    for wrap in (lambda f: f, tg.compile):
        model, loss = net(nn.Softmax())
        step = wrap(loss)
        step(X, Y)
        found.append(str(tg.lint(lambda step=step: step(X, Y), model)))
    assert "activation twice" in found[0]
    assert found[0] == found[1]


def test_a_loss_that_was_computed_under_debug_is_explained_as_the_eager_one() -> None:
    texts = []
    for wrap in (lambda f: f, tg.compile):
        model, loss = net()
        step = wrap(loss)
        step(X, Y)
        with tg.debug():
            value = step(X, Y)
        names = {"model": model}
        texts.append(str(viz.explain(value, model[2].bias, names)))
        texts.append(viz.graph(value, names).plain)
    assert texts[:2] == texts[2:]


@pytest.mark.parametrize(
    "look",
    [
        lambda loss, w: loss.backward(),
        lambda loss, w: tg.lint(loss),
        lambda loss, w: viz.explain(loss, w),
        lambda loss, w: viz.graph(loss),
        lambda loss, w: viz.steps(loss),
        lambda loss, w: viz.stepper(loss),
        lambda loss, w: viz.zoom(loss, ()),
        lambda loss, w: viz.explain(2 * loss, w),
    ],
)
def test_what_a_compiled_step_returned_says_why_there_is_nothing_to_see(look: Any) -> None:
    model, loss = net()
    step = tg.compile(loss)
    with pytest.raises(ValueError, match=r"no graph.* call it under tg.debug\(\)"):
        look(step(X, Y), model[0].weight)

"""An optimiser's rule is written down once for all parameters of a kind, whatever their shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.compiler import tracer
from tensorgrad.compiler.passes import chosen
from tensorgrad.compiler.passes.updates import updates
from tensorgrad.optim import Optimizer

x = np.random.default_rng(0).normal(size=(8, 5))


def trained(make: Any, steps: int = 4, dtype: Any = np.float32, **how: Any) -> tuple[Any, Any]:
    """The parameters after some steps, and the step: compiled, if it says how."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1))
    for p in model.parameters():
        p.data = p.data.astype(dtype)
    unused, number = tg.Value(np.ones(3, dtype)), tg.Value(dtype(0.5))
    optimizer = make([*model.parameters(), unused, number])
    given = x.astype(dtype)

    def step() -> Any:
        loss = np.mean((number * model(given) - 1) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run = tg.compile(step, **how) if how else step
    for k in range(steps):
        group = optimizer.param_groups[0]
        group["lr"] = 0.01 / (k + 1)
        if "weight_decay" in group:
            group["weight_decay"] *= 0.9
        run()
    return [p.data for p in (*model.parameters(), number)], run


def groups(params: Any) -> Optimizer:
    return optim.AdamW(
        [{"params": params[:2], "weight_decay": 0.0}, {"params": params[2:], "lr": 0.02}]
    )


MADE = {
    "AdamW": optim.AdamW,
    "amsgrad": lambda params: optim.AdamW(params, amsgrad=True),
    "maximize": lambda params: optim.Adam(params, maximize=True, weight_decay=0.1),
    "NAdam": optim.NAdam,
    "RMSprop": lambda params: optim.RMSprop(params, momentum=0.5, centered=True),
    "nesterov": lambda params: optim.SGD(params, 0.1, 0.9, nesterov=True, weight_decay=0.1),
    "groups": groups,
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_are_those_of_the_eager_step(name: str, dtype: type) -> None:
    want, _ = trained(MADE[name], dtype=dtype)
    got, _ = trained(MADE[name], dtype=dtype, exact=True)
    for a, b in zip(got, want):
        np.testing.assert_array_equal(a, b)
    got, _ = trained(MADE[name], dtype=dtype, exact=False)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, rtol=1e-5 if dtype is np.float32 else 1e-12)
        assert a.dtype == b.dtype


@pytest.fixture
def written(monkeypatch: Any) -> list[Any]:
    """What was written down of functions that go entry by entry."""
    found: list[Any] = []

    def entries_of(*args: Any) -> Any:
        found.append(entries(*args))
        return found[-1]

    entries = tracer.entries_of
    monkeypatch.setattr(tracer, "entries_of", entries_of)
    return found


def test_a_rule_is_written_down_once_without_state_and_once_with_it(written: list[Any]) -> None:
    _, step = trained(optim.AdamW, exact=False)
    assert len(written) == 2
    assert all(written)
    assert step.source.count("np.sqrt(") == 2  # in one function for arrays, and of the number
    assert "rule" not in step.source
    assert "rule" not in "".join(step.stages().values())


@pytest.mark.parametrize("how", [{"without": ["updates"]}, {"threads": 2}, {"microbatches": 2}])
def test_other_passes_see_what_a_rule_does(how: Any) -> None:
    want, _ = trained(optim.AdamW)
    got, _ = trained(optim.AdamW, **how)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, rtol=1e-5)


class InPlace(Optimizer):
    """It writes into the parameter."""

    @staticmethod
    def rule(p: Any, g: Any, state: Any = (), *, lr: float = 0.1) -> Any:
        for k in range(6):
            p -= lr * (k + 1) * g
        return p, ()


class Whole(Optimizer):
    """Its update depends on all entries, though it does not say so."""

    @staticmethod
    def rule(p: Any, g: Any, state: Any = (), *, lr: float = 0.1) -> Any:
        for k in range(6):
            p = p - lr * (k + 1) * g / (1 + np.sum(g * g))
        return p, ()


@pytest.mark.parametrize("made", [InPlace, Whole])
def test_a_rule_that_does_something_else_is_followed(made: Any, written: list[Any]) -> None:
    want, _ = trained(made, steps=2)
    got, _ = trained(made, steps=2, exact=True)
    assert not any(written)
    for a, b in zip(got, want):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("how", [{"threads": 2}, {"batches": 2}, {"exact": True}])
def test_where_passes_see_what_a_rule_does_it_is_written_out_before_them(how: Any) -> None:
    """Or the update would be made in new arrays: 9 MiB of a transformer's step."""
    assert chosen(**how)[0] is updates

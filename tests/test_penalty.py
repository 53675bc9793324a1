"""Penalties and clipping as wrappers of a step, by the formulas on paper."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.nn import functional as F
from tensorgrad.train import clipped, penalised

close = partial(np.testing.assert_allclose, rtol=1e-9)
ETA, LAMBDA, N = 0.5, 0.1, 50
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))


def trained(kind: Any, lr: float = ETA) -> tuple[Any, Any, Any, float]:
    """A model after one step of a kind, its weights and gradients before, and the loss."""
    model = nn.Linear(3, 2, rng=0).to(np.float64)
    F.mse_loss(model(X), Y).backward()
    before = [p.data for p in model.parameters()], [p.grad for p in model.parameters()]
    step = kind(model, F.mse_loss, optim.SGD(model.parameters(), lr=lr))
    return model, *before, step(X, Y).item()


def test_l2_is_nielsens_and_shows_in_the_loss() -> None:
    model, (w, b), (gw, gb), loss = trained(penalised(l2=LAMBDA / N))
    close(model.weight.data, (1 - ETA * LAMBDA / N) * w - ETA * gw)  # equation 93
    close(model.bias.data, b - ETA * gb)
    close(loss, np.mean((X @ w.T + b - Y) ** 2) + LAMBDA / (2 * N) * np.sum(w**2))


def test_l1_is_nielsens_and_shows_in_the_loss() -> None:
    model, (w, b), (gw, gb), loss = trained(penalised(l1=LAMBDA / N))
    close(model.weight.data, w - ETA * LAMBDA / N * np.sign(w) - ETA * gw)  # equation 97
    close(model.bias.data, b - ETA * gb)
    close(loss, np.mean((X @ w.T + b - Y) ** 2) + LAMBDA / N * np.sum(np.abs(w)))


def test_what_is_penalised_may_be_chosen() -> None:
    model, (w, b), (gw, gb), _ = trained(penalised(l2=0.2, of=lambda name, p: name == "bias"))
    close(model.weight.data, w - ETA * gw)
    close(model.bias.data, (1 - ETA * 0.2) * b - ETA * gb)


def test_no_units_weights_are_longer_than_max_norm() -> None:
    plain, *_ = trained(tg.Step)
    model, *_ = trained(penalised(max_norm=0.78))
    norms = np.linalg.norm(plain.weight.data, axis=1, keepdims=True)
    assert norms.max() > 0.78 > norms.min()
    close(model.weight.data, plain.weight.data * np.minimum(1, 0.78 / norms))
    kernels = np.ones((2, 1, 2, 2), np.float32)
    kernels[1] = 0
    short = tg.train.penalty.within(kernels, 1.0)
    close(short[:, 0, 0, 0], [0.5, 0])
    assert short.dtype == np.float32


def test_a_norm_is_clipped_over_all_parameters_together() -> None:
    _, _, (gw, gb), _ = trained(tg.Step)
    total = np.sqrt(np.sum(gw**2) + np.sum(gb**2))
    for most in (total / 3, 2 * total):
        model, (w, b), _, _ = trained(clipped(norm=most))
        factor = min(1, most / (total + 1e-6))
        close(model.weight.data, w - ETA * factor * gw)
        close(model.bias.data, b - ETA * factor * gb)


def test_values_are_clipped_one_by_one() -> None:
    model, (w, b), (gw, gb), _ = trained(clipped(value=0.1))
    close(model.weight.data, w - ETA * np.clip(gw, -0.1, 0.1))
    close(model.bias.data, b - ETA * np.clip(gb, -0.1, 0.1))


def test_they_compose_with_each_other_and_with_a_step_of_yours() -> None:
    class Doubled(tg.Step):
        def forward(self, *batch: Any) -> Any:
            return 2 * super().forward(*batch)

    model, (w, b), (gw, gb), _ = trained(clipped(penalised(Doubled, l1=0.1, l2=0.2), value=0.3))
    close(model.weight.data, w - ETA * np.clip(2 * gw + 0.1 * np.sign(w) + 0.2 * w, -0.3, 0.3))
    close(model.bias.data, b - ETA * np.clip(2 * gb, -0.3, 0.3))


@pytest.mark.parametrize("compile", [False, True])
def test_fit_monitors_the_penalised_loss_on_training_and_evaluation_data(compile: bool) -> None:
    model = nn.Linear(3, 2, rng=0).to(np.float64)
    (w, b) = (p.data for p in model.parameters())
    sgd = optim.SGD(model.parameters(), lr=0.1)
    kind = penalised(penalised(l2=2.0), l1=3.0, of=lambda name, p: name == "bias")
    sets = {"test": (X[:2], Y[:2]), "training": (X, Y)}
    asked: Any = {"step": kind, "validation": sets, "compile": compile}
    history = tg.fit(model, [(X, Y)], F.mse_loss, sgd, epochs=1, **asked)
    before = np.mean((X @ w.T + b - Y) ** 2) + np.sum(w**2) + 3 * np.sum(np.abs(b))
    close(history[0].loss, before)
    (w, b) = (p.data for p in model.parameters())
    for name, (x, y) in sets.items():
        penalty = np.sum(w**2) + 3 * np.sum(np.abs(b))
        close(history[0].measures[f"{name}_loss"], np.mean((x @ w.T + b - y) ** 2) + penalty)
    assert history[0].validation_loss == history[0].measures["test_loss"]


def test_a_gradient_that_is_no_number_is_named_as_ever() -> None:
    model = nn.Linear(3, 2, rng=0).to(np.float64)
    sgd = optim.SGD(model.parameters(), lr=0.1)
    step = clipped(norm=1.0)(model, F.mse_loss, sgd)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="the loss is inf"):
        step(X * 1e200, Y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: penalised(l1=-1), "l1=-1"),
        (lambda: penalised(l2=float("nan")), "l2=nan"),
        (lambda: penalised(max_norm=-1), "max_norm=-1"),
        (lambda: clipped(), "a norm or a value"),
        (lambda: clipped(norm=1, value=1), "a norm or a value"),
        (lambda: clipped(norm=-1), "above 0, not -1"),
        (lambda: trained(penalised(l2=1, of=lambda name, p: False)), "Linear has no weights"),
    ],
)
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

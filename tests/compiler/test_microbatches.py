"""`microbatches=2`: what is done for each example is done for one half of the batch, then for the
other, in the memory of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.compiler.passes import halves
from tensorgrad.transforms.tree import flatten
from tests.compiler.test_halves import BACKENDS, LABELS, NETS, OPERATIONS, training

KINDS = [
    "dense",
    *(pytest.param(kind, marks=pytest.mark.nightly) for kind in NETS if kind != "dense"),
]
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little work it is."""
    monkeypatch.setattr(halves, "CHEAP", 0.0)


def in_two(step: Any) -> bool:
    return "in range(2):" in step.source


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_half_after_the_other_trains_as_the_whole_batch_does(kind: str, backend: str) -> None:
    make, x = NETS[kind]
    models = [make(3), make(3)]
    eager, compiled = training(models[0]), training(models[1], microbatches=2, backend=backend)
    for _ in range(4):
        assert eager(x, LABELS).item() == pytest.approx(compiled(x, LABELS).item(), rel=1e-5)
    assert in_two(compiled)
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_allclose(q.data, p.data, rtol=1e-4, atol=1e-5)


@given(st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=4))
def test_any_operations_of_one_half_after_the_other(names: list[str]) -> None:
    def loss(x: Any) -> Any:
        for name in names:
            x = OPERATIONS[name](x)
        return np.mean(x * x), x

    slope = tg.value_and_grad(loss, has_aux=True)
    compiled = tg.compile(slope, microbatches=2)
    x = np.linspace(-1, 1.3, 72).reshape(6, 3, 4)
    for given_x in (x, x[::-1]):
        for found, wanted in zip(
            flatten(compiled(given_x))[0], flatten(slope(given_x))[0], strict=True
        ):
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_activations_take_half_of_the_memory(backend: Any) -> None:
    x, y = rng.normal(size=(1024, 16)).astype(np.float32), rng.integers(0, 3, 1024)
    held = {}
    for n in (1, 2):
        layers = [layer for k in range(6) for layer in (nn.Linear(64, 64, rng=k), nn.Tanh())]
        model = nn.Sequential(nn.Linear(16, 64, rng=7), *layers, nn.Linear(64, 3, rng=8))
        step = training(model, microbatches=n, backend=backend)
        for _ in range(2):
            step(x, y)
        held[n] = step.report().held
    assert held[2] < 0.6 * held[1]


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    make, x = NETS["dense"]
    models = [make(3), make(3)]
    eager, compiled = training(models[0]), training(models[1], microbatches=2)
    x = x.copy()
    with np.errstate(all="ignore"):
        for _ in range(3):
            eager(x, LABELS)
            compiled(x, LABELS)
            x[:, 0] = np.inf
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_allclose(q.data, p.data, rtol=1e-5)


def test_an_odd_batch_goes_through_at_once_and_results_are_the_callers() -> None:
    step = tg.compile(lambda x, w: np.tanh(x @ w), microbatches=2)
    w = rng.normal(size=(5, 4))
    for n in (7, 8):
        xs = [rng.normal(size=(n, 5)) for _ in range(3)]
        for x, found in zip(xs, [step(x, w) for x in xs]):
            np.testing.assert_allclose(found, np.tanh(x @ w), rtol=1e-12)
        assert in_two(step) == (n == 8)


def test_what_does_not_fit_is_refused() -> None:
    for n in (0, 3, True, "2"):
        with pytest.raises(ValueError, match="microbatches is 1, or 2 for the two halves"):
            tg.compile(np.tanh, microbatches=n)
    with pytest.raises(ValueError, match="exact=True is for microbatches=1"):
        tg.compile(np.tanh, microbatches=2, exact=True)
    with pytest.raises(ValueError, match="choose one of them"):
        tg.compile(np.tanh, microbatches=2, threads=2)

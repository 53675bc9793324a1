"""Clipped gradients, parameters as a vector, and parametrisations."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, io, nn, optim
from tensorgrad.nn import utils
from tensorgrad.nn.utils import parametrizations, parametrize
from tests.numerical import assert_gradient

rng = np.random.default_rng(0)
X = rng.normal(size=(5, 3))


def with_gradients() -> list[Value]:
    parameters = [Value(rng.normal(size=s)) for s in ((2, 3), (4,), ())]
    for p in parameters:
        p.grad = rng.normal(size=p.shape)
    return [*parameters, Value(1.0)]  # one without a gradient


@pytest.mark.parametrize("norm_type", [1.0, 2.0, np.inf])
def test_gradients_are_scaled_to_a_norm_of_all_together(norm_type: float) -> None:
    parameters = with_gradients()
    before = np.concatenate([np.ravel(p.grad) for p in parameters[:3]])
    total = utils.clip_grad_norm_(parameters, 0.5, norm_type)
    np.testing.assert_allclose(total, np.linalg.norm(before, norm_type))
    after = np.concatenate([np.ravel(p.grad) for p in parameters[:3]])
    np.testing.assert_allclose(after, before * 0.5 / total, rtol=1e-5)
    utils.clip_grad_norm_(parameters, 100.0, norm_type)  # they are short enough
    np.testing.assert_array_equal(np.ravel(parameters[0].grad), after[:6])


def test_gradients_are_clipped_by_value() -> None:
    parameters = with_gradients()
    before = [p.grad for p in parameters[:3]]
    utils.clip_grad_value_(parameters, 0.3)
    for p, g in zip(parameters, before):
        np.testing.assert_array_equal(p.grad, np.clip(g, -0.3, 0.3))


def test_a_norm_that_is_no_number_is_an_error_if_that_is_asked_for() -> None:
    p = Value([1.0])
    p.grad = np.array([np.nan])
    assert np.isnan(utils.clip_grad_norm_(p, 1.0))
    with pytest.raises(FloatingPointError, match=r"norm of order 2.0 of the gradients is nan"):
        utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)


def test_parameters_become_a_vector_and_come_back() -> None:
    layer, other = nn.Linear(3, 2, rng=0), nn.Linear(3, 2, rng=1)
    vector = utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (8,)
    utils.vector_to_parameters(2 * vector, other.parameters())
    np.testing.assert_allclose(other(X).data, 2 * layer(X).data, rtol=1e-5)
    assert other.weight.dtype == np.float32
    np.sum(vector * np.arange(8.0)).backward()
    np.testing.assert_array_equal(layer.bias.grad, [6, 7])
    with pytest.raises(ValueError, match=r"shape \(9,\) for 8 entries"):
        utils.vector_to_parameters(np.ones(9), other.parameters())


# Parametrisations.


class Symmetric(nn.Module):
    def forward(self, x: Any) -> Any:
        return np.triu(x) + np.swapaxes(np.triu(x, 1), -1, -2)


class Doubled(nn.Module):
    def forward(self, x: Any) -> Any:
        return 2 * x


def test_a_parameter_is_computed_of_an_original_that_learns() -> None:
    layer = nn.Linear(3, 3, dtype=np.float64, rng=0)
    original = layer.weight.data
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    names = [name for name, _ in layer.named_parameters()]
    assert names == ["bias", "parametrizations.weight.original"]
    upper = np.triu(original)
    symmetric = upper + np.triu(original, 1).T
    np.testing.assert_allclose(layer(X).data, X @ symmetric + layer.bias.data)
    np.sum(layer(X) ** 2).backward()
    g = layer.parametrizations["weight"].original.grad
    assert not np.tril(g, -1).any()
    assert g[np.triu_indices(3)].all()
    parametrize.register_parametrization(layer, "weight", Doubled())
    np.testing.assert_allclose(layer.weight.data, 2 * symmetric)
    parametrize.remove_parametrizations(layer, "weight")
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight"]
    np.testing.assert_allclose(layer.weight.data, 2 * symmetric)


PARAMETRIZED = {
    "weight_norm": lambda m: parametrizations.weight_norm(m),
    "weight_norm of all": lambda m: parametrizations.weight_norm(m, dim=None),
    "spectral_norm": lambda m: parametrizations.spectral_norm(m, rng=0),
    "matrix_exp": lambda m: parametrizations.orthogonal(m, orthogonal_map="matrix_exp"),
    "cayley": lambda m: parametrizations.orthogonal(m, orthogonal_map="cayley"),
    "householder": lambda m: parametrizations.orthogonal(m, orthogonal_map="householder"),
    "untrivial": lambda m: parametrizations.orthogonal(
        m, orthogonal_map="householder", use_trivialization=False
    ),
}


@pytest.mark.parametrize("name", PARAMETRIZED)
@pytest.mark.parametrize("sizes", [(3, 3), (3, 5), (3, 2)])
def test_parametrized_layers_learn_and_are_copied(name: str, sizes: Any) -> None:
    make = lambda seed: PARAMETRIZED[name](nn.Linear(*sizes, dtype=np.float64, rng=seed))
    layer = make(0).eval()
    loss = lambda model: np.sum(np.sin(model(X)))
    loss(layer).backward()
    grads = tg.grad(loss)(layer)
    for p, g in zip(layer.parameters(), grads.parameters()):
        np.testing.assert_allclose(p.grad, g.data)
    names = [n for n, _ in layer.named_parameters()]
    f = lambda *xs: loss_with(layer, dict(zip(names, xs)))
    assert_gradient(f, *(p.data for p in layer.parameters()), order=2)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(X).data, layer(X).data)
    other = make(1).eval()
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other(X).data, layer(X).data)
    optim.SGD(layer.parameters(), lr=0.1).step()
    assert (layer(X).data != other(X).data).any()


def loss_with(layer: Any, state: Any) -> Any:
    return np.sum(np.sin(nn.functional_call(layer, state, X)))


@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_weight_norm_splits_a_weight_into_length_and_direction(dim: int | None) -> None:
    layer = nn.Linear(3, 4, dtype=np.float64, rng=0)
    before = layer.weight.data.copy()
    parametrizations.weight_norm(layer, dim=dim)
    np.testing.assert_allclose(layer.weight.data, before)
    length = layer.parametrizations["weight"].original0
    axes = {0: 1, 1: 0, -1: 0, None: None}[dim]
    lengths = np.sqrt((before**2).sum(axis=axes, keepdims=dim is not None))
    np.testing.assert_allclose(length.data, lengths)
    length.data = 3 * length.data
    np.testing.assert_allclose(layer.weight.data, 3 * before)


def test_a_spectral_norm_follows_the_largest_singular_value_while_it_trains() -> None:
    layer = nn.Linear(6, 4, dtype=np.float64, rng=0)
    parametrizations.spectral_norm(layer, rng=0)
    original = rng.normal(size=(4, 6))  # it was followed elsewhere
    layer.parametrizations["weight"].original.data = original
    for _ in range(200):
        layer(rng.normal(size=(1, 6)))
    largest = np.linalg.svd(original)[1][0]
    np.testing.assert_allclose(layer.eval().weight.data, original / largest, rtol=1e-6)
    held = layer.parametrizations["weight"].steps[0].u.copy()
    layer(rng.normal(size=(1, 6)))
    np.testing.assert_array_equal(layer.parametrizations["weight"].steps[0].u, held)
    kernel = nn.Bilinear(2, 3, 4, dtype=np.float64, rng=0)
    parametrizations.spectral_norm(kernel, n_power_iterations=50, rng=0)
    np.testing.assert_allclose(np.linalg.norm(kernel.weight.data.reshape(4, 6), 2), 1)


@pytest.mark.parametrize("sizes", [(3, 3), (3, 5), (5, 2)])
@pytest.mark.parametrize("name", ["matrix_exp", "cayley", "householder", "untrivial"])
def test_orthogonal_weights_stay_orthogonal_while_they_learn(name: str, sizes: Any) -> None:
    layer = PARAMETRIZED[name](nn.Linear(*sizes, dtype=np.float64, rng=0))
    x = rng.normal(size=(7, sizes[0]))
    for _ in range(5):
        w = layer.weight.data
        product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-10)
        layer.zero_grad()
        np.sum(np.tanh(layer(x)) ** 3).backward()
        optim.SGD(layer.parameters(), lr=0.5).step()


def test_an_orthogonal_weight_stays_as_it_is_to_begin_with() -> None:
    layer = nn.Linear(4, 4, dtype=np.float64, rng=0)
    nn.init.orthogonal_(layer.weight, rng=0)
    before = layer.weight.data
    parametrizations.orthogonal(layer)
    np.testing.assert_allclose(layer.weight.data, before, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m: parametrize.register_parametrization(m, "weights", Doubled()),
            ValueError,
            "Linear has no parameter 'weights'",
        ),
        (
            lambda m: parametrize.register_parametrization(m, "weight", nn.Lambda(np.ravel)),
            ValueError,
            r"Lambda makes float32\[6\] of 'weight', float32\[2, 3\]",
        ),
        (
            lambda m: parametrize.remove_parametrizations(m, "weight"),
            ValueError,
            "no parametrisation of 'weight'",
        ),
        (
            lambda m: parametrize.remove_parametrizations(
                parametrizations.weight_norm(m), "weight", leave_parametrized=False
            ),
            ValueError,
            "2 originals",
        ),
        (lambda m: parametrizations.spectral_norm(m, "bias"), ValueError, "two axes or more"),
        (lambda m: parametrizations.orthogonal(m, "bias"), ValueError, "two axes or more"),
        (
            lambda m: parametrizations.orthogonal(m, orthogonal_map="qr"),
            ValueError,
            "there are 'matrix_exp'",
        ),
        (
            lambda m: io.save(parametrizations.weight_norm(m), "never-written"),
            TypeError,
            "cannot save Linear: its parameters are computed of others",
        ),
    ],
)
def test_mistakes_are_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(nn.Linear(3, 2, rng=0))

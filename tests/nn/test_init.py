"""Initialisers: the moments of what they draw, within four standard errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.nn import init

IN, OUT = 400, 300  # 120,000 weights


def assert_moments(x: Any, std: float) -> None:
    """Mean 0 and this standard deviation, given that the law is normal or uniform."""
    n = x.size
    assert abs(x.mean()) < 4 * std / np.sqrt(n)
    assert abs(x.std() / std - 1) < 4 / np.sqrt(
        2 * n
    )  # the error of a normal's; a uniform's is less


@pytest.mark.parametrize(
    ("name", "of_weights", "of_biases"),
    [
        ("normal", 1.0, 1.0),
        ("lecun", 1 / np.sqrt(IN), 1.0),
        ("xavier", np.sqrt(2 / (IN + OUT)), None),
        ("he", np.sqrt(2 / IN), None),
        ("uniform", 1 / np.sqrt(3 * IN), 1 / np.sqrt(3 * IN)),
    ],
)
def test_weights_and_biases_have_the_spread_that_the_source_gives(
    name: str, of_weights: float, of_biases: float | None
) -> None:
    weight, bias = init.by_name[name](np.random.default_rng(0), OUT, IN)
    assert weight.shape == (OUT, IN)
    assert bias.shape == (OUT,)
    assert_moments(weight, of_weights)
    if of_biases is None:
        assert not bias.any()
    else:
        assert_moments(bias, of_biases)


@pytest.mark.parametrize("name", ["normal", "lecun", "xavier", "he"])
def test_normal_weights_have_a_normals_fourth_moment(name: str) -> None:
    weight, _ = init.by_name[name](np.random.default_rng(0), OUT, IN)
    kurtosis = (weight**4).mean() / (weight**2).mean() ** 2
    assert abs(kurtosis - 3) < 4 * np.sqrt(24 / weight.size)


def test_uniform_fills_its_interval_and_does_not_leave_it() -> None:
    weight, bias = init.uniform(np.random.default_rng(0), OUT, IN)
    limit = 1 / np.sqrt(IN)
    for x in (weight, bias):
        assert 0.98 * limit < np.abs(x).max() <= limit
    assert abs((weight**4).mean() / (weight**2).mean() ** 2 - 9 / 5) < 0.02


def test_the_weighted_sum_of_a_lecun_neuron_does_not_grow_with_its_inputs() -> None:
    """Nielsen ch. 3: N(0, 1) weights saturate a neuron of 1,000 inputs, 500 of them on."""
    x = np.repeat([1.0, 0.0], 500)
    spread = {}
    for name in ("normal", "lecun"):
        weight, bias = init.by_name[name](np.random.default_rng(0), 4000, 1000)
        spread[name] = (weight @ x + bias).std()
    error = 4 / np.sqrt(2 * 4000)
    assert abs(spread["normal"] / np.sqrt(501) - 1) < error  # his √501 ≈ 22.4
    assert abs(spread["lecun"] / np.sqrt(3 / 2) - 1) < error  # his √(3/2) ≈ 1.22


@pytest.mark.parametrize("name", init.by_name)
def test_linear_takes_an_initialiser_by_name_or_as_a_function(name: str) -> None:
    by_name = nn.Linear(5, 3, init=name, rng=0)
    by_function = nn.Linear(5, 3, init=init.by_name[name], rng=0)
    weight, bias = init.by_name[name](np.random.default_rng(0), 3, 5)
    for layer in (by_name, by_function):
        np.testing.assert_array_equal(layer.weight.data, weight.astype(np.float32))
        np.testing.assert_array_equal(layer.bias.data, bias.astype(np.float32))


def test_pytorchs_default_is_the_default() -> None:
    ours, named = nn.Linear(5, 3, rng=0), nn.Linear(5, 3, init="uniform", rng=0)
    np.testing.assert_array_equal(ours.weight.data, named.weight.data)


def test_an_unknown_initialiser_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match="'he2'; there are normal, lecun, xavier, he, uniform"):
        init.find("he2")


WEIGHT = (300, 20, 4, 5)  # fan in 400, fan out 6,000


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (lambda w: init.uniform_(w, -2, 2, rng=0), 2 / np.sqrt(3)),
        (lambda w: init.normal_(w, 0, 3, rng=0), 3),
        (lambda w: init.xavier_uniform_(w, 2.0, rng=0), 2 * np.sqrt(2 / 6400)),
        (lambda w: init.xavier_normal_(w, rng=0), np.sqrt(2 / 6400)),
        (lambda w: init.kaiming_uniform_(w, rng=0), np.sqrt(2 / 400)),
        (lambda w: init.kaiming_normal_(w, mode="fan_out", rng=0), np.sqrt(2 / 6000)),
        (
            lambda w: init.kaiming_normal_(w, a=2.0, rng=0),
            np.sqrt(2 / (1 + 4) / 400),
        ),
        (lambda w: init.kaiming_uniform_(w, nonlinearity="tanh", rng=0), 5 / 3 / 20),
    ],
)
def test_pytorchs_initialisers_fill_a_parameter_with_the_spread_of_their_source(
    fill: Any, std: float
) -> None:
    w = Value(np.zeros(WEIGHT, np.float32))
    assert fill(w) is w
    assert w.dtype == np.float32
    assert w.requires_grad
    assert_moments(w.data, std)


def test_a_truncated_normal_stays_within_and_has_its_variance() -> None:
    x = init.trunc_normal_(Value(np.zeros(100_000)), 0.5, 2.0, -1.5, 2.5, rng=0).data
    assert -1.5 <= x.min() < -1.49 < 2.49 < x.max() <= 2.5
    assert abs(x.std() - 2 * 0.53956) < 0.01  # √(1 - 2 φ(1) / (Φ(1) - Φ(-1)))
    with pytest.raises(ValueError, match="next to nothing"):
        init.trunc_normal_(Value(np.zeros(3)), 0, 1, 50, 51)


def test_constants_and_identities() -> None:
    w = Value(np.ones((2, 3)))
    np.testing.assert_array_equal(init.constant_(w, 0.5).data, np.full((2, 3), 0.5))
    np.testing.assert_array_equal(init.ones_(w).data, np.ones((2, 3)))
    np.testing.assert_array_equal(init.zeros_(w).data, np.zeros((2, 3)))
    np.testing.assert_array_equal(init.eye_(w).data, np.eye(2, 3))
    kernel = init.dirac_(Value(np.ones((4, 2, 3, 3))), groups=2).data
    wanted = np.zeros((4, 2, 3, 3))
    wanted[[0, 1, 2, 3], [0, 1, 0, 1], 1, 1] = 1
    np.testing.assert_array_equal(kernel, wanted)
    array = np.zeros(3)
    assert init.constant_(array, 2) is array
    assert array.sum() == 6


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (3, 2, 2)])
def test_orthogonal_weights_keep_lengths(shape: tuple[int, ...]) -> None:
    q = init.orthogonal_(Value(np.zeros(shape)), gain=2, rng=0).data.reshape(shape[0], -1) / 2
    product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)


def test_sparse_columns_have_their_share_of_zeros() -> None:
    x = init.sparse_(Value(np.zeros((40, 6))), 0.26, std=2.0, rng=0).data
    np.testing.assert_array_equal((x == 0).sum(axis=0), [11] * 6)
    assert len({tuple(column) for column in (x == 0).T}) > 1


def test_gains_are_those_of_pytorch() -> None:
    gains = [init.calculate_gain(name) for name in ("linear", "tanh", "relu", "selu")]
    np.testing.assert_allclose(gains, [1, 5 / 3, np.sqrt(2), 0.75])
    assert init.calculate_gain("leaky_relu") == np.sqrt(2 / (1 + 0.01**2))


def test_a_seed_and_manual_seed_repeat_what_is_drawn() -> None:
    w = Value(np.zeros((3, 4)))
    first = init.kaiming_uniform_(w, rng=5).data
    np.testing.assert_array_equal(init.kaiming_uniform_(w, rng=5).data, first)
    tg.manual_seed(1)
    first = init.orthogonal_(w).data
    tg.manual_seed(1)
    np.testing.assert_array_equal(init.orthogonal_(w).data, first)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: init.xavier_uniform_(Value(np.zeros(3))), "fan in and out"),
        (lambda: init.kaiming_normal_(Value(np.zeros((3, 3))), mode="in"), "'fan_in' and"),
        (lambda: init.calculate_gain("gelu"), "no gain for 'gelu'; there are linear"),
        (lambda: init.eye_(Value(np.zeros(3))), "a matrix"),
        (lambda: init.dirac_(Value(np.zeros((3, 3)))), "dirac_"),
        (lambda: init.sparse_(Value(np.zeros((3, 3))), 2.0), "a share of 0..1"),
        (lambda: init.orthogonal_(Value(np.zeros(3))), "two axes or more"),
    ],
)
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

"""Initialisers: the moments of what they draw, within four standard errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorgrad import nn
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

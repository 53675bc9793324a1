"""3Blue1Brown's neural network series: the calculus of its last chapter, and its network.

His cost has no half, `C = (a - y)²`, so that his errors are twice Nielsen's.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from tensorgrad import Value, nn
from tensorgrad.nn import functional as F

close = partial(np.testing.assert_allclose, rtol=1e-9)


def sigma_prime(z: Any) -> Any:
    s = 1 / (1 + np.exp(-z))
    return s * (1 - s)


def test_one_neuron_per_layer_how_the_cost_depends_on_the_last_weight_bias_and_activation() -> None:
    w, b, a_before, y = Value(1.3), Value(-0.4), Value(0.6), 1.0
    z = w * a_before + b
    a = F.sigmoid(z)
    ((a - y) ** 2).backward()
    close(w.grad, a_before.data * sigma_prime(z.data) * 2 * (a.data - y))
    close(b.grad, 1 * sigma_prime(z.data) * 2 * (a.data - y))
    close(a_before.grad, w.data * sigma_prime(z.data) * 2 * (a.data - y))


def test_one_neuron_per_layer_the_chain_goes_on_backwards() -> None:
    w, b = Value(0.9), Value(0.2)
    w_last, b_last, y = 1.3, -0.4, 1.0
    z = w * 0.5 + b
    a = F.sigmoid(z)
    z_last = w_last * a + b_last
    a_last = F.sigmoid(z_last)
    ((a_last - y) ** 2).backward()
    cost_by_a = w_last * sigma_prime(z_last.data) * 2 * (a_last.data - y)
    close(w.grad, 0.5 * sigma_prime(z.data) * cost_by_a)
    close(b.grad, sigma_prime(z.data) * cost_by_a)


def many_neurons() -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    sizes = (4, 3, 5, 2)
    ws = [rng.normal(size=(n, m)) for m, n in pairwise(sizes)]
    a: Any = rng.uniform(size=4)
    zs, activations = [], []
    for w in ws:
        zs.append(Value(w) @ a)
        a = F.sigmoid(zs[-1])
        a.retain_grad()
        zs[-1].retain_grad()
        activations.append(a)
    y = np.array([1.0, 0.0])
    ((a - y) ** 2).sum().backward()
    return ws, zs, activations, y


def test_many_neurons_an_earlier_activation_reaches_the_cost_along_many_paths() -> None:
    ws, zs, activations, y = many_neurons()
    w, z, a = ws[-1], zs[-1].data, activations[-1].data
    close(
        activations[-2].grad,
        [sum(w[j, k] * sigma_prime(z[j]) * 2 * (a[j] - y[j]) for j in range(2)) for k in range(5)],
    )


def test_many_neurons_the_same_sum_holds_one_layer_further_back() -> None:
    ws, zs, activations, _ = many_neurons()
    w, z, cost_by_next = ws[1], zs[1].data, activations[1].grad
    close(
        activations[0].grad,
        [sum(w[j, k] * sigma_prime(z[j]) * cost_by_next[j] for j in range(5)) for k in range(3)],
    )


def test_his_errors_are_exactly_twice_nielsens() -> None:
    rng = np.random.default_rng(1)
    z, y = Value(rng.normal(size=5)), rng.uniform(size=5)
    half_z = Value(z.data)
    ((F.sigmoid(z) - y) ** 2).sum().backward()
    F.quadratic(F.sigmoid(half_z), y).backward()
    close(z.grad, 2 * half_z.grad)


def test_the_cost_of_all_examples_is_the_mean_and_so_is_its_gradient() -> None:
    rng = np.random.default_rng(2)
    X, Y, w = rng.normal(size=(6, 3)), rng.uniform(size=(6, 2)), rng.normal(size=(2, 3))

    def gradient(x: Any, y: Any) -> Any:
        weight = Value(w)
        ((F.sigmoid(x @ weight.T) - y) ** 2).sum(axis=-1).mean().backward()
        return weight.grad

    close(gradient(X, Y), sum(gradient(x, y) for x, y in zip(X, Y, strict=True)) / 6)


def test_his_network_has_13002_weights_and_biases() -> None:
    model = nn.Sequential(
        *(nn.Linear(784, 16), nn.Sigmoid(), nn.Linear(16, 16), nn.Sigmoid()),
        *(nn.Linear(16, 10), nn.Sigmoid()),
    )
    assert sum(p.size for p in model.parameters()) == 13002

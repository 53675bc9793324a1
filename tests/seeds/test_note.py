"""The note that this project grew from: what a neuron, a layer and learning are."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tensorgrad import Value, optim
from tensorgrad.nn import functional as F

close = partial(np.testing.assert_allclose, rtol=1e-9)
WEIGHTS, BIAS = np.array([4.0, 3.0, 5.0]), -10.0


def test_a_bias_of_minus_ten_makes_a_neuron_fire_when_its_weighted_sum_passes_ten() -> None:
    at_ten, below, above = [1.0, 2.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]
    assert WEIGHTS @ at_ten == 10
    a = [F.sigmoid(Value(WEIGHTS) @ x + Value(BIAS)).item() for x in (at_ten, below, above)]
    assert a[0] == 0.5
    assert a[1] < 0.5 < a[2]
    assert [F.relu(Value(WEIGHTS) @ x + BIAS).item() for x in (at_ten, below, above)] == [0, 0, 2]


def test_at_its_threshold_a_neuron_is_most_sensitive_to_its_bias() -> None:
    b = Value(np.linspace(-12, -8, 41))
    F.sigmoid(10 + b).backward(np.ones(41))
    assert b.data[b.grad.argmax()] == BIAS


def test_a_layer_is_a_matrix_vector_product_plus_a_vector() -> None:
    W, b, a = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0.1, 0.2, 0.3]), [0.5, -1.0]
    layer = F.sigmoid(F.linear(np.array(a), Value(W), Value(b)))
    neurons = [F.sigmoid(sum(w * x for w, x in zip(row, a)) + c).item() for row, c in zip(W, b)]
    close(layer.data, neurons)


def test_a_previous_activation_is_wanted_changed_by_the_sum_of_what_all_neurons_want() -> None:
    w, a, want = np.array([[0.5, -1.0], [2.0, 0.3]]), Value([0.6, 0.2]), np.array([1.0, 0.0])
    (F.linear(a, w, np.zeros(2)) * want).sum().backward()
    asked_by_each = [want[j] * w[j] for j in range(2)]
    close(a.grad, sum(asked_by_each))


def test_the_desired_changes_averaged_over_the_examples_are_the_negative_gradient() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 2))
    W, b = Value(rng.normal(size=(2, 3))), Value(rng.normal(size=2))
    F.quadratic(F.sigmoid(F.linear(X, W, b)), Y).backward()
    desired: list[Any] = []
    for x, y in zip(X, Y, strict=True):
        a = 1 / (1 + np.exp(-(W.data @ x + b.data)))
        desired.append((y - a) * a * (1 - a))
    close(b.grad, -np.mean(desired, axis=0))
    close(W.grad, -np.mean([np.outer(d, x) for d, x in zip(desired, X, strict=True)], axis=0))


def test_learning_is_gradient_descent_on_weights_and_biases() -> None:
    w, b = Value([0.5, -0.5]), Value(0.1)
    x, y = np.array([1.0, 2.0]), 1.0
    optimizer = optim.SGD([w, b], lr=0.5)
    costs = []
    for _ in range(50):
        cost = (F.sigmoid(w @ x + b) - y) ** 2
        optimizer.zero_grad()
        cost.backward()
        before, gradient = w.data, w.grad
        optimizer.step()
        close(w.data, before - 0.5 * gradient)
        costs.append(cost.item())
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0] / 10

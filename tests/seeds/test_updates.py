"""How weights move: the update rules that Nielsen's chapters 2, 3 and 5 and the note derive."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tensorgrad import Value, optim
from tensorgrad.nn import functional as F

close = partial(np.testing.assert_allclose, rtol=1e-9)
ETA, LAMBDA, N = 0.5, 0.1, 50  # learning rate, regularisation, size of the training set

rng = np.random.default_rng(0)
W, B = rng.normal(size=(2, 3)), rng.normal(size=2)
W[0, 0] = 0.0  # where |w| has a corner
X, Y = rng.normal(size=(4, 3)), rng.uniform(size=(4, 2))  # a mini-batch, m = 4


def cost(w: Value, b: Value) -> Any:
    return F.binary_cross_entropy(F.sigmoid(F.linear(X, w, b)), Y)


def gradients(w: Any = W, b: Any = B) -> tuple[Any, Any]:
    w, b = Value(w), Value(b)
    cost(w, b).backward()
    return w.grad, b.grad


def test_stochastic_gradient_descent_steps_by_the_mean_over_the_mini_batch() -> None:
    w, b = Value(W), Value(B)
    F.quadratic(F.sigmoid(F.linear(X, w, b)), Y).backward()
    optim.SGD([w, b], lr=ETA).step()
    total: Any = 0
    for x, y in zip(X, Y, strict=True):
        a = 1 / (1 + np.exp(-(W @ x + B)))
        total += np.outer((a - y) * a * (1 - a), x)
    close(w.data, W - ETA / 4 * total)


def test_l2_shrinks_the_weights_and_leaves_the_biases() -> None:
    by_w, by_b = gradients()
    w, b = Value(W), Value(B)
    cost(w, b).backward()
    groups = [{"params": [w], "weight_decay": LAMBDA / N}, {"params": [b]}]
    optim.SGD(groups, lr=ETA).step()
    close(w.data, (1 - ETA * LAMBDA / N) * W - ETA * by_w)
    close(b.data, B - ETA * by_b)


def test_l2_is_also_a_term_of_the_cost() -> None:
    by_w, by_b = gradients()
    w, b = Value(W), Value(B)
    (cost(w, b) + LAMBDA / (2 * N) * (w**2).sum()).backward()
    optim.SGD([w, b], lr=ETA).step()
    close(w.data, (1 - ETA * LAMBDA / N) * W - ETA * by_w)
    close(b.data, B - ETA * by_b)


def test_l1_pulls_every_weight_by_the_same_amount_and_a_weight_of_zero_by_none() -> None:
    by_w, by_b = gradients()
    w, b = Value(W), Value(B)
    (cost(w, b) + LAMBDA / N * np.abs(w).sum()).backward()
    optim.SGD([w, b], lr=ETA).step()
    close(w.data, W - ETA * LAMBDA / N * np.sign(W) - ETA * by_w)
    assert w.data[0, 0] == 0 - ETA * by_w[0, 0]
    close(b.data, B - ETA * by_b)


def test_momentum_is_a_velocity_that_the_gradient_changes() -> None:
    mu = 0.9
    w, b = Value(W), Value(B)
    optimizer = optim.SGD([w, b], lr=ETA, momentum=mu)
    by_hand, v = [W, B], [np.zeros_like(W), np.zeros_like(B)]
    for _ in range(5):
        v = [mu * v_i - ETA * g for v_i, g in zip(v, gradients(*by_hand), strict=True)]
        by_hand = [p + v_i for p, v_i in zip(by_hand, v, strict=True)]
        optimizer.zero_grad()
        cost(w, b).backward()
        optimizer.step()
        close(w.data, by_hand[0])
        close(b.data, by_hand[1])


# Newton's method, with the Hessian from the engine: the gradient of each entry of the gradient.


def gradient_and_hessian(f: Any, at: Any) -> tuple[Any, Any]:
    w = Value(at)
    f(w).backward(create_graph=True)
    gradient, rows = w.grad, []
    for g in gradient:
        w.grad = None
        g.backward()
        rows.append(w.grad)
    return gradient.data, np.array(rows)


A = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
c = np.array([1.0, -2.0, 0.5])


def test_newtons_step_reaches_the_minimum_of_a_quadratic_at_once() -> None:
    w = np.array([5.0, -4.0, 3.0])
    gradient, H = gradient_and_hessian(lambda w: 0.5 * (w @ A @ w) - c @ w, w)
    close(H, A, atol=1e-12)
    close(gradient, A @ w - c)
    step = -np.linalg.solve(H, gradient)  # Δw = -H⁻¹ ∇C
    close(w + step, np.linalg.solve(A, c))


def test_newtons_step_for_a_neuron_with_cross_entropy() -> None:
    w, y = np.array([0.3, -0.2, 0.5]), np.array([1.0, 0.0, 1.0, 0.0])
    gradient, H = gradient_and_hessian(
        lambda w: F.binary_cross_entropy_with_logits(X @ w, y, reduction="sum"), w
    )
    a = 1 / (1 + np.exp(-X @ w))
    H_by_hand = X.T @ np.diag(a * (1 - a)) @ X
    close(H, H_by_hand)
    close(-np.linalg.solve(H, gradient), -np.linalg.inv(H_by_hand) @ X.T @ (a - y))

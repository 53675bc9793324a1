"""Sau Sheong Chang, *How to build a simple artificial neural network with Go* (gonn).

A hidden layer `h = σ(W_h x)`, an output layer `o = σ(W_o h)`, no biases, the error `e = t - o`. The
published update of the output weights is a gradient step; that of the hidden weights leaves out a
factor, and is the gradient of no cost at all.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tensorgrad import Value, optim
from tensorgrad.nn import functional as F

close = partial(np.testing.assert_allclose, rtol=1e-9)
ETA = 0.1


class Example(NamedTuple):
    """A network of 4-3-2 neurons, one example, and what the network makes of it."""

    W_h: Any
    W_o: Any
    x: Any
    t: Any
    h: Any
    o: Any


def example() -> Example:
    rng = np.random.default_rng(0)
    W_h = rng.uniform(-0.5, 0.5, (3, 4))  # U(±1/√n)
    W_o = np.array([[4.0, 2.0, 3.0], [-1.0, 2.0, -0.5]])  # the first output is sure, and wrong
    x, t = rng.uniform(0.01, 1, 4), np.array([0.01, 0.99])
    h = 1 / (1 + np.exp(-W_h @ x))
    return Example(W_h, W_o, x, t, h, 1 / (1 + np.exp(-W_o @ h)))


def engine_step(n: Example, cost: Any) -> tuple[Any, Any]:
    """What one step of plain SGD adds to W_h and W_o."""
    W_h, W_o = Value(n.W_h), Value(n.W_o)
    cost(F.sigmoid(W_o @ F.sigmoid(W_h @ n.x)), n.t).backward()
    optim.SGD([W_h, W_o], lr=ETA).step()
    return W_h.data - n.W_h, W_o.data - n.W_o


def test_the_published_update_of_the_output_weights_is_a_gradient_step_of_the_quadratic_cost() -> (
    None
):
    n = example()
    e = n.t - n.o
    published = ETA * np.outer(e * n.o * (1 - n.o), n.h)
    close(engine_step(n, F.quadratic)[1], published)


def test_the_true_update_of_the_hidden_weights_carries_the_slope_of_the_outputs_back() -> None:
    n = example()
    e = n.t - n.o
    true = ETA * np.outer(n.W_o.T @ (e * n.o * (1 - n.o)) * n.h * (1 - n.h), n.x)
    close(engine_step(n, F.quadratic)[0], true)


def test_the_published_update_of_the_hidden_weights_leaves_that_slope_out() -> None:
    n = example()
    e = n.t - n.o
    published = ETA * np.outer(n.W_o.T @ e * n.h * (1 - n.h), n.x)
    true = engine_step(n, F.quadratic)[0]
    assert np.linalg.norm(published) > 4 * np.linalg.norm(true)  # o (1 - o) is at most 1/4
    cosine = (published * true).sum() / np.linalg.norm(published) / np.linalg.norm(true)
    assert cosine < 0.9  # nor is it the same direction with another step size


def test_the_published_update_of_the_hidden_weights_belongs_to_cross_entropy() -> None:
    n = example()
    e = n.t - n.o
    hidden, output = engine_step(n, partial(F.binary_cross_entropy, reduction="sum"))
    close(hidden, ETA * np.outer(n.W_o.T @ e * n.h * (1 - n.h), n.x))
    close(output, ETA * np.outer(e, n.h))  # whose output update has no o (1 - o) either


def update_field(W_h: Any, W_o: Any, n: Example, published: bool) -> list[Value]:
    """gonn's update as a function of all 18 weights: its 18 entries."""
    h = F.sigmoid(W_h @ n.x)
    o = F.sigmoid(W_o @ h)
    e = n.t - o
    delta = e * o * (1 - o)
    back = W_o.T @ (e if published else delta) * h * (1 - h)
    both = np.concatenate([np.outer(back, n.x).ravel(), np.outer(delta, h).ravel()])
    return list(both)


def asymmetry(n: Example, published: bool) -> float:
    """A gradient's Jacobian is a Hessian, which is symmetric: the largest ∂u_i/∂w_j - ∂u_j/∂w_i."""
    W_h, W_o = Value(n.W_h), Value(n.W_o)
    rows = []
    for u in update_field(W_h, W_o, n, published):
        W_h.grad = W_o.grad = None
        u.backward()
        rows.append(np.concatenate([W_h.grad.ravel(), W_o.grad.ravel()]))
    J = np.array(rows)
    return float(np.abs(J - J.T).max())


def test_the_published_updates_together_are_the_gradient_of_no_cost() -> None:
    n = example()
    assert asymmetry(n, published=False) < 1e-12
    assert asymmetry(n, published=True) > 0.01

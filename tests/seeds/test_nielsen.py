"""Michael Nielsen, *Neural Networks and Deep Learning*: the formulas of chapters 2, 3 and 5.

His notation: `z = W a + b`, `a = σ(z)`, cost `C`, error `δ = ∂C/∂z`; L is the last layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

from tensorgrad import Value
from tensorgrad.nn import functional as F

close = partial(np.testing.assert_allclose, rtol=1e-9)


def sigma(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def sigma_prime(z: Any) -> Any:
    return sigma(z) * (1 - sigma(z))


SQUASHES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sigmoid": (F.sigmoid, sigma_prime),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (F.relu, lambda z: 1.0 * (z > 0)),
}


class Swept(NamedTuple):
    """A network after one backward pass; `.grad` of everything in it is ∂C/∂ that."""

    w: list[Value]  # w[l]: from layer l to layer l + 1
    b: list[Value]
    z: list[Value]
    a: list[Any]  # a[0] is the input
    y: Any


def swept(
    cost: Callable[..., Any] = F.quadratic,
    squash: Callable[..., Any] = F.sigmoid,
    sizes: tuple[int, ...] = (4, 5, 3, 2),
) -> Swept:
    rng = np.random.default_rng(1)
    w = [Value(rng.normal(size=(n, m))) for m, n in itertools.pairwise(sizes)]
    b = [Value(rng.normal(size=n)) for n in sizes[1:]]
    a: list[Any] = [rng.normal(size=sizes[0])]
    z = []
    for w_l, b_l in zip(w, b, strict=True):
        z.append(w_l @ a[-1] + b_l)
        a.append(squash(z[-1]))
        z[-1].retain_grad()
        a[-1].retain_grad()
    y = rng.uniform(0.1, 0.9, sizes[-1])
    cost(a[-1], y).backward()
    return Swept(w, b, z, a, y)


def total_cross_entropy(a: Any, y: Any) -> Any:
    """Eq. 63 for one example."""
    return F.binary_cross_entropy(a, y, reduction="sum")


# Chapter 2: the four equations behind backpropagation.


@pytest.mark.parametrize("name", SQUASHES)
def test_bp1_error_of_the_output_is_the_cost_gradient_times_the_slope(name: str) -> None:
    squash, slope = SQUASHES[name]
    n = swept(squash=squash)
    close(n.a[-1].grad, n.a[-1].data - n.y)  # ∇_a C of the quadratic cost
    close(n.z[-1].grad, (n.a[-1].data - n.y) * slope(n.z[-1].data))


@pytest.mark.parametrize("name", SQUASHES)
def test_bp2_error_of_a_layer_is_the_weighted_error_of_the_next(name: str) -> None:
    squash, slope = SQUASHES[name]
    n = swept(squash=squash)
    for layer in range(len(n.z) - 1):
        error_of_next = n.z[layer + 1].grad
        close(n.z[layer].grad, n.w[layer + 1].data.T @ error_of_next * slope(n.z[layer].data))


@pytest.mark.parametrize("name", SQUASHES)
def test_bp3_gradient_of_a_bias_is_the_error(name: str) -> None:
    n = swept(squash=SQUASHES[name][0])
    for b, z in zip(n.b, n.z, strict=True):
        close(b.grad, z.grad)


@pytest.mark.parametrize("name", SQUASHES)
def test_bp4_gradient_of_a_weight_is_the_error_times_the_activation_it_carries(name: str) -> None:
    n = swept(squash=SQUASHES[name][0])
    close(n.w[0].grad, np.outer(n.z[0].grad, n.a[0]))
    for w, z, a in zip(n.w[1:], n.z[1:], n.a[1:]):
        close(w.grad, np.outer(z.grad, a.data))


@pytest.mark.parametrize("cost", [F.quadratic, total_cross_entropy])
def test_bp1_to_bp4_by_hand_from_end_to_end(cost: Callable[..., Any]) -> None:
    n = swept(cost)
    activations = [n.a[0], *(a.data for a in n.a[1:])]
    a = activations[-1]
    delta = a - n.y if cost is total_cross_entropy else (a - n.y) * sigma_prime(n.z[-1].data)
    for layer in reversed(range(len(n.w))):
        close(n.b[layer].grad, delta)
        close(n.w[layer].grad, np.outer(delta, activations[layer]))
        delta = n.w[layer].data.T @ delta * (sigma_prime(n.z[layer - 1].data) if layer else 1)


def test_eq35_the_error_is_a_product_of_matrices() -> None:
    n = swept()
    S = [np.diag(sigma_prime(z.data)) for z in n.z]  # Σ'(z^l)
    W = [w.data for w in n.w]
    gradient = n.a[-1].data - n.y
    close(n.z[2].grad, S[2] @ gradient)
    close(n.z[1].grad, S[1] @ W[2].T @ S[2] @ gradient)
    close(n.z[0].grad, S[0] @ W[1].T @ S[1] @ W[2].T @ S[2] @ gradient)


def test_eq53_the_gradient_is_a_sum_over_all_paths_through_the_network() -> None:
    n = swept(sizes=(2, 3, 4, 2))
    slope = [sigma_prime(z.data) for z in n.z]
    W = [w.data for w in n.w]
    by_hand = np.zeros((3, 2))
    for j, k in np.ndindex(3, 2):  # the weight from input k to neuron j of the first layer
        for p, q in itertools.product(range(4), range(2)):  # one path: j, p, q
            by_hand[j, k] += (
                (n.a[-1].data[q] - n.y[q])  # ∂C/∂a_q
                * (slope[2][q] * W[2][q, p])  # ∂a_q/∂a_p
                * (slope[1][p] * W[1][p, j])  # ∂a_p/∂a_j
                * (slope[0][j] * n.a[0][k])  # ∂a_j/∂w_jk
            )
    close(n.w[0].grad, by_hand)


@pytest.mark.parametrize("batched", [F.quadratic, F.cross_entropy])
def test_the_whole_batch_in_matrix_form_is_the_mean_of_its_examples(
    batched: Callable[..., Any],
) -> None:
    rng = np.random.default_rng(2)
    X, W, b = rng.normal(size=(7, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)
    Y = rng.dirichlet(np.ones(3), size=7)

    def gradients(x: Any, y: Any) -> tuple[Any, Any]:
        weight, bias = Value(W), Value(b)
        batched(F.sigmoid(F.linear(x, weight, bias)), y).backward()
        return weight.grad, bias.grad

    one_by_one = [gradients(x, y) for x, y in zip(X, Y, strict=True)]
    for whole, parts in zip(gradients(X, Y), zip(*one_by_one, strict=True), strict=True):
        close(whole, np.mean(parts, axis=0))


# Chapters 2 and 3: the output error of each cost.

Z = np.array([[0.3, -1.2, 2.0], [-0.4, 0.1, 0.7]])  # two examples
Y = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
ONES = np.ones(2)


def error(cost: Callable[[Value], Value]) -> Any:
    """δ^L: the engine's gradient of `cost`, summed over the examples, by the weighted inputs."""
    z = Value(Z)
    cost(z).sum().backward()
    return z.grad


def test_output_error_of_sigmoid_with_quadratic_cost() -> None:
    a = sigma(Z)
    close(error(lambda z: 2 * F.quadratic(F.sigmoid(z), Y)), (a - Y) * a * (1 - a))


def test_output_error_of_sigmoid_with_cross_entropy_has_no_slope() -> None:
    delta = sigma(Z) - Y
    close(error(lambda z: F.binary_cross_entropy(F.sigmoid(z), Y, reduction="sum")), delta)
    close(error(lambda z: F.binary_cross_entropy_with_logits(z, Y, reduction="sum")), delta)
    a = lambda z: 1 / (1 + np.exp(-z))
    close(error(lambda z: -(Y * np.log(a(z)) + (1 - Y) * np.log(1 - a(z)))), delta)


def test_output_error_of_softmax_with_log_likelihood_has_no_slope() -> None:
    delta = np.exp(Z) / np.exp(Z).sum(1, keepdims=True) - Y
    right = Y.argmax(1)
    close(error(lambda z: F.cross_entropy(z, right, reduction="sum")), delta)
    close(error(lambda z: F.cross_entropy(z, Y, reduction="sum")), delta)
    close(error(lambda z: F.nll_loss(F.log_softmax(z), right, reduction="sum")), delta)
    close(error(lambda z: -np.log(F.softmax(z)[[0, 1], right])), delta)
    close(error(lambda z: -np.log((np.exp(z).T / np.exp(z).sum(1)).T[[0, 1], right])), delta)


def test_output_error_of_linear_neurons_with_quadratic_cost_has_no_slope() -> None:
    close(error(lambda z: 2 * F.quadratic(z, Y)), Z - Y)


def test_gradient_of_cross_entropy_by_an_activation() -> None:
    a, y = Value([0.2, 0.9, 0.5]), np.array([0.0, 1.0, 0.3])
    F.binary_cross_entropy(a, y, reduction="sum").backward()
    close(a.grad, (a.data - y) / (a.data * (1 - a.data)), atol=1e-15)


def test_eq61_and_eq62_cross_entropy_learns_in_proportion_to_the_error() -> None:
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(5, 3)), rng.uniform(size=5)
    w, b = Value(rng.normal(size=3)), Value(0.5)
    F.binary_cross_entropy(F.sigmoid(X @ w + b), y).backward()
    a = sigma(X @ w.data + b.data)
    close(w.grad, [sum(X[:, j] * (a - y)) / 5 for j in range(3)])
    close(b.grad, sum(a - y) / 5)


def test_jacobian_of_softmax() -> None:
    z = Value([0.3, -1.2, 2.0, 0.0])
    a = F.softmax(z)
    for j in range(4):
        z.grad = None
        a.backward(np.eye(4)[j])
        close(z.grad, [a.data[j] * ((j == k) - a.data[k]) for k in range(4)])


def test_sigmoid_is_a_rescaled_tanh_and_so_is_its_slope() -> None:
    z, same_z = Value(np.linspace(-6, 6, 9)), Value(np.linspace(-6, 6, 9))
    left, right = F.sigmoid(z), (1 + np.tanh(same_z / 2)) / 2
    close(left.data, right.data)
    left.backward(np.ones(9))
    right.backward(np.ones(9))
    close(z.grad, same_z.grad)
    close(z.grad, (1 - np.tanh(z.data / 2) ** 2) / 4)


# Chapter 3: one neuron that must learn to answer 0 to the input 1.


def one_neuron(w0: float, b0: float, eta: float, cost: Callable[[Value], Value]) -> float:
    """The answer a after 300 steps of gradient descent."""
    w, b, x = Value(w0), Value(b0), 1.0
    for _ in range(300):
        w.grad = b.grad = None
        cost(F.sigmoid(w * x + b)).backward()
        w.data -= eta * w.grad
        b.data -= eta * b.grad
    return float(sigma(w.data * x + b.data))


@pytest.mark.parametrize(("start", "reported"), [((0.6, 0.9), 0.0940), ((2.0, 2.0), 0.2028)])
def test_one_neuron_with_quadratic_cost_reaches_what_the_book_reports(
    start: tuple[float, float], reported: float
) -> None:
    a = one_neuron(*start, eta=0.15, cost=lambda a: (0.0 - a) ** 2 / 2)
    assert round(a, 4) == reported


@pytest.mark.parametrize(("start", "reported"), [((0.6, 0.9), 0.4177), ((2.0, 2.0), 0.7796)])
def test_one_neuron_with_cross_entropy_reaches_what_the_book_reports(
    start: tuple[float, float], reported: float
) -> None:
    a = one_neuron(*start, eta=0.005, cost=lambda a: F.binary_cross_entropy(a, np.float64(0)))
    assert round(a, 4) == reported


# Chapter 5: a chain of one neuron per layer.


def test_the_gradient_of_the_first_bias_is_a_product_along_the_chain() -> None:
    w = [Value(x) for x in (0.7, -1.1, 2.0, 0.4)]
    b = [Value(x) for x in (0.1, 0.5, -0.3, 0.2)]
    a: Any = 0.8
    z = []
    for w_j, b_j in zip(w, b, strict=True):
        z.append(w_j * a + b_j)
        a = F.sigmoid(z[-1])
    (0.5 * (0.3 - a) ** 2).backward()
    s = [sigma_prime(z_j.data) for z_j in z]
    _, w2, w3, w4 = (w_j.data for w_j in w)
    close(b[0].grad, s[0] * w2 * s[1] * w3 * s[2] * w4 * s[3] * (a.data - 0.3))


def test_the_slope_of_sigmoid_is_at_most_a_quarter_and_reaches_it_at_zero() -> None:
    z = Value(np.linspace(-4, 4, 81))
    F.sigmoid(z).backward(np.ones(81))
    assert z.grad.max() == z.grad[40] == 0.25


def test_a_chain_of_four_with_weights_of_at_most_one_learns_256_times_slower_at_its_start() -> None:
    a: Any = 0.0
    b = [Value(0.0), Value(-0.5), Value(-0.5), Value(-0.5)]  # every z is 0: σ' is at its largest
    for b_j in b:
        a = F.sigmoid(1.0 * a + b_j)
    a.backward()
    close([b_j.grad for b_j in b], [0.25**4, 0.25**3, 0.25**2, 0.25])

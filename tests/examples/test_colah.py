"""What Olah's posts show: what the files of examples/colah do, and that by hand it is the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from examples.by_hand import lstm as lstm_by_hand
from examples.by_hand import tanh_layers
from examples.by_hand.adam import Adam
from examples.colah import bending, chain_rule, convolution, lstm, mnist_views
from tensorgrad import Value, nn, optim
from tensorgrad.train import predict
from tensorgrad.viz import figures

close = np.testing.assert_allclose
needs_mnist = pytest.mark.skipif(
    not any(Path(os.environ.get("TENSORGRAD_DATA", "nowhere"), "mnist").glob("*idx3*")),
    reason="needs MNIST in $TENSORGRAD_DATA/mnist",
)


# Calculus on computational graphs.


def test_a_derivative_is_a_sum_over_paths_and_reverse_mode_touches_each_edge_once() -> None:
    numbers = chain_rule.derivatives(0).numbers
    assert all(c.met(number) for c, number in zip(chain_rule.derivatives.claims, numbers))


def test_a_path_that_branches_again_is_counted_for_each_branch() -> None:
    x = Value(3.0)
    y = (x + x) * x
    assert sorted(chain_rule.paths(x.node, y.node)) == [3.0, 3.0, 6.0]


# Neural networks, manifolds, and topology.


def test_a_point_of_the_other_arm_is_where_half_a_turn_takes_it_to() -> None:
    x, y = bending.spirals(np.random.default_rng(0), n=50)
    radius, angle = np.hypot(*x.T), np.arctan2(*x.T[::-1])
    turned = np.angle(np.exp(1j * (angle - 6 * radius)))  # 0 on one arm, half a turn on the other
    close(np.abs(turned), np.where(y == 0, 0, np.pi), atol=1e-5)


def test_the_ring_begins_where_the_disk_has_long_ended() -> None:
    x, y = bending.disk_and_annulus(np.random.default_rng(0))
    radius = np.hypot(*x.T)
    assert radius[y == 0].max() <= 1 / 3
    assert radius[y == 1].min() >= 2 / 3
    assert radius.max() <= 1


def test_three_neurons_free_the_disk_and_two_do_not() -> None:
    _, _, _, flat = bending.train([2, 2], bending.disk_and_annulus, seed=0, epochs=300)
    *scene, space = bending.train([2, 3], bending.disk_and_annulus, seed=0, epochs=300)
    assert flat < 0.95 < space
    assert len(figures.bend(*scene, frames=1).figure(-1).axes) == 1


@pytest.mark.parametrize("sizes", [[2, 3], [2, 2, 2]])
def test_layers_of_tanh_trained_by_hand_are_the_same(sizes: list[int]) -> None:
    rng = np.random.default_rng(0)
    x, y = bending.disk_and_annulus(rng)
    by_hand = tanh_layers.train(bending.network(sizes, rng), x, y, epochs=20)
    model, *_ = bending.train(sizes, bending.disk_and_annulus, seed=0, epochs=20)
    for p, q in zip(by_hand, model.parameters(), strict=True):
        close(p, q.data, atol=1e-5)


# Understanding LSTM networks.


def test_the_lstm_by_hand_learns_what_the_network_learns() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 6, 5, 28)), rng.integers(0, 10, (4, 6))
    model = lstm.Reader("LSTM", rng, n=7).double()
    by_hand = [p.data.copy() for p in model.parameters()]
    adam, ours = Adam(by_hand, lr=0.01), optim.Adam(model.parameters(), lr=0.01)
    step = tg.Step(model, nn.functional.cross_entropy, ours)
    for batch in zip(x, y):
        adam.step(lstm_by_hand.gradients(by_hand, *batch))
        step(*batch)
    for p, q in zip(by_hand, model.parameters(), strict=True):
        close(p, q.data, rtol=1e-9, atol=1e-12)


@needs_mnist
def test_his_equations_and_derivatives_are_those_of_the_layer() -> None:
    assert max(lstm.formulas(0, images=5, n=8).numbers) < 1e-12


@pytest.mark.parametrize("kind", lstm.KINDS)
def test_every_variant_remembers_what_the_first_row_said(kind: str) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    x = rng.normal(size=(60, 4, 28)).astype(np.float32)
    x[:, 0] = (2 * y - 1)[:, None]
    model = lstm.Reader(kind, rng, n=8)
    adam = optim.Adam(model.parameters(), lr=0.03)
    tg.fit(model, [(x, y)], nn.functional.cross_entropy, adam, epochs=40)
    assert (predict(model, x).argmax(axis=1) == y).all()


# Understanding convolutions.


def test_a_convolution_is_a_matrix_of_tied_weights() -> None:
    assert convolution.tied((3, 3), (2, 2)).tolist() == [
        [1, 2, 0, 3, 4, 0, 0, 0, 0],
        [0, 1, 2, 0, 3, 4, 0, 0, 0],
        [0, 0, 0, 1, 2, 0, 3, 4, 0],
        [0, 0, 0, 0, 1, 2, 0, 3, 4],
    ]


@needs_mnist
def test_convolution_and_gradients_are_those_of_the_matrix() -> None:
    *differences, zeros = convolution.toeplitz(0, images=3).numbers
    assert max(differences) < 1e-12
    assert zeros == 1 - 25 / 784


# Visualizing MNIST.


def clusters() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    return 10 * np.eye(3, 20)[y] + rng.normal(size=(90, 20)), y


def test_what_lies_apart_in_many_dimensions_lies_apart_in_the_plane() -> None:
    pytest.importorskip("sklearn")
    x, y = clusters()
    pca, tsne = mnist_views.views(x, 0, iterations=400)
    assert mnist_views.agreement(pca, y) == mnist_views.agreement(tsne, y) == 1
    centred = x - x.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    close(np.abs(pca), np.abs(u * s)[:, :2], atol=1e-8)


def test_the_nearest_neighbour_of_a_point_is_another_point() -> None:
    pytest.importorskip("sklearn")
    points = np.array([[0.0, 0], [1, 0], [10, 0], [12, 0]])
    assert mnist_views.agreement(points, np.array([0, 0, 1, 2])) == 0.5


def test_each_digit_is_drawn_as_what_it_is() -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    points, y = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 10
    figure = mnist_views.scatter({"here": points, "there": points}, y)
    drawn = [line.get_marker() for line in figure.axes[0].lines]
    assert drawn == [f"${digit}$" for digit in range(10)]
    assert [text.get_text() for text in figure.legends[0].texts] == list("0123456789")

"""3Blue1Brown's network: what the films show of it, and the same training by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from examples.by_hand import three_blue_one_brown as by_hand
from examples.three_blue_one_brown import network
from tensorgrad import nn, optim
from tensorgrad.optim.lr_scheduler import CosineAnnealingLR
from tensorgrad.viz import figures

close = np.testing.assert_allclose


def drawn(n: int) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    return [(rng.random((8, 784), dtype=np.float32), rng.integers(10, size=8)) for _ in range(n)]


@pytest.mark.parametrize("squash", [nn.ReLU, nn.Sigmoid])
def test_it_has_13_002_weights_and_biases(squash: Any) -> None:
    model = network.network(np.random.default_rng(0), squash)
    assert [p.shape for p in model.parameters()] == [
        *((16, 784), (16,), (16, 16), (16,), (10, 16), (10,)),
    ]
    assert sum(p.size for p in model.parameters()) == 13_002


def test_after_twenty_batches_the_weights_are_those_by_hand() -> None:
    batches, model = drawn(20), network.network(np.random.default_rng(1))
    by_numpy = [p.data.copy() for p in model.parameters()]
    by_hand.train(by_numpy, batches, 1)
    adam = optim.Adam(model.parameters(), lr=3e-3)
    rate = CosineAnnealingLR(adam, T_max=20)
    for x, y in batches:
        adam.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        adam.step()
        rate.step()
    for p, w in zip(model.parameters(), by_numpy):
        close(p.data, w, atol=1e-6)


def test_the_activations_of_all_layers_are_those_by_hand() -> None:
    model, (x, _) = network.network(np.random.default_rng(2)), drawn(1)[0]
    found = model.activations(x)
    _, *hidden, out = by_hand.forward(x, [p.data for p in model.parameters()])
    for path, a in zip(("layers.1", "layers.3", "layers.4"), (*hidden, out)):
        close(found[path], a, rtol=1e-4, atol=1e-6)


def test_half_of_the_batches_move_by_a_pixel_and_none_by_more() -> None:
    image = np.zeros((1, 28, 28), np.float32)
    image[0, 14, 14] = 1.0
    places = set()
    for seed in range(100):
        x, y = network.moved(image.reshape(1, 784), [3], np.random.default_rng(seed))
        places.add(int(x.argmax()))
        assert x.sum() == 1
        assert y == [3]
    assert places == {28 * (14 + down) + 14 + right for down in (-1, 0, 1) for right in (-1, 0, 1)}


def test_the_input_that_maximises_a_neuron_is_found_from_a_blank_sheet_too() -> None:
    model = nn.Sequential(nn.Linear(3, 1, dtype=float), nn.Sigmoid())
    model[0].weight.data = np.array([[2.0, -1.0, 0.0]])
    close(figures.maximise(model, start=0.0), [[1, 0, 0]])


@pytest.mark.nightly
@pytest.mark.usefixtures("real_mnist")
def test_each_picture_of_the_films_is_drawn() -> None:
    pytest.importorskip("matplotlib")
    from examples.three_blue_one_brown import pictures

    kinds = ("activations", "noise", "weights", "maximising", "nudges", "surface")
    before, after = pictures.nudges(0, epochs=1).numbers
    assert after < before
    for kind in kinds:
        reached = getattr(pictures, kind)(0, epochs=1)
        assert np.isfinite(reached.numbers).all()
    (sure,) = pictures.activations(0, epochs=1).numbers
    (of_noise,) = pictures.noise(0, epochs=1).numbers
    assert 0.2 < of_noise < sure
    drawn = pictures.activations(0, epochs=1).draw()
    assert [axes.get_title() for axes in drawn.axes][:3] == [
        *("input", "layer 1\n16 sigmoid", "layer 2\n16 sigmoid"),
    ]

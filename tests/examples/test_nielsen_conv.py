"""Nielsen's network3.py in examples/nielsen/ch6.py, and his tools: expanded data, a vote."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from examples import mnist
from examples.by_hand import conv
from examples.nielsen import ch6
from tensorgrad import data, nn, optim


def images(n: int, seed: int) -> mnist.Images:
    """A bright square for each class at a place of its own, in place of MNIST: on noise, and as
    many pixels without, so that pooling meets equal ones.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 10, n)
    x = 0.3 * rng.random((n, 28, 28), np.float32)
    x[:, 14:] = 0
    for image, digit in zip(x, y, strict=True):
        image[5 * (digit // 5) + 6 :, 5 * (digit % 5) + 2 :][:5, :5] += 0.7
    return mnist.Images(x.reshape(n, 784), y)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> mnist.Split:
    split = mnist.Split(images(320, 0), images(100, 1), images(100, 2))
    monkeypatch.setattr(mnist, "split", lambda: split)
    return split


def dense(rng: np.random.Generator) -> nn.Sequential:
    """A small net in place of a convolutional one, with dropout, which draws."""
    return nn.Sequential(nn.Dropout(0.2, rng=rng), nn.Linear(784, 10, init=ch6.zeros))


# network3.py


def test_training_agrees_with_the_same_by_hand(few: mnist.Split) -> None:
    by_hand, reached = conv.train(0, epochs=1, images=320)
    model = ch6.relu_net(np.random.default_rng(0), 1, few.training, 0.1 / 5000)
    k1, b1, k2, b2, w3, b3, w4, b4 = [p.data for p in model.parameters()]
    ours = [
        *(k1.reshape(20, 25).T, b1, k2.transpose(2, 3, 1, 0).reshape(500, 40), b2),
        *(w3.reshape(100, 40, 4, 4).transpose(2, 3, 1, 0).reshape(640, 100), b3, w4.T, b4),
    ]
    for a, b in zip(ours, by_hand, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)  # float32, 32 steps
    assert np.any(w4)
    assert ch6.accuracy(model) == reached


def test_weights_are_drawn_with_variance_1_over_n_out_and_softmax_starts_at_zero() -> None:
    model = ch6.two_convolutions(np.random.default_rng(0))
    first, second, hidden, softmax = [
        m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))
    ]
    outputs = {first: 20 * 25 / 4, second: 40 * 25 / 4, hidden: 100}
    for layer, n_out in outputs.items():
        weight, bias = layer.weight.data, layer.bias.data
        assert np.std(weight) == pytest.approx(n_out**-0.5, rel=4 / np.sqrt(2 * weight.size))
        assert np.std(bias) == pytest.approx(1, rel=4 / np.sqrt(2 * bias.size))
    assert not np.any(softmax.weight.data)
    assert not np.any(softmax.bias.data)


@pytest.mark.parametrize("activation", [nn.Identity, nn.ReLU, nn.Sigmoid, nn.Tanh])
def test_a_layer_is_its_convolution_activated_and_then_pooled(activation: Any) -> None:
    """The other way round is the same for what never falls, and a quarter of the work."""
    x = np.random.default_rng(1).random((3, 1, 28, 28), np.float32)
    layer, pool, act = ch6.convolution(1, 4, activation, np.random.default_rng(0))
    np.testing.assert_array_equal(act(pool(layer(x))).data, pool(act(layer(x))).data)


@pytest.mark.parametrize("activation", [nn.Identity, nn.ReLU, nn.Sigmoid, nn.Tanh])
def test_a_network_of_any_activation_learns(few: mnist.Split, activation: Any) -> None:
    rng = np.random.default_rng(0)
    model = ch6.one_convolution(rng, activation)
    x, y = few.training.first(16)
    step = tg.Step(model, nn.functional.cross_entropy, optim.Adam(model.parameters(), lr=1e-3))
    losses = [step(x, y).item() for _ in range(4)]
    assert losses[0] == pytest.approx(np.log(10), rel=1e-6)  # of a softmax of zeros
    assert losses[-1] < losses[0]


def test_dropout_is_before_each_dense_layer_and_only_in_training(few: mnist.Split) -> None:
    layers = ch6.with_dropout(np.random.default_rng(0)).layers
    before = [a for a, b in pairwise(layers) if isinstance(b, nn.Linear)]
    assert [d.p for d in before] == [0.5] * 3
    model = dense(np.random.default_rng(0))
    model.layers[1].weight.data = np.eye(10, 784, dtype=np.float32)
    x = few.test.x[:5]
    assert np.any(model(x).data != model(x).data)
    once, again = ch6.probabilities(model, x), ch6.probabilities(model, x)
    np.testing.assert_array_equal(once, again)
    np.testing.assert_allclose(once, nn.functional.softmax(x[:, :10]))


def test_the_test_images_are_read_by_the_model_of_the_best_validation_epoch(
    few: mnist.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    model = dense(rng)
    seen: list[Any] = []
    monkeypatch.setattr(ch6, "show", lambda _: seen.append(model.state_dict()))
    sgd = optim.SGD(model.parameters(), lr=1.0)  # of a few images: it goes up and down
    history = ch6.train(model, rng, 8, sgd, few.training.first(20))
    reached = history.column("accuracy")
    best = int(np.argmax(reached))
    assert best < 7
    assert min(reached) < max(reached)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, seen[best][name])
    model.load_state_dict(seen[best])
    assert (
        tg.train.accuracy(ch6.probabilities(model, few.validation.x), few.validation.y)
        == (reached[best])
    )


# His tools.


def test_expanded_data_are_each_image_and_its_four_neighbours(
    few: mnist.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(ch6, "relu_net", lambda *args: given.extend(args) or dense(args[0]))
    ch6.expanded(images=10)
    x, y = given[2]
    assert given[3] == pytest.approx(0.1 / 25_000)  # lambda over the mini-batches of 250,000
    assert x.shape == (50, 784)
    assert np.array_equal(y, np.tile(few.training.y[:10], 5))
    original = x[0].reshape(28, 28)
    for move, image in zip([(1, 0), (-1, 0), (0, 1), (0, -1)], x[10::10], strict=True):
        np.testing.assert_array_equal(image.reshape(28, 28), data.shift(original, *move))


def test_a_vote_is_what_most_say_and_of_ties_what_is_surer() -> None:
    a, b, c = [0.9, 0.1, 0.0], [0.1, 0.5, 0.4], [0.2, 0.5, 0.3]
    assert tg.train.vote([[a], [b], [c]]).tolist() == [1]  # the sum of answers says 0
    assert tg.train.vote([[a], [b]]).tolist() == [0]
    assert tg.train.vote([[[0.0, 0.6, 0.4]], [[0.0, 0.3, 0.7]]]).tolist() == [2]
    assert tg.train.vote([tg.Value(np.array([a, b]))]).tolist() == [0, 1]
    with np.errstate(divide="ignore"):
        logarithms = np.log([[[0, 1]], [[0, 1]], [[1, 0]]])
    assert tg.train.vote(logarithms).tolist() == [1]
    with pytest.raises(ValueError, match="NaNs among the answers"):
        tg.train.vote([[a], [np.full(3, np.nan)]])
    many = np.random.default_rng(0).random((5, 200, 10))
    counts = np.array([np.bincount(v, minlength=10) for v in many.argmax(axis=2).T])
    voted = tg.train.vote(many)
    assert np.all(counts[np.arange(200), voted] == counts.max(axis=1))


@pytest.mark.parametrize("answers", [[], [[0.5, 0.5]], [[[1.0, 0.0]], [[1.0, 0.0, 0.0]]]])
def test_a_vote_of_other_shapes_is_refused(answers: Any) -> None:
    with pytest.raises(ValueError, match=r"answers are \(models, n, classes\)"):
        tg.train.vote(answers)


def test_a_vote_that_was_broken_off_goes_on_with_the_net_under_way(
    few: mnist.Split, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"epochs": 2, "images": 320, "nets": 3}
    monkeypatch.setattr(ch6, "with_dropout", dense)
    whole = ch6.voting(**settings)
    epochs: list[int] = []

    def broken_off(line: Any) -> None:
        epochs.append(line.epoch)
        if len(epochs) == 4:  # the second net's last
            raise KeyboardInterrupt

    monkeypatch.setattr(ch6, "show", broken_off)
    with pytest.raises(KeyboardInterrupt):
        ch6.voting(**settings, checkpoint=tmp_path / "vote.ckpt")
    resumed = ch6.voting(**settings, checkpoint=tmp_path / "vote.ckpt")
    assert epochs == [1, 2, 1, 2, 2, 1, 2]
    assert resumed.numbers == whole.numbers
    assert not [*tmp_path.iterdir()]

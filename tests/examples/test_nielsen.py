"""What the files of examples/nielsen rest on: the same training by hand, and his monitors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from examples import mnist
from examples.by_hand import dense
from examples.nielsen import ch1, ch3_cost, network2
from tensorgrad import optim
from tensorgrad.train import EarlyStopping, Schedule, penalised

rng = np.random.default_rng(0)


def images(n: int) -> mnist.Images:
    """Ten classes that can be told apart, in place of MNIST."""
    y = rng.integers(0, 10, n)
    x = np.eye(10)[y] + 0.5 * rng.random((n, 10))
    return mnist.Images(np.repeat(x, 2, axis=1).astype(np.float32), y)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> mnist.Split:
    split = mnist.Split(images(300), images(100), images(100))
    monkeypatch.setattr(mnist, "split", lambda: split)
    return split


def test_an_epoch_of_the_first_network_reads_most_of_mnist(real_mnist: Any) -> None:
    assert ch1.thirty(epochs=1).numbers[0] > 0.87


SETTINGS = [
    {"sizes": (20, 8, 10), "lr": 3.0, "cost": "quadratic", "init": "normal"},
    {"sizes": (20, 8, 10), "lr": 0.5, "init": "normal", "l2": 0.01},
    {"sizes": (20, 8, 8, 8, 10), "lr": 0.5, "l2": 0.01, "batch": 7},
]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("settings", SETTINGS)
def test_his_networks_learn_as_those_by_hand_do(settings: dict[str, Any]) -> None:
    history = network2.train(3, 2, **settings, images=200, monitored=("test", "training"))
    _, lines = dense.train(3, 2, **settings, images=200, monitored=("test", "training"))
    for line, by_hand in zip(history, lines, strict=True):
        for name, (cost, accuracy) in by_hand.items():
            assert line.measures[f"{name}_loss"] == pytest.approx(cost, rel=1e-4)
            assert line.row().get(f"{name}_accuracy") == pytest.approx(accuracy, abs=0.011)


@pytest.mark.parametrize("settings", SETTINGS)
def test_their_weights_agree_to_rounding(settings: dict[str, Any], few: mnist.Split) -> None:
    init, cost, l2 = (settings.get(k, d) for k, d in (("init", "lecun"), ("cost", ""), ("l2", 0.0)))
    layers = dense.initial(settings["sizes"], init, np.random.default_rng(5))
    model = network2.network(settings["sizes"], init, np.random.default_rng(5))
    sgd = optim.SGD(model.parameters(), lr=settings["lr"])
    step = penalised(l2=l2)(model, network2.COSTS[cost or "cross_entropy"], sgd)
    x, y = few.training.x, few.training.one_hot
    for i in range(0, 100, 10):
        step(x[i : i + 10], y[i : i + 10])
        dense.descend(layers, x[i : i + 10], y[i : i + 10], settings["lr"], cost, l2)
    for linear, (w, b) in zip(model.layers[::2], layers, strict=True):
        np.testing.assert_allclose(linear.weight.data, w.T, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(linear.bias.data, b, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("few")
def test_a_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    settings = SETTINGS[1] | {"checkpoint": tmp_path / "training.ckpt"}
    network2.train(0, 2, **settings)
    history = network2.train(0, 4, **settings)
    whole = network2.train(0, 4, **SETTINGS[1])
    assert history.column("validation_loss") == whole.column("validation_loss")


def test_the_rate_is_halved_where_nothing_improves_and_the_history_stays_whole(
    few: mnist.Split,
) -> None:
    model = network2.network((20, 8, 10), "normal", np.random.default_rng(0))
    sgd = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    halving = optim.lr_scheduler.HalvingLR(sgd, mode="max", patience=3)
    history = tg.fit(
        model,
        (few.training.x, few.training.one_hot),
        network2.COSTS["cross_entropy"],
        sgd,
        epochs=500,
        validation=(few.validation.x, few.validation.one_hot),
        callbacks=[Schedule(halving, monitor="accuracy")],
        step=penalised(l1=1e-4, l2=1e-3),
    )
    rates = history.column("lr")
    assert history.stopped == "the schedule is finished"
    assert history.column("epoch") == [*range(1, len(history) + 1)]
    assert [*dict.fromkeys(rates)] == [0.5 / 2**k for k in range(7)]
    assert sgd.param_groups[0]["lr"] == 0.5 / 128
    best = 0.0
    waited = 0
    for line, rate in zip(history, [*rates[1:], 0.5 / 128], strict=True):
        waited = 0 if line.accuracy > best else waited + 1
        best = max(best, line.accuracy)
        assert (rate < line.measures["lr"]) == (waited == 3)
        waited %= 3


def test_early_stopping_gives_the_network_of_its_best_epoch(few: mnist.Split) -> None:
    model = network2.network((20, 8, 10), "normal", np.random.default_rng(0))
    history = tg.fit(
        model,
        (few.training.x, few.training.one_hot),
        network2.COSTS["cross_entropy"],
        optim.SGD(model.parameters(), lr=0.5),
        epochs=500,
        validation=(few.validation.x, few.validation.one_hot),
        callbacks=[EarlyStopping("accuracy", patience=4)],
    )
    scores = history.column("accuracy")
    assert len(history) == 1 + int(np.argmax(scores)) + 4
    right = tg.train.accuracy(model(few.validation.x), few.validation.one_hot)
    assert right == max(scores)


@pytest.mark.parametrize(
    ("experiment", "reported"),
    [
        (ch3_cost.quadratic_neuron, [0.0940, 0.2028]),
        (ch3_cost.cross_entropy_neuron, [0.4177, 0.7796]),
    ],
)
def test_one_neuron_ends_where_the_book_says(experiment: Any, reported: list[float]) -> None:
    assert [round(a, 4) for a in experiment().numbers] == reported

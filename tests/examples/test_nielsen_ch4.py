"""Nielsen, chapter 4: the score of his game, and towers over any number of inputs."""

from __future__ import annotations

import numpy as np
import pytest

from examples.nielsen import ch4
from tensorgrad.train import predict
from tensorgrad.viz import figures


def test_bumps_as_high_as_the_median_win_his_game_and_no_other_heights_do_better() -> None:
    network = figures.bumps(ch4.goal, 5, w=1e6)
    x = (np.arange(5000) + 0.5) / 5000
    best = ch4.deviation(network, x)
    assert best < 0.40
    heights = network[2].weight.data
    for i in range(5):
        for change in (-0.05, 0.05):
            moved = heights.copy()
            moved[0, 2 * i : 2 * i + 2] += change, -change
            network[2].weight.data = moved
            assert ch4.deviation(network, x) > best


def test_what_the_output_neuron_makes_of_the_goal_is_his_function() -> None:
    x = np.linspace(0, 1, 101)
    f = 0.2 + 0.4 * x**2 + 0.3 * x * np.sin(15 * x) + 0.05 * np.cos(50 * x)
    np.testing.assert_allclose(1 / (1 + np.exp(-ch4.goal(x))), f, rtol=1e-12)


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_a_tower_stands_on_its_box_alone(inputs: int) -> None:
    n, box = 4, tuple([1, 2, 0][:inputs])
    middle = (np.array(box) + 0.5) / n

    def only_there(x: np.ndarray) -> np.ndarray:
        return (np.abs(x - middle).max(axis=1) < 0.01).astype(float)

    network = ch4.towers(only_there, n, inputs)
    x = np.random.default_rng(0).uniform(size=(500, inputs))
    inside = (np.floor(x * n) == box).all(axis=1)
    edge = (np.abs(x * n - np.round(x * n)) < 0.1).any(axis=1)
    found = predict(network, np.concatenate([middle[None], x[~edge]]))[:, 0]
    np.testing.assert_allclose(found, [1, *inside[~edge]], atol=1e-6)

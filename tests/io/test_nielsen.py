"""JSON files of network2.py, the program of Nielsen's third chapter."""

import json

import numpy as np
import pytest

from tensorgrad import io, nn


def network2_load(path):
    """network2.py's `load`, and the `feedforward` of what it makes: x is a column."""
    with open(path) as f:
        data = json.load(f)
    assert [*data] == ["sizes", "weights", "biases", "cost"]
    weights = [np.array(w) for w in data["weights"]]
    biases = [np.array(b) for b in data["biases"]]
    assert [b.shape for b in biases] == [(n, 1) for n in data["sizes"][1:]]

    def feedforward(a):
        for b, w in zip(biases, weights, strict=True):
            a = 1 / (1 + np.exp(-(np.dot(w, a) + b)))
        return a

    return feedforward, data["cost"]


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    layers = [nn.Linear(a, b, init="lecun", rng=rng) for a, b in ((5, 4), (4, 3))]
    return nn.Sequential(layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid())


def test_network2_answers_as_the_model_that_was_saved(model, tmp_path):
    io.save_json(model, tmp_path / "n.json", "QuadraticCost")
    feedforward, cost = network2_load(tmp_path / "n.json")
    x = np.random.default_rng(1).random((7, 5))
    np.testing.assert_allclose(feedforward(x.T).T, model(x).data, rtol=1e-6)
    assert cost == "QuadraticCost"


def test_what_network2_wrote_comes_back_to_the_bit(model, tmp_path):
    rng = np.random.default_rng(2)
    network = {
        "sizes": [5, 4, 3],
        "weights": [rng.standard_normal((4, 5)).tolist(), rng.standard_normal((3, 4)).tolist()],
        "biases": [rng.standard_normal((4, 1)).tolist(), rng.standard_normal((3, 1)).tolist()],
        "cost": "CrossEntropyCost",
    }
    (tmp_path / "n.json").write_text(json.dumps(network))
    loaded = io.load_json(tmp_path / "n.json")
    io.save_json(loaded, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == network
    io.save(loaded, tmp_path / "n.safetensors")  # it is a model as any other
    x = np.ones((1, 5))
    assert np.array_equal(io.load(tmp_path / "n.safetensors")(x).data, loaded(x).data)


def test_a_layer_without_biases_has_zeros_there(tmp_path):
    io.save_json(nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sigmoid()), tmp_path / "n.json")
    assert np.array_equal(io.load_json(tmp_path / "n.json")[0].bias.data, np.zeros(3))


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [nn.Flatten()],
        [nn.Linear(2, 3, rng=0)],
        [nn.Linear(2, 3, rng=0), nn.ReLU()],
        [nn.Linear(2, 3, rng=0), nn.Sigmoid(), nn.Linear(3, 2, rng=0), nn.Softmax()],
    ],
)
def test_other_networks_are_refused(layers, tmp_path):
    with pytest.raises(
        ValueError, match=r"a sigmoid after each; here (layer \d is (?!None)|the last is missing)"
    ):
        io.save_json(nn.Sequential(*layers), tmp_path / "n.json")
    assert not (tmp_path / "n.json").exists()


def test_a_cost_that_network2_has_not_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="CrossEntropyCost and QuadraticCost"):
        io.save_json(model, tmp_path / "n.json", "Softmax")


GOOD = {"sizes": [2, 1], "weights": [[[1, 2]]], "biases": [[[0.5]]], "cost": "QuadraticCost"}


@pytest.mark.parametrize(
    "content",
    [
        "hello",
        "[" * 100_000,
        "[]",
        "3",
        "{}",
        *(
            json.dumps(GOOD | change)
            for change in (
                {"sizes": [2]},
                {"sizes": "21"},
                {"sizes": [2, 2]},
                {"sizes": [3, 1]},
                {"sizes": [2, 1, 1]},
                {"weights": [[[1], [2]]]},
                {"weights": [[["a", "b"]]]},
                {"weights": [[[1, [2]]]]},
                {"weights": []},
                {"weights": None},
                {"biases": [[0.5]]},
                {"biases": [[[]]]},
                {"sizes": [0, 1], "weights": [[[]]]},
            )
        ),
    ],
)
def test_files_that_are_no_networks_say_so(content, tmp_path):
    (tmp_path / "n.json").write_text(content)
    with pytest.raises(io.ModelFileError, match=r"n\.json: no network of network2\.py"):
        io.load_json(tmp_path / "n.json")
    (tmp_path / "n.json").write_text(json.dumps(GOOD))
    assert io.load_json(tmp_path / "n.json")(np.array([[1.0, 1.0]])).shape == (1, 1)


def test_a_network_of_more_layers_than_can_be_run_is_refused(tmp_path):
    deep = {"sizes": [1] * 6000, "weights": [[[1]]] * 5999, "biases": [[[1]]] * 5999}
    (tmp_path / "n.json").write_text(json.dumps(deep))
    with pytest.raises(io.ModelFileError, match="5,999 layers, at most 5,000"):
        io.load_json(tmp_path / "n.json")

"""micrograd's published usage runs with only the import lines changed.

Its README, its `test/test_engine.py` (with PyTorch's answers written in) and its `demo.ipynb` (with
two half circles drawn here in place of scikit-learn's `make_moons`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorgrad import Value
from tensorgrad.nn import MLP, Layer, Neuron
from tests.numerical import central_differences

Array = Any


def test_the_example_of_its_readme() -> None:
    a = Value(-4.0)
    b = Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    assert f"{g.data:.4f}" == "24.7041"
    g.backward()
    assert f"{a.grad:.4f}" == "138.8338"
    assert f"{b.grad:.4f}" == "645.5773"


def test_its_test_sanity_check() -> None:
    x = Value(-4.0)
    z = 2 * x + 2 + x
    q = z.relu() + z * x
    h = (z * z).relu()
    y = h + q + q * x
    y.backward()
    assert y.data == -20.0  # PyTorch's forward
    assert x.grad == 46.0  # and backward


def test_its_test_more_ops() -> None:
    def g(a: Array, b: Array) -> Array:
        relu = lambda x: np.maximum(x, 0) if isinstance(x, float) else x.relu()
        c = a + b
        d = a * b + b**3
        c = c + c + 1
        c = c + 1 + c + (-a)
        d = d + d * 2 + relu(b + a)
        d = d + 3 * d + relu(b - a)
        f = (c - d) ** 2
        return f / 2.0 + 10.0 / f

    a, b = Value(-4.0), Value(2.0)
    result = g(a, b)
    result.backward()
    assert abs(result.data - 24.70408163265306) < 1e-13
    for x, expected, error in (
        (a, *central_differences(lambda a: g(float(a), 2.0), -4.0)),
        (b, *central_differences(lambda b: g(-4.0, float(b)), 2.0)),
    ):
        assert abs(x.grad - expected) <= 10 * error


# The demo notebook.


def half_circles(n: int) -> tuple[Any, Any]:
    """`make_moons(n, noise=0.1)`: two interleaving half circles, labelled 0 and 1."""
    rng = np.random.default_rng(1337)
    angle = np.linspace(0, np.pi, n // 2)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    X = np.concatenate([upper, lower]) + rng.normal(scale=0.1, size=(n, 2))
    return X, np.repeat([0, 1], n // 2)


def loss_and_accuracy(model: MLP, X: Any, y: Any, vectorised: bool = False) -> tuple[Value, float]:
    """The notebook's `loss()`, line by line; or the same for all examples at once."""
    if vectorised:
        column = model(X)[:, 0]
        data_loss = (1 + -y * column).relu().mean()
        scores = list(column)
    else:
        inputs = [list(map(Value, xrow)) for xrow in X]
        scores = list(map(model, inputs))
        losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores)]
        data_loss = sum(losses) * (1.0 / len(losses))
    alpha = 1e-4
    reg_loss = alpha * sum(p * p for p in model.parameters())
    total_loss = data_loss + reg_loss
    accuracy = [(yi > 0) == (scorei.data > 0) for yi, scorei in zip(y, scores)]
    return total_loss, sum(accuracy) / len(accuracy)


def test_the_loop_of_its_demo_learns(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = half_circles(20)
    y = y * 2 - 1  # make y be -1 or 1
    model = MLP(2, [16, 16, 1], rng=1337)
    assert len(model.parameters()) == 337
    history = []
    for k in range(10):
        total_loss, acc = loss_and_accuracy(model, X, y)
        model.zero_grad()
        total_loss.backward()
        learning_rate = 1.0 - 0.9 * k / 100
        for p in model.parameters():
            p.data -= learning_rate * p.grad
        print(f"step {k} loss {total_loss.data}, accuracy {acc * 100}%")
        history.append((total_loss.data, acc))
    assert history[-1][0] < 0.7 * history[0][0]
    assert history[-1][1] >= 0.8
    assert len(capsys.readouterr().out.splitlines()) == 10


@pytest.mark.nightly
def test_its_demo_on_whole_batches_classifies_every_point_after_its_100_steps() -> None:
    X, y = half_circles(100)
    y = y * 2 - 1
    model = MLP(2, [16, 16, 1], rng=1337)
    for k in range(100):
        total_loss, _ = loss_and_accuracy(model, X, y, vectorised=True)
        model.zero_grad()
        total_loss.backward()
        for p in model.parameters():
            p.data -= (1.0 - 0.9 * k / 100) * p.grad
    assert loss_and_accuracy(model, X, y, vectorised=True)[1] == 1.0


def test_its_decision_boundary() -> None:
    model = MLP(2, [4, 1], rng=0)
    xx, yy = np.meshgrid(np.arange(-1, 1, 0.5), np.arange(-1, 1, 0.5))
    Xmesh = np.c_[xx.ravel(), yy.ravel()]
    inputs = [list(map(Value, xrow)) for xrow in Xmesh]
    scores = list(map(model, inputs))
    Z = np.array([s.data > 0 for s in scores]).reshape(xx.shape)
    np.testing.assert_array_equal((model(Xmesh).data > 0).reshape(xx.shape), Z)


def test_the_whole_batch_at_once_gives_the_same_numbers_and_gradients() -> None:
    X, y = half_circles(10)
    y = y * 2 - 1
    gradients = []
    for vectorised in (False, True):
        model = MLP(2, [16, 16, 1], rng=7)
        loss, accuracy = loss_and_accuracy(model, X, y, vectorised)
        loss.backward()
        gradients.append([loss.data, accuracy, *(p.grad for p in model.parameters())])
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-12, atol=1e-15)
    assert len(gradients[0]) == 2 + 337


def test_several_answers_are_a_list_and_for_a_batch_columns() -> None:
    model = MLP(3, [4, 2], activation="tanh", rng=0)
    X = np.random.default_rng(0).normal(size=(5, 3))
    one_by_one = [[answer.data for answer in model(row)] for row in X]
    batch = model(X)
    assert batch.shape == (5, 2)
    np.testing.assert_allclose(batch.data, one_by_one, rtol=1e-12)


def test_a_neuron_squashes_its_weighted_sum() -> None:
    x = [1.0, -2.0]
    for activation, by_hand in {
        "relu": lambda z: max(z, 0.0),
        "tanh": np.tanh,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        np.sin: np.sin,
    }.items():
        n = Neuron(2, activation=activation, rng=0)
        z = n.w[0].data * x[0] + n.w[1].data * x[1] + n.b.data
        np.testing.assert_allclose(n(x).data, by_hand(z), rtol=1e-12)
        np.testing.assert_allclose(Neuron(2, nonlin=False, rng=0)(x).data, z, rtol=1e-12)


def test_weights_are_uniform_between_minus_one_and_one_and_biases_zero() -> None:
    n = Neuron(1000, rng=0)
    w = np.array([v.data for v in n.w])
    assert n.b.data == 0
    assert abs(w.mean()) < 4 / np.sqrt(3 * 1000)  # four standard errors
    assert -1 <= w.min() < -0.98 < 0.98 < w.max() <= 1


def test_it_prints_as_in_micrograd() -> None:
    assert repr(Neuron(2)) == "ReLUNeuron(2)"
    assert repr(Neuron(2, nonlin=False)) == "LinearNeuron(2)"
    assert repr(Layer(3, 2)) == "Layer of [ReLUNeuron(3), ReLUNeuron(3)]"
    assert (
        str(MLP(2, [2, 1]))
        == "MLP of [Layer of [ReLUNeuron(2), ReLUNeuron(2)], Layer of [LinearNeuron(2)]]"
    )


def test_parameters_come_in_its_order_weights_then_bias() -> None:
    model = MLP(2, [2, 1])
    first, second = model.layers[0].neurons
    expected = [*first.w, first.b, *second.w, second.b]
    assert [id(p) for p in model.parameters()[:6]] == [id(p) for p in expected]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"ReLUNeuron\(2\) got 3 inputs"):
        MLP(2, [2, 1])([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="no activation 'gelu'; there are relu, sigmoid, tanh"):
        MLP(2, [2, 1], activation="gelu")

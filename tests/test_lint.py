"""The linter: each check finds its mistake, names the line, and leaves its near misses alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, data, nn, optim
from tensorgrad.engine.node import record, recorder
from tensorgrad.graph.lint import Finding, Findings, lint
from tensorgrad.graph.lint.units import dead
from tensorgrad.nn import functional as F

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = X @ [1.0, -2.0, 0.5]
LABELS = np.arange(120) % 4
DIGITS = data.digits()
ONE_HOT = np.eye(10, dtype=np.float32)


def network(*middle: Any, out: int = 4, last: Any = ()) -> nn.Sequential:
    """3 inputs, 16 hidden units, `out` answers."""
    layers = nn.Linear(3, 16, init="he", rng=1), *middle, nn.Linear(16, out, init="he", rng=2)
    return nn.Sequential(*layers, *last)


def only(found: Findings) -> Finding:
    """The one finding."""
    assert len(found) == 1, found
    return found[0]


def line_of(f: Callable[[], Any], finding: Finding) -> int:
    """Which line of a function's body a finding names."""
    assert finding.line is not None
    file, rest = finding.line.split(", line ")
    assert file == __file__
    return int(rest.split(":")[0]) - f.__code__.co_firstlineno


def kinds(found: Findings) -> list[str]:
    return [finding.kind for finding in found]


# What is clean.


@pytest.mark.parametrize("batch", [10, 100, 1438])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
def test_a_digit_network_is_clean(activation: Any, batch: int) -> None:
    x, y = DIGITS.x_train[:batch], DIGITS.y_train[:batch]
    model = nn.Sequential(nn.Linear(64, 30, rng=0), activation(), nn.Linear(30, 10, rng=1))
    assert not lint(lambda: F.cross_entropy(model(x), y), model)
    assert not lint(F.cross_entropy(model(x), y), model)


def test_a_trained_network_whose_answers_are_near_0_and_1_is_clean() -> None:
    x, y = DIGITS.x_train, ONE_HOT[DIGITS.y_train]
    rng = np.random.default_rng(0)
    sizes: Any = ((64, 30), (30, 10))
    layers = [part for s in sizes for part in (nn.Linear(*s, init="normal", rng=rng), nn.Sigmoid())]
    model = nn.Sequential(*layers)
    batches = data.DataLoader(x, y, batch_size=10, shuffle=True, rng=rng)
    optimizer = optim.SGD(model.parameters(), lr=3.0)
    assert not lint(lambda: F.quadratic(model(x), y), model)
    tg.fit(model, batches, F.quadratic, optimizer, epochs=15, progress=False)
    assert not lint(lambda: F.quadratic(model(x), y), model)
    flat = model(x).data
    assert np.mean(flat * (1 - flat) < 0.0025) > 0.5  # most answers are saturated, and right


def test_a_regression_is_clean() -> None:
    model = network(nn.Tanh(), out=1)
    assert not lint(lambda: F.mse_loss(model(X)[:, 0], Y), model)
    assert not lint(lambda: np.mean((model(X) - Y[:, None]) ** 2), model)


def test_scalar_networks_are_clean_with_a_hinge_that_is_satisfied() -> None:
    model = nn.MLP(3, [8, 1], rng=0)
    target = np.sign(model(X).data)  # every margin is kept

    def loss() -> Any:
        margin = np.mean((1e-9 - target * model(X)).relu())
        return margin + 1e-4 * np.sum(np.square(np.stack(model.parameters())))

    assert not lint(loss, model)
    assert not lint(loss(), model)


def test_attention_with_a_mask_of_infinities_is_clean() -> None:
    q, k, v = (nn.Linear(3, 3, rng=i, bias=False) for i in range(3))
    mask = np.where(np.tri(6) > 0, 0, -np.inf)
    weights = {"q": q.weight, "k": k.weight, "v": v.weight}

    def loss() -> Any:
        x = X[:6]
        return np.mean((F.softmax(q(x) @ k(x).T + mask) @ v(x)) ** 2)

    assert not lint(loss, weights)


def test_second_derivatives_and_vmap_in_a_loss_are_clean() -> None:
    w = Value(RNG.normal(size=8), name="w")

    def u(t: Any, w: Any) -> Any:
        return np.sum(np.tanh(t[:, None] * w), axis=1)

    def loss() -> Any:
        t = np.linspace(0, 6, 20)
        second = tg.elementwise_grad(tg.elementwise_grad(u))(t, w)
        return np.mean((second + u(t, w)) ** 2)

    assert not lint(loss, [w])
    t = np.float64(1.3)  # data, also where a transform differentiates by it
    assert not lint(lambda: tg.grad(lambda t: t**2 * w[0])(t) * t, [w])
    assert not lint(lambda: np.mean(tg.vmap(lambda x: np.tanh(w[:3] @ x))(X)), [w])


def test_empty_and_complex_and_half_precision_arrays_are_read() -> None:
    empty = Value(np.zeros((0, 3)), name="empty")
    assert not lint(
        lambda: np.sum(empty.relu().tanh() * empty) + np.linalg.norm(empty) + Value(1), []
    )
    z = Value(np.array([1 + 2j, 3]), name="z")
    assert not lint(lambda: np.sum(np.abs(np.tanh(z)) ** 2), [z])
    half = Value(np.ones((4, 3), np.float16), name="half")
    assert not lint(lambda: np.sum(half.relu().tanh()), [half])


# How it tells.


def test_a_report_says_what_where_and_how_to_mend_it() -> None:
    model = network(nn.Tanh(), last=[nn.Softmax()])

    def loss() -> Any:
        answers = model(X)
        return F.cross_entropy(answers, LABELS)

    found = lint(loss, model)
    report = str(found).splitlines()
    assert report[0] == "warning: activation twice"
    assert report[1] == "    cross_entropy applies softmax itself, and is given what softmax made"
    assert report[2].startswith(f"    in {__file__}, line ")
    assert report[2].endswith(": return F.cross_entropy(answers, LABELS)")
    assert report[3].startswith("    mend: give cross_entropy the weighted sums")
    assert len(report) == 4
    assert line_of(loss, found[0]) == 2


def test_a_loss_recorded_without_lines_is_placed_by_its_operations_and_told_how_to_get_lines() -> (
    None
):
    model = network(nn.Tanh(), out=1)
    found = lint(np.mean((model(X) - Y) ** 2), model)
    assert only(found).line is None
    assert only(found).path == "mean ← power ← subtract"
    assert (
        only(found).node == "subtract(linear(tanh(…), layers.2.weight, layers.2.bias), data (120,))"
    )
    assert "    in mean ← power ← subtract\n" in str(found)
    assert "pass a function" in str(found).splitlines()[-1]


def test_lines_recorded_by_debug_are_used() -> None:
    model = network(nn.Tanh(), out=1)
    with tg.debug():
        loss = np.mean((model(X) - Y) ** 2)
    found = lint(loss, model)
    assert (only(found).line or "").endswith(": loss = np.mean((model(X) - Y) ** 2)")
    assert "pass a function" not in str(found)


def test_nothing_found_is_said() -> None:
    assert str(lint(Value(2.0) * 3)) == "nothing found"
    assert lint(Value(2.0) * 3) == []


def test_the_worst_comes_first() -> None:
    x = Value([0.0, 1.0])
    found = lint(lambda: np.sum(np.abs(x)) + np.sum(np.log(x)), {"x": x, "idle": Value(1.0)})
    assert [f.severity for f in found] == ["error", "warning", "note"]
    found = lint(lambda: np.sum(np.where(x > 0, np.log(x), 0)), {"x": x, "idle": Value(1.0)})
    assert [f.severity for f in found] == ["warning", "note"]


def test_nothing_changes() -> None:
    model = network(nn.ReLU(), out=1)
    idle = Value(np.ones(3))
    idle.grad = np.ones(3)
    hidden: list[Value] = []

    def loss() -> Any:
        hidden.append(model[0](X))
        return np.mean((model[2](hidden[-1].relu().detach()) - Y) ** 2)

    params: Any = {**dict(model.named_parameters()), "idle": idle}
    arrays = [(p.data, p.data.copy(), p.grad) for p in params.values()]
    with tg.debug():
        value = loss()
    nodes = [value.node, hidden[0].node]
    marks = [(n.readings, n.retains_grad, n.grad) for n in nodes]
    with tg.no_grad():
        assert lint(loss, params)
        assert recorder.get() is None
    assert lint(value, params)
    assert recorder.get() is record
    assert marks == [(n.readings, n.retains_grad, n.grad) for n in nodes]
    for p, (array, copy, grad) in zip(params.values(), arrays):
        assert p.data is array
        assert p.grad is grad
        np.testing.assert_array_equal(array, copy)


def test_what_is_no_loss_or_no_parameter_is_refused_with_a_way_out() -> None:
    x = Value([1.0, 2.0])
    with pytest.raises(TypeError, match=r"takes the loss, a Value, or a function .* not 3\.0"):
        lint(3.0)
    with pytest.raises(TypeError, match="a float without a graph; return the loss"):
        lint(lambda: 3.0)
    with pytest.raises(ValueError, match=r"shape \(2,\); reduce it to one number"):
        lint(x * 2)
    with pytest.raises(ValueError, match=r"shape \(2,\); reduce it to one number"):
        lint(lambda: x * 2)
    with pytest.raises(TypeError, match="parameter 0 in params is no Value but 'x'"):
        lint(np.sum(x), ["x"])
    with pytest.raises(TypeError, match=r"params takes a Module, a mapping .* or Values, not 5"):
        lint(np.sum(x), 5)


def test_parameters_are_called_as_their_owner_calls_them() -> None:
    a, b, c = Value(1.0), Value(1.0, name="own"), Value(1.0)
    loss = Value(2.0) * 2
    assert only(lint(loss, {"key": a})).message.startswith("key: ")
    assert only(lint(loss, [a, b])).message.startswith("parameter 0, own: ")
    assert only(lint(loss, c)).message.startswith("parameter 0: ")
    layer = nn.Linear(1, 1)
    assert only(lint(loss, layer)).message.startswith("weight, bias: ")


def test_a_long_chain_of_operations_is_no_recursion() -> None:
    x = w = Value(0.5, name="w")
    for _ in range(5_000):
        x = x * 1.0
    assert only(lint(np.abs(x - 0.5), [w])).path == "absolute"
    assert not lint(x, [w])


# An activation that the loss applies again.


@pytest.mark.parametrize(
    ("loss", "twice"),
    [
        (lambda z: F.cross_entropy(F.softmax(z), LABELS), True),
        (lambda z: F.cross_entropy(F.softmax(z.T, dim=0).T, LABELS), True),
        (lambda z: F.cross_entropy(F.sigmoid(z), LABELS), True),
        (lambda z: F.cross_entropy(F.sigmoid(z).astype(np.float64).copy(), LABELS), True),
        (
            lambda z: F.cross_entropy(np.stack([z[:, i].sigmoid() for i in range(4)], 1), LABELS),
            True,
        ),
        (lambda z: F.cross_entropy(np.exp(z) / np.exp(z).sum(1, keepdims=True), LABELS), True),
        (lambda z: F.nll_loss(F.log_softmax(F.softmax(z)), LABELS), True),
        (lambda z: np.mean(F.binary_cross_entropy_with_logits(F.sigmoid(z), ONES)), True),
        (lambda z: F.cross_entropy(z, LABELS), False),
        (lambda z: F.cross_entropy(np.tanh(z) * 10, LABELS), False),
        (lambda z: F.cross_entropy(5 * F.softmax(z), LABELS), False),
        (lambda z: F.cross_entropy(np.exp(z), LABELS), False),
        (lambda z: F.cross_entropy(z - z.mean(axis=1, keepdims=True) + 0.25, LABELS), False),
        (lambda z: F.nll_loss(F.log_softmax(z), LABELS), False),
        (lambda z: F.nll_loss(F.log_softmax(F.softmax(z, dim=0), dim=1), LABELS), False),
        (lambda z: np.mean(F.binary_cross_entropy(F.sigmoid(z), ONES)), False),
        (lambda z: F.mse_loss(F.softmax(z), ONES), False),
    ],
)
def test_an_activation_before_a_loss_that_applies_it_itself(loss: Any, twice: bool) -> None:
    model = network(nn.Tanh())
    found = lint(lambda: loss(model(X)), model)
    assert kinds(found) == ["activation twice"] * twice
    assert all(f.severity == "warning" for f in found)


ONES = np.eye(4)[LABELS]


def test_what_moves_numbers_is_looked_behind_once_however_many_ways_lead_there() -> None:
    model = network(nn.Tanh(), last=[nn.Softmax()])

    def loss() -> Any:
        answers = model(X)
        for _ in range(300):  # 2 ** 300 ways
            answers = np.concatenate([answers[:, 1:], answers[:, :1]], axis=1)
        return F.cross_entropy(answers, LABELS)

    assert kinds(lint(loss, model)) == ["activation twice"]


def test_log_softmax_before_cross_entropy_changes_nothing_and_is_a_note() -> None:
    model = network(nn.Tanh())
    found = only(lint(lambda: F.cross_entropy(F.log_softmax(model(X)), LABELS), model))
    assert found.severity == "note"
    assert "changes nothing" in found.message


# (n, 1) against (n,).


@pytest.mark.parametrize(
    ("loss", "broadcast"),
    [
        (lambda a: np.mean((a - Y) ** 2), True),
        (lambda a: np.mean(np.square(Y - a)), True),
        (lambda a: np.sum(np.abs(a - Y) / 120), True),
        (lambda a: np.mean((a[:, 0] - Y[:, None]) ** 2), True),
        (lambda a: np.mean((1 - np.sign(Y) * a).relu()), True),
        (lambda a: np.mean((a - Y).ravel() ** 2), True),
        (lambda a: np.mean((a - np.tanh(a)[:, 0]) ** 2), True),
        (lambda a: np.mean((a - Y[:, None]) ** 2), False),
        (lambda a: np.mean((a[:, 0] - Y) ** 2), False),
        (lambda a: np.mean((a - Y[:100]) ** 2), False),  # no accident: n and m differ
        (lambda a: np.mean((a[:, 0][:, None] - Y) ** 2), False),  # made a column on purpose
        (lambda a: np.mean((a - Y - TABLE) ** 2), False),  # all pairs have targets
        (lambda a: np.mean(np.min((a - Y) ** 2, axis=1) @ np.ones(120)), False),  # Chamfer
        (lambda a: np.mean(np.exp(-((a - Y) ** 2)) @ Y), False),  # a kernel
    ],
)
def test_answers_in_a_column_against_targets_in_a_row(loss: Any, broadcast: bool) -> None:
    model = network(nn.Tanh(), out=1)
    found = lint(lambda: loss(model(X)), model)
    assert kinds(found) == ["broadcasting in a loss"] * broadcast
    assert all("(120, 120)" in f.message for f in found)


TABLE = RNG.normal(size=(120, 120))


def test_a_weight_for_each_of_n_features_is_no_accident() -> None:
    w = Value(np.ones(5), name="w")
    assert not lint(lambda: np.mean((w * np.ones((5, 1))) ** 2), [w])


# Dead ReLUs.


@pytest.mark.parametrize(
    "rectify", [F.relu, lambda z: np.maximum(z, 0), lambda z: np.maximum(0, z)]
)
@pytest.mark.parametrize("examples", [4, 10, 120])
def test_units_that_no_example_wakes_are_counted(rectify: Any, examples: int) -> None:
    model = network(rectify, out=1)
    x = X[:examples]

    def loss() -> Any:
        return np.mean(model(x) ** 2)

    assert not lint(loss, model)
    model[0].bias.data[:3] = -100
    message = only(lint(loss, model)).message
    assert message.startswith("3 of 16 units of ")
    assert f"0 for every one of {examples} examples" in message
    assert "layers.0.weight" in message


def test_units_silenced_by_chance_are_not_dead() -> None:
    z = np.random.default_rng(0).normal(size=(10, 2000)) - 1
    assert (z <= 0).all(axis=0).sum() > 200
    assert not dead(z).any()


def test_a_tenth_of_the_units_silent_for_a_hundred_examples_is_told_however_near_they_are() -> None:
    z = np.random.default_rng(0).uniform(-1, 1, size=(100, 20))
    z[:, :2] -= 1
    assert dead(z).tolist() == [True] * 2 + [False] * 18
    assert not dead(z[:50]).any()
    assert not dead(z[:, 1:]).any()


def test_units_are_rows_where_examples_are_columns() -> None:
    W1, b1 = Value(RNG.normal(size=(8, 3)), name="W1"), Value(np.zeros((8, 1)), name="b1")
    W2 = Value(RNG.normal(size=(1, 8)), name="W2")
    b1.data[5] = -100

    def loss() -> Any:
        return np.mean((W2 @ np.maximum(W1 @ X[:20].T + b1, 0)) ** 2)

    assert only(lint(loss, [W1, b1, W2])).message.startswith("1 of 8 units of maximum(add(")


def test_neurons_of_their_own_are_counted_together() -> None:
    model = nn.MLP(3, [16, 1], rng=0)
    for neuron in model.layers[0].neurons[:2]:
        neuron.b.data = -100.0
    found = only(lint(lambda: np.mean(model(X) ** 2), model))
    assert found.message.startswith("2 of 16 units of relu(")
    assert len(lint(lambda: np.mean(model(Value(X)) ** 2), model)) == 1
    assert not lint(lambda: model(X[0]) ** 2, model)  # of one example nothing is known


def test_channels_of_images_are_units() -> None:
    w = Value(np.ones((1, 2, 1, 1)), name="w")
    v = Value(np.ones(2), name="v")
    images = RNG.uniform(size=(5, 1, 4, 4))
    shift = np.array([0.0, -50.0]).reshape(1, 2, 1, 1)

    def loss() -> Any:
        return np.sum(np.mean(F.relu(images * w + shift), axis=(0, 2, 3)) * v)

    assert only(lint(loss, [w, v])).message.startswith("1 of 2 units of relu(")


def test_one_example_does_not_tell_that_units_are_dead() -> None:
    model = network(nn.ReLU(), out=1)
    model[0].bias.data[:] = -100
    assert not lint(lambda: np.sum(model(X[0]) ** 2), model)
    assert not lint(lambda: np.sum(model(X[:1]) ** 2), model)


def test_few_examples_tell_that_only_if_they_are_far_off() -> None:
    assert dead(np.array([[-10.0, -100.0], [-8.0, -99.0]])).tolist() == [False, True]


# Saturation.


@pytest.mark.parametrize(("squash", "name"), [(nn.Sigmoid, "sigmoid"), (nn.Tanh, "tanh")])
def test_hidden_units_far_out_are_saturated(squash: Any, name: str) -> None:
    model = network(squash(), out=1)

    def loss() -> Any:
        return F.mse_loss(model(X)[:, 0], Y)

    assert not lint(loss, model)
    model[0].weight.data *= 100
    found = only(lint(loss, model))
    assert found.kind == f"saturated {name}"
    z = model[0](X).data
    far = 1 - np.tanh(z / (2 if name == "sigmoid" else 1)) ** 2 < 0.01
    assert f"at {far.sum()} of {far.size} entries" in found.message


def test_nielsens_neuron_is_saturated_where_it_is_wrong_and_not_where_it_is_right() -> None:
    w, b = Value(5.0, name="w"), Value(5.0, name="b")
    for target, kind in ((0.0, ["saturated sigmoid"]), (1.0, [])):
        assert kinds(lint(lambda y=target: ((w + b).sigmoid() - y) ** 2 / 2, [w, b])) == kind
    w, b = Value(0.6), Value(0.9)
    assert not lint(lambda: (w + b).sigmoid() ** 2 / 2, [w, b])


def test_answers_that_are_all_0_are_saturated_for_every_example() -> None:
    x, y = DIGITS.x_train[:100], ONE_HOT[DIGITS.y_train[:100]]
    model = nn.Sequential(nn.Linear(64, 10, rng=0), nn.Sigmoid())
    model[0].bias.data[:] = -20
    found = only(lint(lambda: F.quadratic(model(x), y), model))
    assert "at 1000 of 1000 entries" in found.message
    assert "; 100% of what asks" in found.message
    assert not lint(lambda: F.quadratic(model(x), 0 * y), model)


def test_a_tanh_of_data_is_no_neuron() -> None:
    w, t = Value(1.0, name="w"), Value(np.linspace(4, 9, 5))
    loss = np.sum((w + 4 - np.tanh(-t)) ** 2)
    assert not lint(loss, [w])
    assert kinds(lint(loss, [w, t])) == ["saturated tanh"]


def test_a_relu_of_data_is_no_neuron() -> None:
    w, t = Value(1.0, name="w"), Value(np.linspace(-9, -4, 120))
    assert not lint(np.sum(w * t.relu() + w), [w])


# Parameters without a gradient, and detached branches.


def test_a_parameter_that_is_not_used() -> None:
    model = network(nn.Tanh(), out=1)
    model.spare = nn.Linear(2, 2)
    found = only(lint(lambda: np.mean(model(X) ** 2), model))
    assert found.kind == "no gradient"
    assert found.message == (
        "spare.weight, spare.bias: no part in the loss: other numbers there leave it as it is"
    )
    for p in model.spare.parameters():
        p.requires_grad = False
    assert not lint(lambda: np.mean(model(X) ** 2), model)


def under_no_grad(model: Any) -> Any:
    with tg.no_grad():
        hidden = model[0](X)
    return np.mean(model[2](np.tanh(hidden)) ** 2)


def as_numbers(model: Any) -> Any:
    weight, bias = model[0].parameters()
    return np.mean(model[2](np.tanh(X @ weight.data.T.astype(float) + bias.data)) ** 2)


@pytest.mark.parametrize("loss", [under_no_grad, as_numbers])
def test_a_parameter_that_moves_the_loss_without_a_graph_is_detached(loss: Any) -> None:
    model = network(nn.Tanh(), out=1)
    found = only(lint(lambda: loss(model), model))
    assert found.kind == "detached"
    assert found.message.startswith(
        "layers.0.weight, layers.0.bias: other numbers there change the loss, but no gradient"
    )
    # of the graph alone that much is known
    found = only(lint(loss(model), model))
    assert found.kind == "no gradient"
    assert found.message.endswith("nothing in the graph leads from there to the loss")


def test_where_a_branch_was_cut_off_is_named() -> None:
    model = network(nn.Tanh(), out=1)

    def loss() -> Any:
        hidden = model[1](model[0](X))
        return np.mean(model[2](hidden.detach()) ** 2)

    found = only(lint(loss, model))
    assert found.kind == "detached"
    assert found.message.startswith("layers.0.weight, layers.0.bias: no gradient, as linear(")
    assert line_of(loss, found) == 2


def test_a_branch_cut_off_that_has_a_gradient_by_another_way_is_a_note() -> None:
    w = Value(X[0], name="w")

    def loss() -> Any:
        y = w * 3
        return np.sum(y + (np.rint(y.data) - y.data))  # straight through

    def scaled() -> Any:
        y = np.exp(w)
        return np.sum(y * y.detach())

    assert not [f for f in lint(loss, [w]) if f.severity != "note"]
    found = only(lint(scaled, [w]))
    assert (found.kind, found.severity) == ("detached", "note")
    assert found.message.startswith("multiply takes exp(w) as plain data")
    assert line_of(scaled, found) == 2
    assert kinds(lint(lambda: np.sum(w * w.data[::-1]), [w])) == ["detached"]  # a view
    both = [w, Value(X[1], requires_grad=False, name="frozen")]
    assert not lint(lambda: np.sum(w * both[1]), both)

    rows = Value(X[:4], name="rows")

    def result_that_is_a_view() -> Any:
        y = np.logaddexp.reduce(rows, axis=1)
        return np.sum(y * y.detach())

    assert kinds(lint(result_that_is_a_view, [rows])) == ["detached"]
    assert not lint(lambda: np.sum(np.exp(w) * X[1]), [w])


@pytest.mark.parametrize(("moving", "calls"), [([], 3), ([20], 3 + 2 * 6), ([7, 40], 3 + 4 * 6)])
def test_the_loss_is_called_a_few_times_however_many_parameters_have_no_gradient(
    moving: list[int], calls: int
) -> None:
    w, idle = Value(1.0, name="w"), [Value(2.0, name=f"p{i}") for i in range(50)]
    called = 0

    def loss() -> Any:
        nonlocal called
        called += 1
        return sum((float(idle[i].data) for i in moving), w * 1)

    unused, *detached = lint(loss, [w, *idle])
    names = ", ".join(f"p{i}" for i in moving)
    assert [f.message.split(":")[0] for f in detached] == [names] * bool(moving)
    assert unused.message.startswith("p0, p1, p2 and ")
    assert called <= calls


def test_what_moves_the_loss_by_the_same_amount_each_way_is_found_too() -> None:
    w, a, b = (Value(3.0, name=name) for name in "wab")
    found = only(lint(lambda: w * (1 + a.item() - b.item()), [w, a, b]))
    assert found.message.startswith("a, b: other numbers there change the loss")


def test_a_random_loss_says_nothing_about_what_moves_it() -> None:
    rng, w, idle = np.random.default_rng(0), Value(1.0, name="w"), Value(1.0, name="idle")
    found = only(lint(lambda: w * rng.normal(), [w, idle]))
    assert found.message == "idle: nothing in the graph leads from there to the loss"


def test_a_parameter_that_is_a_result_gets_no_grad() -> None:
    leaf = Value(X[0])
    w = leaf * 0.01
    found = only(lint(lambda: np.sum(w**2), {"w": w}))
    assert found.message.startswith("w is the result of multiply")
    w.retain_grad()
    assert not lint(lambda: np.sum(w**2), {"w": w})


def test_a_loss_without_a_graph() -> None:
    model = network(nn.Tanh(), out=1)
    found = only(lint(lambda: np.mean(model(X).detach() ** 2), model))
    assert (found.kind, found.severity) == ("no graph", "error")


def test_steps_that_pass_no_gradient_are_named() -> None:
    model = network(np.rint, out=1)

    def loss() -> Any:
        hidden = np.rint(model[0](X))
        return np.mean(model[2](hidden) ** 2)

    found = only(lint(loss, model))
    assert found.message == (
        "layers.0.weight, layers.0.bias: a gradient of 0, as the slope of rint is 0 everywhere"
    )
    assert line_of(loss, found) == 1


def test_a_gradient_of_0_for_all_is_told_unless_the_loss_is_0() -> None:
    w = Value([3.0, 4.0], name="w")
    assert only(lint(lambda: np.sum(np.clip(w, 0, 1)), [w])).message.startswith(
        "w: a gradient of 0, every one of them"
    )
    assert not lint(lambda: np.sum((1 - w).relu()), [w])  # a hinge that is satisfied


def test_a_first_layer_without_a_gradient_before_zeros_that_learn_is_well() -> None:
    model = network(nn.Tanh(), out=1)
    model[2].weight.data[:] = 0
    assert not lint(lambda: F.mse_loss(model(X)[:, 0], Y), model)


# A graph that grows.


class Recurrent:
    """A cell that carries its state, as a Value or as data."""

    def __init__(self, cut: bool) -> None:
        self.cell, self.cut = nn.Linear(7, 4, rng=0), cut
        self.state: Any = np.zeros((1, 4), np.float32)

    def loss(self) -> Any:
        x = np.concatenate([X[:1], self.state], axis=1).astype(np.float32)
        state = np.tanh(self.cell(x))
        self.state = state.detach() if self.cut else state
        return np.mean(state**2)


def test_a_state_carried_as_a_value_makes_the_graph_grow() -> None:
    model = Recurrent(cut=False)
    found = only(lint(model.loss, model.cell))
    assert found.kind == "growing graph"
    assert "of the step before: " in found.message
    assert (found.line or "").split(": ")[-1].startswith("x = np.concatenate(")
    model = Recurrent(cut=True)
    assert not lint(model.loss, model.cell)


def test_a_running_total_of_losses_makes_the_graph_grow() -> None:
    model = network(nn.Tanh(), out=1)
    totals: list[Any] = [0.0]

    def add(loss: Any) -> Any:
        totals[0] = totals[0] + loss
        return totals[0]

    assert kinds(lint(lambda: add(F.mse_loss(model(X)[:, 0], Y)), model)) == ["growing graph"]


def test_what_was_computed_once_before_all_steps_does_not_grow() -> None:
    w = Value(2.0, name="w")
    once = w * w
    assert not lint(lambda: once * w, [w])


def test_a_graph_that_holds_one_step_before_and_no_more_does_not_grow() -> None:
    w, before = Value(2.0, name="w"), [0.0]

    def loss() -> Any:
        now, last = np.tanh(w), before[0]
        before[0] = now
        return (now - last) ** 2

    assert not lint(loss, [w])


def test_a_longer_graph_at_each_step_is_not_one_that_holds_the_steps_before() -> None:
    w, steps = Value(0.5, name="w"), [1]
    once = w * w

    def loss() -> Any:
        x = once
        for _ in range(steps[0]):
            x = x * w
        steps[0] += 1
        return x

    assert not lint(loss, [w])


def test_a_graph_that_reaches_back_over_an_update_is_known_from_the_value_too() -> None:
    layer = nn.Linear(3, 1, rng=0)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    total: Any = 0.0
    for step in range(2):
        loss = np.mean(layer(X) ** 2)
        total = total + loss
        found = lint(total, layer)
        assert kinds(found) == ["growing graph"] * (step == 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert found[0].message.startswith("weight, bias: in the graph with the data from before")


# NaN hazards.


def hazards(f: Any, at: Any, dtype: Any = np.float64) -> Findings:
    x = Value(np.asarray(at, dtype), name="x")
    return Findings(
        found for found in lint(lambda: np.sum(f(x)), [x]) if found.kind == "NaN hazard"
    )


@pytest.mark.parametrize(
    ("f", "at", "severity", "message"),
    [
        (np.log, [1, 0], "error", "log made -inf at entry (1,), from 0.0"),
        (np.sqrt, [1, -1], "error", "sqrt made nan at entry (1,), from -1.0"),
        (np.sqrt, [1, 0], "error", "the gradient rule of sqrt makes inf at entry (1,), where"),
        (lambda x: 1 / x, [1, 0], "error", "divide made inf at entry (1,), from 0.0"),
        (lambda x: 1 / x, 0.0, "error", "divide made inf at entry ()"),
        (lambda x: x**-0.5, [1, 0], "error", "power made inf at entry (1,), from 0.0"),
        (
            lambda x: 1 / (1 + np.exp(-x)),
            [1, -800],
            "note",  # 1 / (1 + inf) is 0, and asks nothing of exp: as in truth, the slope is 0
            "exp made inf at entry (1,), from 800.0; a later slope is 0 there",
        ),
        (np.exp, [1, 400], "warning", "exp has slopes up to 5e+173 here; float64 soon"),
        (np.log, [1, 1e-200], "warning", "log has slopes up to 1e+200 here"),
        (np.log1p, [1, 1e-200], "", ""),
        (lambda x: 2 / x, [1, 1e-90], "warning", "divide has slopes up to 2e+180"),
        (lambda x: np.log(F.softmax(x)), [0, -400.0], "warning", "log has slopes up to 5e+173"),
        (
            lambda x: x * np.array([1, np.nan]),
            [1, 1],
            "error",
            "multiply was given nan in operand 1",
        ),
        (np.exp, [1, np.nan], "error", "x holds nan at entry (1,)"),
        (
            lambda x: np.where(x > 0, np.log(x), 0),
            [1, 0],
            "note",
            "log made -inf at entry (1,), from",
        ),
        (
            lambda x: np.log(x)[x > 0],
            [1, 0],
            "note",
            "log made -inf at entry (1,), from 0.0; masked",
        ),
        (
            lambda x: np.exp(np.log(x)),
            [1, 0],
            "note",
            "log made -inf at entry (1,), from 0.0; a later slope is 0 there",
        ),
        (
            lambda x: np.sqrt(x) ** 2,
            [1, 0],
            "note",
            "sqrt has an infinite slope at entry (1,); a later slope is 0 there",
        ),
        (lambda x: np.where(x > 0, np.sqrt(x), 0), [1, 0], "", ""),
        (lambda x: np.log(np.where(x > 0, x, 1)), [1, 0], "", ""),
        (lambda x: np.log(x + 1e-12), [1, 0], "", ""),
        (lambda x: x / (np.std(x) + 1e-8), [1, 1], "", ""),
        (F.log_softmax, [0, -4000], "", ""),
        (F.sigmoid, [1, -800], "", ""),
        (np.exp, [1, 30], "", ""),
        (lambda x: 2 / x, [1, 1e-20], "", ""),
    ],
)
def test_where_a_nan_or_an_infinity_comes_from(
    f: Any, at: Any, severity: str, message: str
) -> None:
    found = hazards(f, at)
    if not severity:
        assert not found
        return
    assert only(found).severity == severity
    assert only(found).message.startswith(message)


def test_single_precision_overflows_earlier() -> None:
    assert only(hazards(np.exp, [60], np.float32)).severity == "warning"
    assert not hazards(np.exp, [60], np.float64)


def test_debug_does_not_stop_the_linter() -> None:
    x = Value([1.0, 0.0], name="x")
    with tg.debug():
        loss = np.sum(np.sqrt(x))
        assert only(lint(loss, [x])).message.startswith("the gradient rule of sqrt makes inf")
        assert only(lint(lambda: np.sum(np.log(x)), [x])).message.startswith("log made -inf")


def test_numpys_warnings_are_not_repeated_and_the_line_is_named() -> None:
    x = Value([1.0, 0.0], name="x")

    def loss() -> Any:
        y = np.log(x)
        return np.sum(y)

    assert line_of(loss, lint(loss, [x])[0]) == 1


# Choices.

ALONG = 100  # a choice about a row, of which no entries are counted


@pytest.mark.parametrize(
    ("f", "at", "count"),
    [
        (np.abs, [0.0, 1, 0], 2),
        (np.abs, [1e-300, 1, 2], 0),
        (F.relu, [0.0, 1, 2], 1),
        (F.relu, [-1.0, 1, 2], 0),
        (lambda x: np.where(x > 0, np.abs(x), 0), [0.0, 1, 2], 0),  # nobody asks there
        (np.max, [1.0, 3, 3], ALONG),
        (np.max, [1.0, 1, 3], 0),  # what ties is not the largest
        (lambda x: np.maximum(x, 1.0), [1.0, 2, 3], 1),
        (lambda x: np.clip(x, 0, 1), [0.0, 1, 3], 2),
        (np.floor, [2.0, 1.5, 3], 2),
        (lambda x: np.sort(x) * [1, 2, 3], [1.0, 1, 3], ALONG),
        (lambda x: np.sort(x) * [2, 2, 3], [1.0, 1, 3], 0),  # either order is as good
        (np.linalg.norm, [0.0, 0, 0], ALONG),
        (np.linalg.norm, [0.0, 0, 1], 0),
        (np.std, [2.0, 2, 2], ALONG),
        (np.std, [1.0, 2, 3], 0),
        (lambda x: np.hypot(x, 0), [0.0, 2, 3], 1),
        (lambda x: x**2, [0.0, 2, 3], 0),
        (lambda x: np.where(x > 1.2, np.floor(x), 0), [1.0, 1.5, 2.5], 0),
        (lambda x: (m := x.max()) + np.log(np.sum(np.exp(x - m))), np.zeros(49), 0),  # m cancels
    ],
)
def test_a_stated_choice_is_named_where_it_decides_something(f: Any, at: Any, count: int) -> None:
    x = Value(at, name="x")
    loss = np.sum(f(x))
    found = [f for f in lint(loss, [x]) if f.kind == "policy choice"]
    assert [f.severity for f in found] == ["note"] * bool(count)
    if count:
        entries = f"at {count} of 3 entries; " if count < ALONG else "a tie; "
        assert found[0].message.endswith(f"{entries}the choice there: {loss_choice(loss)}")


def loss_choice(loss: Any) -> str:
    """The choice that an operation of the graph states."""
    found = [loss]
    for value in found:
        if isinstance(value, Value) and value.op is not None:
            if value.op.choice:
                return value.op.choice
            found += value.operands
    raise AssertionError

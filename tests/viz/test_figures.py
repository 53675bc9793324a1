"""The figures of training and of what was learned: what they draw are the engine's numbers."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import data, nn, optim
from tensorgrad.data import TrainTest
from tensorgrad.nn import functional as F
from tensorgrad.nn.functional import sigmoid_cross_entropy
from tensorgrad.train import Epoch, predict
from tensorgrad.viz import figures
from tensorgrad.viz.figures.stepwise import nielsens
from tensorgrad.viz.figures.surface import costs

pytest.importorskip("matplotlib")
close = np.testing.assert_allclose

DIGITS = data.digits()
ONE_HOT = np.eye(10)[DIGITS.y_train]


def network(*sizes: int, seed: int = 0, end: bool = True) -> nn.Sequential:
    """Sigmoid layers in float64; with `end`, the last one too."""
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after, init="lecun", dtype=float, rng=rng), nn.Sigmoid()]
    return nn.Sequential(*(layers if end else layers[:-1]))


def sigma(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def curves(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line.get_ydata() for line in axes.lines}


def pictures(figure: Any) -> list[Any]:
    """The images of a figure, without its colour bar."""
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


# Training.


def test_a_monitor_measures_cost_and_accuracy_on_its_own_data_after_each_epoch() -> None:
    model = network(64, 10)
    x, y = DIGITS.x_train[:50].astype(float), ONE_HOT[:50]
    monitor = figures.Monitor(model, F.quadratic, x, y)
    by_hand = []

    def watch(line: Epoch) -> None:
        monitor(line)
        a = sigma(x @ model[0].weight.data.T + model[0].bias.data)
        by_hand.append((((a - y) ** 2).sum() / 100, np.mean(a.argmax(1) == y.argmax(1))))

    batches = data.DataLoader(x, y, batch_size=10)
    sgd = optim.SGD(model.parameters(), lr=1.0)
    history = tg.fit(model, batches, F.quadratic, sgd, epochs=3, on_epoch=watch)
    close([(line.loss, line.accuracy) for line in monitor.history], by_hand)
    assert [line.epoch for line in monitor.history] == [line.epoch for line in history] == [1, 2, 3]
    assert model.training


def test_learning_curves_draw_the_history() -> None:
    history = [Epoch(1, 0.9, 1.0, 0.7, 0.1), Epoch(2, 0.4, 0.8, 0.8, 0.2)]
    cost, accuracy = figures.learning_curves(history).axes
    assert {k: list(v) for k, v in curves(cost).items()} == {
        "training": [0.9, 0.4], "evaluation": [1.0, 0.8]
    }  # fmt: skip
    assert {k: list(v) for k, v in curves(accuracy).items()} == {"evaluation": [0.7, 0.8]}
    assert accuracy.yaxis.get_major_formatter()(0.75) == "75 %"


def test_learning_curves_take_costs_and_scores_on_training_data_from_a_monitor() -> None:
    history = [Epoch(1, 0.9, 1.0, 0.7, 0.1)]
    cost, accuracy = figures.learning_curves(history, [Epoch(1, 0.5, None, 0.6, 0.1)]).axes
    assert list(curves(cost)["training"]) == [0.5]
    assert list(curves(accuracy)["training"]) == [0.6]


def test_learning_curves_find_the_training_data_among_the_validation_sets() -> None:
    measured = {"training_loss": 0.5, "training_accuracy": 0.6}
    history = [Epoch(1, 0.9, 1.0, 0.7, 0.1, measured)]
    cost, accuracy = figures.learning_curves(history).axes
    assert list(curves(cost)["training"]) == [0.5]
    assert list(curves(accuracy)["training"]) == [0.6]


def test_without_validation_data_there_is_one_curve() -> None:
    (cost,) = figures.learning_curves([Epoch(1, 0.9, None, None, 0.1)]).axes
    assert list(curves(cost)) == ["training"]


def test_gradient_norms_are_those_that_backward_leaves() -> None:
    model = network(64, 5, 10)
    x, y = DIGITS.x_train[:20].astype(float), ONE_HOT[:20]
    model[0].bias.grad = 7.0
    norms = figures.GradientNorms(model, sigmoid_cross_entropy, x, y)
    assert set(model[0].bias.grad) == {7.0}
    model.zero_grad()
    sigmoid_cross_entropy(model(x), y).backward()
    for name, p in model.named_parameters():
        close(norms.norms[name], [np.linalg.norm(p.grad)], rtol=1e-9)
    w, b = (np.linalg.norm(p.grad) for p in model[2].parameters())
    close(norms.by_layer("weights")["layers.2"], [w])
    close(norms.by_layer("all")["layers.2"], [np.hypot(w, b)])


def test_bp3_the_norm_by_the_biases_is_that_of_nielsens_error() -> None:
    model = network(3, 2)
    x, y = np.random.default_rng(1).normal(size=(4, 3)), np.full((4, 2), 0.25)
    z = x @ model[0].weight.data.T + model[0].bias.data
    error = (sigma(z) - y) * sigma(z) * (1 - sigma(z))
    norms = figures.GradientNorms(model, F.quadratic, x, y)
    close(norms.by_layer()["layers.0"], [np.linalg.norm(error.mean(axis=0))], rtol=1e-9)


def test_scalar_neurons_make_one_layer() -> None:
    norms = figures.GradientNorms(
        nn.MLP(2, [3, 1], rng=0), F.mse_loss, np.ones((4, 2)), np.ones((4, 1))
    )
    assert list(norms.by_layer("all")) == ["layers.0", "layers.1"]
    close(
        norms.by_layer("weights")["layers.1"][0] ** 2,
        sum(norms.norms[f"layers.1.neurons.0.w.{i}"][0] ** 2 for i in range(3)),
    )


def test_gradient_norms_are_drawn_from_before_training_on() -> None:
    model = network(64, 5, 10)
    x, y = DIGITS.x_train[:20].astype(float), ONE_HOT[:20]
    norms = figures.GradientNorms(model, sigmoid_cross_entropy, x, y)
    sgd = optim.SGD(model.parameters(), lr=0.1)
    tg.fit(model, [(x, y)], sigmoid_cross_entropy, sgd, epochs=2, on_epoch=norms)
    (axes,) = figures.gradient_norms(norms).axes
    assert [list(line.get_xdata()) for line in axes.lines] == [[0, 1, 2]] * 2
    for line, layer in zip(axes.lines, norms.by_layer().values(), strict=True):
        close(line.get_ydata(), layer)
    assert axes.get_yscale() == "log"
    assert figures.GradientNorms(model, sigmoid_cross_entropy, x, y, epoch=2).epochs == [2]


def test_the_gradient_vanishes_in_nielsens_deep_network(real_mnist: TrainTest) -> None:
    x, y = real_mnist.x_train[:1000].astype(float), np.eye(10)[real_mnist.y_train[:1000]]
    runs = []
    for seed in range(5):
        model = network(784, 30, 30, 30, 30, 10, seed=seed, end=False)
        layers = figures.GradientNorms(model, sigmoid_cross_entropy, x, y).by_layer().values()
        runs.append([norms[0] for norms in layers][:4])
    assert (np.diff(runs) > 0).all()
    ratio = np.exp(np.log(runs).mean(axis=0)) / [0.0030, 0.0171, 0.0695, 0.2851]  # ch. 5
    assert (ratio > 1 / 1.7).all()
    assert (ratio < 1.7).all()


# Samples.


def test_pictures_stand_row_after_row_on_one_sheet_dark_where_large() -> None:
    x = np.arange(18.0).reshape(3, 6)
    figure = figures.pictures(x, shape=(2, 3), columns=2, rows=["a", "$b"], title="three")
    (sheet,) = pictures(figure)
    assert sheet.shape == (2 * 4, 2 * 5)  # a margin of one around each
    close([sheet[1:3, 1:4], sheet[1:3, 6:9], sheet[5:7, 1:4]], x.reshape(3, 2, 3))
    assert (sheet[:, [0, 4, 5, 9]] == 0).all()
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", r"\$b"]
    image = axes.images[0]
    assert image.cmap(image.norm(17.0))[:3] == (0, 0, 0)
    assert np.isfinite(pictures(figures.pictures(np.ones((1, 4))))).all()


def test_names_of_rows_are_not_cut_off() -> None:
    figure = figures.pictures(np.eye(120, 784), rows=["PCA with 30"] * 12)
    figure.draw_without_rendering()
    assert all(x.get_window_extent().x0 >= 0 for x in figure.axes[0].get_yticklabels())


# Weights.


def test_a_first_layer_neuron_is_the_picture_of_its_weights_blue_where_positive() -> None:
    weight = np.arange(12.0).reshape(2, 6) - 4
    model = nn.Sequential(nn.Linear(6, 2, dtype=float), nn.Sigmoid())
    model[0].weight.data = weight
    for given in (model, weight, model[0].weight):
        figure = figures.first_layer(given, shape=(2, 3))
        close(pictures(figure), weight.reshape(2, 2, 3))
    image = figure.axes[0].images[0]
    assert image.get_clim() == (-7, 7)
    (red, _, blue, _), (red_2, green_2, blue_2, _) = image.cmap(image.norm([4.0, -4.0]))
    assert blue > red
    assert red_2 > max(green_2, blue_2)


def test_of_many_neurons_those_asked_for_are_drawn() -> None:
    weight = np.arange(400.0).reshape(100, 4)
    assert len(pictures(figures.first_layer(weight))) == 60
    figure = figures.first_layer(weight, neurons=[99, 3])
    close(pictures(figure), weight[[99, 3]].reshape(2, 2, 2))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["99", "3"]


def test_filters_have_one_row_for_each_and_a_column_for_each_channel() -> None:
    kernels = np.random.default_rng(0).normal(size=(3, 2, 5, 5))

    class Convolution(nn.Module):
        def __init__(self) -> None:
            self.weight, self.bias = tg.Value(kernels), tg.Value(np.zeros(3))

    for given in (kernels, tg.Value(kernels), Convolution()):
        figure = figures.filters(given)
        close(pictures(figure), kernels.reshape(6, 5, 5))
    rows = [axes.get_subplotspec().rowspan.start for axes in figure.axes[:6]]
    assert rows == [0, 0, 1, 1, 2, 2]


def test_a_linear_neuron_is_maximised_by_ink_where_its_weight_is_positive() -> None:
    w = np.array([[2.0, -1.0, 0.5, 0.0], [-3.0, 1.0, 1.0, -2.0]])
    model = nn.Sequential(nn.Linear(4, 2, dtype=float), nn.Sigmoid())
    model[0].weight.data = w
    close(figures.maximise(model), np.where(w == 0, 0.5, w > 0))
    close(figures.maximise(model, [1], within=(-2, 2)), [[-2, 2, 2, -2]])


def test_all_neurons_are_maximised_and_as_many_drawn_as_a_page_holds() -> None:
    model = network(4, 100, 2)
    assert figures.maximise(model, layer=0, steps=1).shape == (100, 4)
    figure = figures.maximising_inputs(model, layer=0, steps=1)
    assert len(pictures(figure)) == 60
    title = "The input that maximises each neuron of layer 1 (60 of 100)"
    assert figure.get_suptitle() == title
    figure = figures.maximising_inputs(model, neurons=[0, 1], layer=1, steps=1)
    assert figure.get_suptitle() == "The input that maximises each neuron of the output"


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_gradient_ascent_beats_every_example_at_exciting_a_neuron(layer: int) -> None:
    model = network(64, 16, 10)
    x = figures.maximise(model, layer=layer)
    until = nn.Sequential(*model.layers[: 2 * (layer % 2) + 2])
    reached = np.diagonal(predict(until, x))
    assert x.min() >= 0
    assert x.max() <= 1
    assert (reached > predict(until, DIGITS.x_test).max(axis=0)).all()


def test_maximising_inputs_shows_them_with_the_activation_they_reach() -> None:
    model = network(64, 16, 10)
    figure = figures.maximising_inputs(model, neurons=[3, 7])
    x = figures.maximise(model, [3, 7])
    close(pictures(figure), x.reshape(2, 8, 8))
    a = predict(model, x)
    assert figure.axes[1].get_title() == f"7: {a[1, 7]:.2f}"


# Digits.

ANSWERS = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.1, 0.7], [0.5, 0.4, 0.1]])
RIGHT = np.array([0, 0, 1, 0])


def test_a_confusion_matrix_has_what_is_in_rows_and_what_was_read_in_columns() -> None:
    expected = [[2, 1, 0], [0, 0, 1], [0, 0, 0]]
    for right in (RIGHT, RIGHT.astype(float), RIGHT[:, None]):
        np.testing.assert_array_equal(figures.confusion(ANSWERS, right), expected)
    np.testing.assert_array_equal(figures.confusion(ANSWERS, np.eye(3)[RIGHT]), expected)
    (axes,) = figures.confusion_matrix(ANSWERS, RIGHT).axes
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "2", (1, 0): "1", (2, 1): "1"}
    assert axes.get_title() == "2 of 4 read wrong (50.0%)"


def test_mistakes_come_with_the_surest_first() -> None:
    x = np.arange(16.0).reshape(4, 4)
    figure = figures.mistakes(x, ANSWERS, RIGHT)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["1 as 2", "0 as 1"]
    close(pictures(figure), x[[2, 1]].reshape(2, 2, 2))
    assert len(pictures(figures.mistakes(x, ANSWERS, RIGHT, most=1))) == 1


def test_without_mistakes_there_is_only_the_title() -> None:
    figure = figures.mistakes(np.zeros((4, 4)), ANSWERS, ANSWERS.argmax(axis=1))
    assert figure.get_suptitle() == "0 of 4 read wrong"
    assert not figure.axes


def test_activations_are_those_of_the_network_layer_by_layer() -> None:
    model, x = network(64, 20, 5, 10), DIGITS.x_test[3]
    image, first, second, output = figures.activations(model, x).axes
    close(image.images[0].get_array(), x.reshape(8, 8))
    a = sigma(model[0].weight.data @ x + model[0].bias.data)
    close(first.collections[0].get_array(), a)
    a = sigma(model[2].weight.data @ a + model[2].bias.data)
    close(second.collections[0].get_array(), a)
    close([bar.get_width() for bar in output.patches], predict(model, x[None])[0])


def test_a_network_in_doubt_has_shorter_bars_than_one_that_is_sure() -> None:
    model = network(4, 2, 3)
    model[2].bias.data = np.full(3, -2.0)
    *_, output = figures.activations(model, np.ones(4)).axes
    assert output.get_xlim()[1] > 1 > 2 * max(bar.get_width() for bar in output.patches)


def test_what_is_not_finite_is_shown_as_such() -> None:
    model = network(4, 2, 3)
    model[2].bias.data = np.array([0.0, np.nan, 0.0])
    *_, output = figures.activations(model, np.ones(4)).axes
    texts = [text.get_text() for text in output.texts]
    assert texts[1] == "nan"
    figures.activations(model, np.ones(4)).savefig(io.BytesIO())


def test_nudges_sum_over_the_outputs_to_the_gradient_of_each_neuron_before() -> None:
    """3Blue1Brown: ∂C/∂a_k = Σ_j w_jk σ'(z_j) ∂C/∂a_j, here with a minus, as a wish."""
    model, x, y = network(64, 4, 3), DIGITS.x_test[3].astype(float), np.eye(3)[1]
    outputs, wishes, sums = (
        axes.collections[0] for axes in figures.nudges(model, x, y, F.quadratic).axes
    )
    hidden = sigma(model[0].weight.data @ x + model[0].bias.data)
    w = model[2].weight.data
    a = sigma(w @ hidden + model[2].bias.data)
    wish = y - a
    close(outputs.V / outputs.V[0], wish / wish[0])
    assert (outputs.V * wish > 0).all()  # where it should rise, up
    by_hand = (w * (wish * a * (1 - a))[:, None]).T  # neuron before, output
    drawn = wishes.V.reshape(4, 3)
    assert (drawn * by_hand > 0).all()
    close(drawn / drawn[0, 0], by_hand / by_hand[0, 0])
    close(sums.V, drawn.sum(axis=1))
    before = tg.Value(hidden[None])
    F.quadratic(model[3](model[2](before)), y[None]).backward()
    close(sums.V / sums.V[0], before.grad[0] / before.grad[0, 0])


# The plane.


def two_classes(seed: int = 0) -> tuple[Any, Any]:
    x = np.random.default_rng(seed).normal(size=(40, 2))
    return x, (x[:, 0] + x[:, 1] > 0).astype(int)


def line_of(axes: Any) -> Any:
    """The points of the black lines."""
    return np.concatenate([x.get_xydata() for x in axes.lines if x.get_color() == "black"])


@pytest.mark.parametrize("end", [nn.Identity(), nn.Sigmoid(), nn.Tanh()])
def test_the_boundary_of_one_neuron_is_the_line_where_its_weighted_input_is_0(
    end: nn.Module,
) -> None:
    x, y = two_classes()
    model = nn.Sequential(nn.Linear(2, 1, dtype=float, rng=3), end)
    (axes,) = figures.decision_boundary(model, x, y).axes
    line = line_of(axes)
    z = line @ model[0].weight.data[0] + model[0].bias.data
    assert len(line) > 100
    close(z, 0, atol=1e-4)


def test_a_threshold_moves_the_boundary() -> None:
    x, y = two_classes()
    model = nn.Linear(2, 1, dtype=float, rng=3)
    line = line_of(figures.decision_boundary(model, x, y, threshold=0.5).axes[0])
    close(line @ model.weight.data[0] + model.bias.data, 0.5, atol=1e-9)


def test_with_several_outputs_the_largest_wins_and_borders_are_where_two_are_level() -> None:
    x, _ = two_classes()
    model = nn.Linear(2, 3, dtype=float, rng=0)
    y = predict(model, x).argmax(axis=1)
    assert len(set(y)) == 3
    (axes,) = figures.decision_boundary(model, x, y).axes
    answers = np.sort(predict(model, line_of(axes)), axis=1)
    close(answers[:, 2], answers[:, 1], atol=0.05)
    classes = axes.collections[0].get_array()
    assert set(np.unique(classes)) == {0, 1, 2}


def test_labels_may_be_any_two_numbers_or_rows() -> None:
    x, y = two_classes()
    model = nn.Linear(2, 2, dtype=float, rng=0)
    lines = [
        line_of(figures.decision_boundary(model, x, labels).axes[0])
        for labels in (y, 2.0 * y - 1, y[:, None], np.eye(2)[y])
    ]
    for line in lines[1:]:
        close(line, lines[0])


def test_what_the_last_hidden_layer_makes_of_the_boundary_is_straight() -> None:
    x, y = two_classes()
    model = network(2, 2, 2, 1, seed=5)
    model[0].weight.data = np.array([[2.0, 1.0], [-1.0, 2.0]])
    model[4].bias.data = -0.5 * model[4].weight.data.sum(axis=1)
    first, second, last = figures.boundary_by_layer(model, x, y).axes
    close(line_of(last) @ model[4].weight.data[0] + model[4].bias.data, 0, atol=1e-4)
    a = sigma(line_of(first) @ model[0].weight.data.T + model[0].bias.data)
    close(line_of(second), a)
    moved = np.concatenate([points.get_offsets() for points in second.collections])
    close(
        moved,
        sigma(np.concatenate([x[y == 0], x[y == 1]]) @ model[0].weight.data.T + model[0].bias.data),
    )


def test_of_wide_layers_the_two_directions_of_largest_variance_are_seen() -> None:
    x, y = two_classes()
    model = network(2, 6, 1)
    axes = figures.boundary_by_layer(model, x, y).axes[1]
    seen = np.concatenate([points.get_offsets() for points in axes.collections])
    a = sigma(x @ model[0].weight.data.T + model[0].bias.data)
    sizes = np.linalg.eigvalsh(np.cov(a.T))
    close(np.linalg.eigvalsh(np.cov(seen.T)), sizes[-2:])
    assert f"{sizes[-2:].sum() / sizes.sum():.0%}" in axes.get_xlabel()


def test_an_mlp_of_scalar_neurons_is_drawn_like_its_matrices() -> None:
    x, y = two_classes()
    mlp = nn.MLP(2, [2, 1], activation="tanh", rng=1)
    axes = figures.boundary_by_layer(mlp, x, y).axes[1]
    assert axes.get_title() == "layer 1: 2 tanh"
    close(
        np.concatenate([points.get_offsets() for points in axes.collections]),
        np.stack(
            [n(np.concatenate([x[y == 0], x[y == 1]]).T).data for n in mlp.layers[0].neurons], 1
        ),
    )


def bent(frames: int = 4) -> tuple[nn.Sequential, Any, Any, figures.Animation]:
    x, y = two_classes()
    model = network(2, 2, 1, seed=1)
    return model, x, y, figures.bend(model, x, y, frames=frames)


def test_the_plane_is_bent_by_w_then_b_then_the_squashing() -> None:
    model, x, y, animation = bent()
    w, b = (p.data for p in model[0].parameters())
    first = x[y == 0]

    def blue(frame: int) -> Any:
        return animation.figure(frame).axes[0].lines[0].get_xydata()

    assert animation.frames == 13
    close(blue(0), first)
    close(blue(2), (first + first @ w.T) / 2)  # half way
    close(blue(4), first @ w.T)
    close(blue(8), first @ w.T + b)
    close(blue(12), sigma(first @ w.T + b))
    close(blue(-1), blue(12))
    headings = [animation.figure(i).get_suptitle() for i in (0, 1, 4, 5, 9, 12)]
    assert headings == [
        "input",
        *("layer 1: times W", "layer 1: times W", "layer 1: plus b"),
        *("layer 1: sigmoid", "layer 1: sigmoid"),
    ]


def test_three_neurons_lift_the_plane_into_space() -> None:
    x, y = two_classes()
    model = network(2, 3, 1, seed=1)
    axes = figures.bend(model, x, y, frames=1).figure(-1).axes[0]
    w, b = (p.data for p in model[0].parameters())
    close(np.stack(axes.lines[0].get_data_3d(), axis=1), sigma(x[y == 0] @ w.T + b))


def test_an_animation_is_written_as_a_gif(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    bent(2)[-1].save(tmp_path / "bent.gif")
    with image.open(tmp_path / "bent.gif") as file:
        assert file.n_frames == 7
        assert file.info["loop"] == 0


def test_an_animation_is_a_page_that_plays_and_asks_nobody(
    page: Any, accessible: Callable[[Any], None], tmp_path: Path
) -> None:
    animation = bent(2)[-1]
    animation.title = "a < b\udcff"
    animation.save(tmp_path / "bent.html")
    page.emulate_media(reduced_motion="reduce", color_scheme="dark")
    page.goto((tmp_path / "bent.html").as_uri())
    button, slider, image = (page.locator(x) for x in ("button", "input", "img"))
    assert (button.inner_text(), slider.input_value()) == ("Play", "0")
    first = image.get_attribute("src")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "1"
    assert image.get_attribute("src") != first
    assert image.evaluate("x => x.decode().then(() => x.naturalWidth)") == 560
    assert page.inner_text("h1").startswith("a < b")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
        accessible(page)
    button.click()
    assert button.inner_text() == "Pause"
    slider_is_last = "() => document.querySelector('input').value == '6'"  # no eval: the policy
    page.wait_for_function(slider_is_last)


# The cost around a model.


def test_the_cost_is_that_of_the_moved_parameters_and_the_model_stays() -> None:
    model = network(64, 4, 10)
    x, y = DIGITS.x_test.astype(float), np.eye(10)[DIGITS.y_test]
    before = model.state_dict()
    along = figures.directions(model, rng=3)
    figure = figures.loss_surface(model, F.quadratic, x, y, along, reach=0.5, points=3)
    for name, p in model.state_dict().items():
        np.testing.assert_array_equal(p, before[name])
    moved = network(64, 4, 10)
    for i, j in ((0, 0), (1, 1), (2, 0)):
        s, t = 0.5 * (i - 1), 0.5 * (j - 1)
        moved.load_state_dict({k: before[k] + s * along[0][k] + t * along[1][k] for k in before})
        cost = F.quadratic(predict(moved, x), y)
        close(costs(model, F.quadratic, x, y, along, [-0.5, 0, 0.5])[j, i], cost)
    height = costs(model, F.quadratic, x, y, along, [-0.5, 0, 0.5])
    drawn = figure.axes[1].collections[0]
    assert (drawn.zmin, drawn.zmax) == (height.min(), height.max())


def test_directions_have_the_length_of_each_neurons_weights() -> None:
    """H. Li et al. (2018), section 4: filter-wise normalisation."""
    model = network(6, 4, 3)
    for direction in figures.directions(model):
        for name, p in model.named_parameters():
            expected = np.linalg.norm(p.data, axis=1) if p.ndim == 2 else 0
            close(np.linalg.norm(np.atleast_2d(direction[name]), axis=1), expected)


def test_scalar_neurons_move_by_the_length_of_their_weights_too() -> None:
    model = nn.MLP(3, [4, 1], activation="tanh", rng=0)
    for direction in figures.directions(model):
        for i, layer in enumerate(model.layers):
            for j, neuron in enumerate(layer.neurons):
                place = f"layers.{i}.neurons.{j}"
                row = [direction[f"{place}.w.{k}"] for k in range(len(neuron.w))]
                expected = np.linalg.norm([w.item() for w in neuron.w])
                close(np.linalg.norm(row), expected)
                assert direction[f"{place}.b"] == 0
    alone = model.layers[0].neurons[0]
    assert sorted(figures.directions(alone)[0]) == sorted(dict(alone.named_parameters()))
    x = np.random.default_rng(0).normal(size=(5, 3))
    along = figures.directions(model)
    assert np.ptp(costs(model, F.quadratic, x, x[:, :1], along, [-1, 0, 1])) > 0.1


def test_after_a_surface_the_model_holds_the_same_arrays() -> None:
    model = network(2, 3, 1)
    before = [p.data for p in model.parameters()]
    figures.loss_surface(model, F.quadratic, X, Y[:, None], points=3)
    assert all(p.data is data for p, data in zip(model.parameters(), before))


def test_a_loss_that_fails_leaves_the_model_as_it_was() -> None:
    model = network(4, 2)
    before = model.state_dict()

    def broken(a: Any, y: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        figures.loss_surface(model, broken, np.ones((3, 4)), np.ones((3, 2)))
    for name, p in model.state_dict().items():
        np.testing.assert_array_equal(p, before[name])


# Universality.


def test_two_neurons_make_a_bump_as_high_as_the_functions_median_there() -> None:
    model = figures.bumps(nielsens, 10)
    middles = (np.arange(10)[:, None] + 0.5) / 10
    medians = np.median(nielsens(middles + np.linspace(-0.05, 0.05, 1001)), axis=1)
    close(predict(model, middles)[:, 0], medians, atol=1e-3)
    close(predict(figures.bumps(np.exp, 10), middles), np.exp(middles), atol=1e-9)
    assert [layer.weight.shape for layer in (model[0], model[2])] == [(20, 1), (1, 20)]


def test_the_more_neurons_the_nearer_the_network_to_nielsens_function() -> None:
    x = np.linspace(0, 1, 20_011)[:, None]  # no bump has its edge at one of them
    networks = [figures.bumps(nielsens, n, w=1e6) for n in (25, 50, 100, 200)]
    far = [np.abs(predict(network, x) - nielsens(x)).mean() for network in networks]
    close(np.divide(far[:-1], far[1:]), 2, atol=0.1)
    assert far[-1] < 0.003


def test_universality_draws_the_networks() -> None:
    _, five = figures.universality(np.cos, counts=(5,)).axes
    drawn = five.lines[1].get_xydata()
    close(drawn[:, 1:], predict(figures.bumps(np.cos, 5), drawn[:, :1]))


# Bad input: what, where, and how to mend it; and nothing is touched.

X, Y = two_classes()
MODEL = network(2, 2, 1)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: figures.learning_curves([]), ValueError, "has no epochs"),
        (
            lambda: figures.learning_curves([Epoch(1, 1.0, None, None, 0.0)], []),
            *(ValueError, "1 epochs, training=0"),
        ),
        (lambda: figures.GradientNorms(nn.ReLU(), F.quadratic, X, Y), ValueError, "no parameters"),
        (
            lambda: figures.GradientNorms(MODEL, F.quadratic, X, Y[:, None]).by_layer("bias"),
            *(ValueError, '"biases", "weights" or "all"'),
        ),
        (lambda: figures.first_layer(np.ones((2, 5))), ValueError, "5 inputs are no square"),
        (lambda: figures.first_layer(np.ones((2, 6)), (3, 3)), ValueError, "no 3x3 picture"),
        (lambda: figures.first_layer(np.ones(4)), ValueError, r"\(n, pixels\), not as \(4,\)"),
        (lambda: figures.first_layer(MODEL, (1, 2), [2]), ValueError, "there are 2, from 0 to 1"),
        (lambda: figures.first_layer(nn.Sequential(nn.ReLU())), ValueError, "no layer with"),
        (lambda: figures.filters(np.ones((5, 5))), ValueError, r"not as \(5, 5\)"),
        (lambda: figures.filters(MODEL), ValueError, "no kernels"),
        (lambda: figures.maximise(MODEL, layer=2), ValueError, "layer=2, but there are 2"),
        (lambda: figures.maximise(nn.ReLU()), TypeError, "nn.Sequential or nn.MLP, not ReLU"),
        (
            lambda: figures.confusion(ANSWERS[:, :1], RIGHT),
            *(ValueError, r"not as \(4, 1\); of one output p pass np.hstack"),
        ),
        (lambda: figures.confusion(ANSWERS, RIGHT + 0.5), ValueError, "float64 from 0.5 to 1.5"),
        (lambda: figures.confusion(ANSWERS, RIGHT[:3]), ValueError, "4 examples need 4 labels"),
        (lambda: figures.confusion(ANSWERS, RIGHT + 2), ValueError, "0 to 2, not int64 from 2 to"),
        (lambda: figures.pictures(np.ones((2, 5))), ValueError, "5 inputs are no square"),
        (lambda: figures.pictures(np.ones((0, 4))), ValueError, "0 pictures in 10 columns"),
        (
            lambda: figures.pictures(np.ones((3, 4)), columns=2, rows=["a"]),
            *(ValueError, "1 names for 2 rows of 2"),
        ),
        (lambda: figures.mistakes(X[:3], ANSWERS, RIGHT, (1, 2)), ValueError, "3 pictures, but 4"),
        (lambda: figures.activations(MODEL, X), ValueError, r"one example \(inputs,\)"),
        (lambda: figures.nudges(network(4, 1), X[0], 0, F.quadratic), ValueError, "two layers"),
        (
            lambda: figures.decision_boundary(network(3, 1), X, Y),
            ValueError,
            "does not take points",
        ),
        (lambda: figures.decision_boundary(MODEL, X[:, :1], Y), ValueError, r"\(n, 2\), not x of"),
        (lambda: figures.decision_boundary(MODEL, X, Y[1:]), ValueError, "40 examples need 40"),
        (lambda: figures.decision_boundary(MODEL, X, 0 * Y), ValueError, "1 classes"),
        (lambda: figures.decision_boundary(MODEL, X, np.arange(40) % 3), ValueError, "one output"),
        (
            lambda: figures.decision_boundary(network(2, 3), X, Y),
            *(ValueError, "2 classes, but the model answers 3"),
        ),
        (lambda: figures.decision_boundary(lambda x: x * np.nan, X, Y), ValueError, "not finite"),
        (
            lambda: figures.nudges(MODEL, X[0], np.nan, lambda a, y: (a * y).sum()),
            *(ValueError, "gradient by the outputs is not finite"),
        ),
        (lambda: figures.boundary_by_layer(network(2, 1), X, Y), ValueError, "no hidden layer"),
        (lambda: figures.bend(network(2, 4, 1), X, Y), ValueError, "hidden layer 1 has 4 neurons"),
        (lambda: figures.bend(MODEL, X, Y, frames=0), ValueError, "frames=0"),
        (lambda: figures.bend(MODEL, X, Y).figure(99), ValueError, "frame 99"),
        (lambda: figures.bend(MODEL, X, Y).save("bent.mp4"), ValueError, "end in .gif or .html"),
        (lambda: figures.bend(MODEL, X, Y).save("no/such/a.gif"), FileNotFoundError, "no folder"),
        (
            lambda: figures.loss_surface(MODEL, F.quadratic, X, Y, ({}, {})),
            *(ValueError, "directions need the shapes"),
        ),
        (lambda: figures.loss_surface(MODEL, F.quadratic, X, Y, points=2), ValueError, "points=2"),
        (
            lambda: figures.loss_surface(nn.ReLU(), F.quadratic, X, X),
            *(ValueError, "no rows of weights, or all are 0"),
        ),
        (lambda: figures.bumps(np.sin, 0), ValueError, "n=0"),
        (lambda: figures.universality(np.log, counts=()), ValueError, "counts is empty"),
    ],
)
def test_bad_input_is_told(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    before = MODEL.state_dict()
    with pytest.raises(kind, match=message):
        call()
    for name, p in MODEL.named_parameters():
        np.testing.assert_array_equal(p.data, before[name])
        assert p.grad is None


def test_no_figure_changes_the_model() -> None:
    model, x = network(64, 2, 10), DIGITS.x_test.astype(float)
    y = np.eye(10)[DIGITS.y_test]
    before = model.state_dict()
    model[1].training = False
    figures.maximise(model, steps=3)
    figures.activations(model, x[0])
    figures.nudges(model, x[0], y[0], F.quadratic)
    figures.loss_surface(model, F.quadratic, x, y, points=3)
    figures.GradientNorms(model, F.quadratic, x, y)
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.data, before[name])
        assert p.grad is None
    assert [m.training for _, m in model.named_modules()] == [True, True, False, True, True]


def test_matplotlib_is_loaded_when_a_figure_is_drawn_and_named_where_it_is_missing(
    tmp_path: Path,
) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not here')")
    program = """
import sys
import tensorgrad.viz.figures as figures
assert "matplotlib" not in sys.modules
figures.universality()
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
    )
    *_, last = done.stderr.splitlines()
    assert last == ("ImportError: figures need matplotlib: pip install 'tensorgrad-engine[viz]'")

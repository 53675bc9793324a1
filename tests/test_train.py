"""fit(): learning, its history, and what it shows to whom."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, data, nn, optim
from tensorgrad.nn import functional as F
from tensorgrad.train import Epoch, History, Step, accuracy, fit, predict

DIGITS = data.digits()


def digits_run(seed: int = 0, epochs: int = 3, **options: Any) -> tuple[nn.Module, list[Epoch]]:
    """A small network on the bundled digits."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(64, 20, rng=rng), nn.Tanh(), nn.Linear(20, 10, rng=rng))
    batches = data.DataLoader(DIGITS.x_train, DIGITS.y_train, batch_size=32, shuffle=True, rng=rng)
    optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.5)
    return model, fit(model, batches, F.cross_entropy, optimizer, epochs=epochs, **options)


def test_it_learns_the_digits() -> None:
    _, history = digits_run(epochs=8, validation=(DIGITS.x_test, DIGITS.y_test))
    losses = [line.loss for line in history]
    assert losses == sorted(losses, reverse=True)
    assert history[-1].accuracy is not None
    assert history[-1].accuracy > 0.93


def test_a_seed_fixes_the_whole_run() -> None:
    (first, one), (second, two), (_, other) = digits_run(0), digits_run(0), digits_run(1)
    assert [line.loss for line in one] == [line.loss for line in two]
    assert [line.loss for line in one] != [line.loss for line in other]
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_the_history_has_one_line_per_epoch() -> None:
    _, history = digits_run(epochs=3)
    assert [line.epoch for line in history] == [1, 2, 3]
    assert [(line.validation_loss, line.accuracy) for line in history] == [(None, None)] * 3
    seconds = [line.seconds for line in history]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    assert digits_run(epochs=0)[1] == []


# One parameter, one example: every number by hand.


class Slope(nn.Module):
    def __init__(self) -> None:
        self.w = Value(1.0)
        self.recorded: list[tuple[bool, bool]] = []

    def forward(self, x: Any) -> Any:
        out = self.w * x
        self.recorded.append((self.training, out.requires_grad))
        return out


def half_square(a: Any, y: Any) -> Any:
    return np.mean(0.5 * (a - y) ** 2)


def slope_run(batches: Any, epochs: int = 1, **options: Any) -> tuple[Slope, list[Epoch]]:
    model = Slope()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return model, fit(model, batches, half_square, optimizer, epochs=epochs, **options)


def test_each_batch_is_one_step_of_gradient_descent_and_the_loss_is_their_mean() -> None:
    batches = [(np.array([2.0]), np.array([0.0])), (np.array([1.0]), np.array([1.0]))]
    model, history = slope_run(batches)
    after_first = 1.0 - 0.1 * (1.0 * 2 - 0) * 2
    np.testing.assert_allclose(model.w.data, after_first - 0.1 * (after_first - 1) * 1)
    np.testing.assert_allclose(history[0].loss, (0.5 * 2**2 + 0.5 * (after_first - 1) ** 2) / 2)


def test_old_gradients_do_not_count() -> None:
    model = Slope()
    model.w.grad = 100.0
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    fit(model, [(np.array([1.0]), np.array([0.0]))], half_square, optimizer, epochs=1)
    np.testing.assert_allclose(model.w.data, 1 - 0.1)


def test_validation_is_measured_after_each_epoch_without_a_graph_in_eval_mode() -> None:
    x, y = np.array([1.0, 2.0]), np.array([0.0, 1.0])
    model, history = slope_run(
        [(x, y)], epochs=2, validation=(x, y), metric=lambda a, y: float(np.sum(a))
    )
    tried = [(False, False)]
    assert model.recorded == tried + [(True, True), (False, False)] * 2
    assert model.training
    w = model.w.item()
    assert history[-1].validation_loss == pytest.approx(half_square(w * x, y))
    assert history[-1].accuracy == pytest.approx(3 * w)


def test_a_loss_with_one_element_may_have_any_shape() -> None:
    model = Slope()
    fit(
        *(model, [(np.array([2.0]), np.array([0.0]))], lambda a, y: (a - y) ** 2),
        *(optim.SGD(model.parameters(), lr=0.1),),
        epochs=1,
    )
    np.testing.assert_allclose(model.w.data, 1 - 0.1 * 8)


def test_on_epoch_sees_each_new_line_and_may_stop_by_raising() -> None:
    class Enough(Exception):
        pass

    seen = []

    def stop_at_two(line: Epoch) -> None:
        seen.append(line)
        if line.epoch == 2:
            raise Enough

    one = (np.array([1.0]), np.array([0.0]))
    model = Slope()
    with pytest.raises(Enough):
        fit(
            *(model, [one], half_square, optim.SGD(model.parameters(), lr=0.1)),
            epochs=5,
            on_epoch=stop_at_two,
        )
    assert [line.epoch for line in seen] == [1, 2]
    np.testing.assert_allclose(model.w.data, 0.9**2)  # two steps, kept


class Interrupted:
    """Batches during which somebody presses Ctrl-C."""

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Any]:
        yield np.array([1.0]), np.array([0.0])
        raise KeyboardInterrupt


def test_ctrl_c_returns_the_history_and_the_model_keeps_what_it_has_learned() -> None:
    model = Slope()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    history = fit(model, Interrupted(), half_square, optimizer, epochs=5)
    assert history == []
    assert history.interrupted
    assert history.stopped == "Ctrl-C in epoch 1, after batch 1"
    np.testing.assert_allclose(model.w.data, 0.9)
    assert (model.w * 2).requires_grad  # and operations on it are recorded


def test_ctrl_c_during_validation_leaves_the_model_in_training_mode_and_recording() -> None:
    class Impatient(Slope):
        def forward(self, x: Any) -> Any:
            if not self.training:
                raise KeyboardInterrupt
            return super().forward(x)

    one = (np.array([1.0]), np.array([0.0]))
    model = Impatient()
    with pytest.raises(KeyboardInterrupt):  # as the first examples are tried, before training
        fit(
            *(model, [one], half_square, optim.SGD(model.parameters(), lr=0.1)),
            epochs=5,
            validation=one,
        )
    assert model.training
    assert (model.w * 2).requires_grad


def test_no_batches_is_an_error() -> None:
    with pytest.raises(ValueError, match="epoch 1 has no batches"):
        slope_run([])


def test_a_batch_without_examples_is_an_error_before_the_step() -> None:
    with pytest.raises(ValueError, match="batch 1 of epoch 1 has no examples"):
        slope_run([(np.empty(0), np.empty(0))])


def test_a_batch_without_examples_among_several_of_a_step_is_refused() -> None:
    model = nn.Linear(2, 2, rng=0)
    batches = [(np.ones((n, 2)), np.zeros(n, int)) for n in (2, 0)]
    with pytest.raises(ValueError, match="has no examples"):
        fit(
            *(model, batches, nn.functional.cross_entropy, optim.SGD(model.parameters(), lr=0.1)),
            epochs=1,
            accumulate=2,
        )


def test_batches_that_can_be_iterated_only_once_are_an_error_in_the_second_epoch() -> None:
    class Once(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            while self:
                yield self.pop()

    with pytest.raises(ValueError, match="epoch 2 has no batches: pass what can be iterated anew"):
        slope_run(Once([(np.array([1.0]), np.array([0.0]))]), epochs=2)


def test_an_optimiser_of_another_model_is_an_error_before_training() -> None:
    model, earlier = nn.Linear(4, 2, rng=0), nn.Linear(4, 2, rng=0)
    optimizer = optim.SGD(earlier.parameters(), lr=0.1)
    x, y = np.ones((3, 4)), np.array([0, 1, 0])
    with pytest.raises(ValueError, match="none of the model's parameters"):
        fit(model, (x, y), F.cross_entropy, optimizer, epochs=1)
    assert earlier.weight.grad is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"model": np.tanh}, "trains a Module"),
        ({"loss": "cross_entropy"}, "a loss is a function"),
        ({"loss": nn.CrossEntropyLoss}, r"such as .* nn.CrossEntropyLoss\(\)"),
        ({"loss": lambda a, y: F.cross_entropy(a, y).item()}, "a loss is a Value, not a float"),
        ({"optimizer": optim.SGD}, "optim.Adam"),
    ],
)
def test_what_is_no_model_loss_or_optimiser_is_told_what_is(wrong: Any, says: str) -> None:
    model = nn.Linear(4, 2, rng=0)
    given = {"model": model, "loss": F.cross_entropy, "optimizer": optim.SGD(model.parameters())}
    batches = np.ones((3, 4)), np.array([0, 1, 0])
    with pytest.raises(TypeError, match=says):
        fit(batches=batches, epochs=1, **{**given, **wrong})


def test_negative_epochs_are_an_error() -> None:
    with pytest.raises(ValueError, match="epochs=-1"):
        slope_run([], epochs=-1)


def test_accuracy_compares_the_largest_answer_with_class_numbers_or_rows_of_one() -> None:
    answers, classes = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0])
    assert accuracy(answers, classes) == accuracy(answers, np.eye(2)[classes]) == 2 / 3
    assert accuracy(Value(answers), classes) == 2 / 3


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_predict_in_batches_is_predict_at_once(batch_size: int) -> None:
    model, x = nn.Linear(3, 2, rng=0), np.random.default_rng(0).normal(size=(7, 3))
    answers = predict(model, x, batch_size)
    assert isinstance(answers, np.ndarray)
    np.testing.assert_allclose(answers, model(x).data, rtol=1e-12)
    np.testing.assert_array_equal(predict(lambda x: 2 * x, x, batch_size), 2 * x)  # any function


# The progress bar.


def test_nothing_is_printed_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    digits_run(epochs=1)
    assert capfd.readouterr() == ("", "")


RUN = """
import sys
import numpy as np
from tensorgrad import nn, optim, data
from tensorgrad.train import fit
x = np.random.default_rng(0).normal(size=(200, 2))
y = (x[:, 0] > 0).astype(int)
model = nn.Linear(2, 2, rng=0)
fit(model, data.DataLoader(x, y, batch_size=1), nn.functional.cross_entropy,
    optim.SGD(model.parameters(), lr=0.1), epochs=3, validation=(x, y),
    on_epoch=lambda line: sys.stdin.readline(), progress=%r)
print("done")
"""


def seen_in_a_terminal(progress: bool) -> tuple[str, str]:
    """What a person sees (standard error, a pseudo-terminal), and standard output.

    Each epoch ends when the person presses Enter: with a bar, once it shows that epoch.
    """
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN % progress],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment,
    ) as process:
        os.close(theirs)
        assert process.stdin is not None
        shown, epoch = b"", 1
        while True:
            while epoch <= 3 and (not progress or b"epoch %d/3" % epoch in shown):
                process.stdin.write(b"\n")
                process.stdin.flush()
                epoch += 1
            try:
                shown += (part := os.read(ours, 4096))
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
        os.close(ours)
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode == 0, shown.decode()
    return shown.decode(), out.decode()


def test_in_a_terminal_a_bar_shows_epoch_losses_and_accuracy() -> None:
    shown, out = seen_in_a_terminal(progress=True)
    assert "epoch 3/3" in shown
    assert "loss 0." in shown
    assert "accuracy 9" in shown
    assert "━" in shown
    assert "█▁" in shown  # the losses of two epochs
    assert out == "done\n"


def test_in_a_terminal_progress_false_shows_nothing() -> None:
    assert seen_in_a_terminal(progress=False) == ("", "done\n")


def test_without_rich_it_trains_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    batches = [(np.array([1.0]), np.array([0.0]))]
    slope_run(batches)
    assert "pip install 'tensorgrad-engine[cli]'" in capsys.readouterr().err


def test_fit_is_in_the_front_room() -> None:
    assert tg.fit is fit


def test_accuracy_refuses_a_regression() -> None:
    for answers, targets in ((np.ones((4, 1)), np.ones((4, 1))), (np.ones((4, 2)), np.ones(3))):
        with pytest.raises(ValueError, match="metric=None"):
            accuracy(answers, targets)
    x = np.linspace(-1, 1, 8)[:, None]
    model = nn.Linear(1, 1, rng=0)
    history = tg.fit(
        model,
        [(x, 2 * x)],
        nn.functional.mse_loss,
        optim.SGD(model.parameters(), lr=0.1),
        epochs=2,
        validation=(x, 2 * x),
        metric=None,
    )
    assert history[-1].accuracy is None
    assert history[1].validation_loss < history[0].validation_loss


def test_the_loss_of_an_epoch_is_the_mean_over_examples_also_with_a_smaller_last_batch() -> None:
    x, y = np.array([[1.0], [2.0], [5.0]]), np.zeros((3, 1))
    model = nn.Linear(1, 1, dtype=float, rng=0)
    model.load_state_dict({"weight": [[1.0]], "bias": [0.0]})
    batches = data.DataLoader(x, y, batch_size=2)
    optimizer = optim.SGD(model.parameters(), lr=0.0)
    (line,) = fit(model, batches, F.mse_loss, optimizer, epochs=1)
    np.testing.assert_allclose(line.loss, np.mean(x**2))


# Frozen layers.


def test_a_module_in_evaluation_mode_within_a_model_is_left_so() -> None:
    model = nn.Sequential(nn.Linear(1, 2, rng=0), nn.Tanh(), nn.Linear(2, 1, rng=0))
    model[1].eval()
    x = np.ones((2, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    modes: list[Any] = []
    fit(
        *(model, [(x, x)], F.mse_loss, optimizer),
        epochs=2,
        validation=(x, x),
        metric=lambda a, y: modes.append([m.training for m in model]) or 0.0,
        on_epoch=lambda line: modes.append([m.training for m in model]),
    )
    assert modes == [[True, False, True]] * 4
    assert model.training


def test_a_model_in_evaluation_mode_is_put_into_training_mode() -> None:
    model = Slope()
    model.eval()
    fit(model, [(np.ones(1),) * 2], half_square, optim.SGD(model.parameters()), epochs=1)
    assert model.recorded == [(True, True)]


# A step, as an object.


def test_a_step_returns_the_loss_from_before_and_improves_the_model() -> None:
    model = Slope()
    step = Step(model, half_square, optim.SGD(model.parameters(), lr=0.1))
    loss = step(np.array([2.0]), np.array([0.0]))
    assert loss.item() == 2.0
    np.testing.assert_allclose(model.w.data, 1 - 0.1 * 4)
    assert tg.Step is Step


def test_a_model_of_several_inputs_takes_all_but_the_last_of_a_batch() -> None:
    class Product(Slope):
        def forward(self, x: Any, y: Any) -> Any:  # type: ignore[override]
            return self.w * x * y

    model = Product()
    batch = (np.array([2.0]), np.array([3.0]), np.array([0.0]))
    fit(model, [batch], half_square, optim.SGD(model.parameters(), lr=0.01), epochs=1)
    np.testing.assert_allclose(model.w.data, 1 - 0.01 * 36)


def test_a_penalty_is_a_forward_and_clipping_a_backward() -> None:
    class Careful(Step):
        def forward(self, *batch: Any) -> Any:
            return super().forward(*batch) + 0.5 * self.model.w**2  # type: ignore[attr-defined]

        def backward(self, loss: Any) -> None:
            super().backward(loss)
            for p in self.model.parameters():
                p.grad = np.clip(p.grad, -1.0, 1.0)

    model, history = slope_run([(np.array([0.0]), np.array([0.0]))], step=Careful)
    np.testing.assert_allclose(model.w.data, 1 - 0.1 * 1)
    assert history[0].loss == 0.5
    model, _ = slope_run([(np.array([5.0]), np.array([0.0]))], step=Careful)
    np.testing.assert_allclose(model.w.data, 1 - 0.1 * 1)


def test_gradients_of_two_batches_add_up_to_one_step() -> None:
    class Accumulated(Step):
        seen = 0

        def backward(self, loss: Any) -> None:
            (loss * 0.5).backward()

        def update(self, evaluate: Any) -> Any:
            loss = evaluate()
            self.seen += 1
            if self.seen % 2 == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
            return loss

    x, y = np.array([2.0, 1.0]), np.array([0.0, 1.0])
    apart, _ = slope_run([(x[:1], y[:1]), (x[1:], y[1:])], step=Accumulated)
    together, _ = slope_run([(x, y)])
    np.testing.assert_allclose(apart.w.data, together.w.data)


def test_an_optimiser_that_looks_at_several_points_evaluates_the_step_at_each() -> None:
    class Halving(optim.SGD):
        """Halves the step until the loss is less."""

        def step(self, closure: Any = None) -> Any:
            before = closure()
            (w,) = self.param_groups[0]["params"]
            start, slope, rate = w.data, w.grad, 1.0
            while True:
                w.data = start - rate * slope
                if closure().item() < before.item():
                    return before
                rate /= 2

    model = Slope()
    step = Step(model, half_square, Halving(model.parameters()))
    loss = step(np.array([3.0]), np.array([0.0]))
    assert loss.item() == 4.5
    assert model.w.data == 1 - 9 / 8
    assert len(model.recorded) == 1 + 4


# What it is given.

X = np.random.default_rng(0).normal(size=(70, 2))
Y = X[:, 0] > 0


def arrays_run(arrays: Any, model: Any = None, loss: Any = F.cross_entropy, **options: Any) -> Any:
    """The model, and the history or the error."""
    model = model or nn.Linear(2, 2, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return model, fit(model, arrays, loss, optimizer, **{"epochs": 2, **options})


class Frame:
    """What is asked of a DataFrame."""

    def __init__(self, x: Any) -> None:
        self.x, self.shape = x, x.shape

    def to_numpy(self) -> Any:
        return self.x


def test_arrays_lists_and_data_frames_are_the_batches_of_a_shuffled_loader() -> None:
    batches = data.DataLoader(X, Y, shuffle=True)
    expected, line = arrays_run(batches, validation=(X, Y))
    for given in ((X, Y), (X.tolist(), Y.tolist()), (Frame(X), Frame(Y)), (Value(X), Y)):
        model, history = arrays_run(given, validation=given)
        assert [h[:4] for h in history] == [h[:4] for h in line]
        np.testing.assert_array_equal(model.weight.data, expected.weight.data)


def test_a_data_set_is_the_batches_of_a_shuffled_loader() -> None:
    x, y = np.arange(80, dtype=np.float32).reshape(40, 2) / 80, np.arange(40) % 2
    weights = []
    for given in ((x, y), data.TensorDataset(x, y)):
        model = nn.Linear(2, 2, rng=0)
        sgd = optim.SGD(model.parameters(), lr=0.1)
        history = fit(model, given, F.cross_entropy, sgd, epochs=2, validation=given)
        weights.append([*model.weight.data.ravel(), history[-1].validation_loss])
    assert weights[0] == weights[1]


def test_a_model_that_returns_nothing_is_named() -> None:
    class Silent(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Any) -> None:
            self.layer(x)

    model = Silent()
    sgd = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match="Silent answers None: its forward has no return"):
        fit(model, (np.ones((4, 2)), [0, 1, 0, 1]), F.cross_entropy, sgd, epochs=1)


def test_a_history_is_shown_as_a_table_the_middle_of_a_long_one_left_out() -> None:
    history = History(
        [Epoch(i, 1 / i, None, None, i, {"confusion": np.eye(9)}) for i in range(1, 31)]
    )
    lines = repr(history).splitlines()
    assert (lines[0].split(), len(lines)) == (["epoch", "loss", "seconds", "confusion"], 22)
    assert lines[3] == "    3   0.3333        3  [[1. 0. 0. 0. 0. 0."
    assert set(lines[11].split()) == {"..."}
    assert repr(History()) == "no epochs"


def test_a_tuple_of_batches_is_no_tuple_of_arrays() -> None:
    for batches in (((X, Y), (X, Y)), ([X, Y], [X, Y])):
        model, _ = arrays_run(batches)
        expected, _ = arrays_run([(X, Y), (X, Y)])
        np.testing.assert_array_equal(model.weight.data, expected.weight.data)


REFUSED: list[tuple[Any, Any, str]] = [
    ((X, Y[1:]), ValueError, r"a row for each example, got shapes \[\(70, 2\), \(69,\)\]"),
    ((X, 1.0), ValueError, "a row for each example"),
    ((X[:0], Y[:0]), ValueError, "no examples"),
    (([], []), ValueError, "no examples"),
    ((X, np.where(Y, "cat", "dog")), TypeError, r"names, y = np.unique\(labels"),
    ((X.astype(object), Y), TypeError, r"x.astype\(float\)"),
    ((X, np.full(70, "2026-11-30", "M8[D]")), TypeError, "no type of numbers"),
    (([[1.0], [1.0, 2.0]], [0, 1]), ValueError, "different lengths"),
    ((X,), TypeError, r"a pair \(x, y\)"),
]


@pytest.mark.parametrize(("given", "error", "message"), REFUSED)
def test_what_cannot_be_learned_from_is_refused_before_training(
    given: Any, error: Any, message: str
) -> None:
    model = nn.Linear(2, 2, rng=0)
    start = model.state_dict()
    for arrays, options in ((given, {}), ((X, Y), {"validation": given})):
        with pytest.raises(error, match=message):
            arrays_run(arrays, model, **options)
    np.testing.assert_array_equal(model.weight.data, start["weight"])


def test_batches_that_are_none_are_refused_before_training() -> None:
    once = (batch for batch in [(X, Y)])
    with pytest.raises(ValueError, match="generator ends with its first epoch"):
        arrays_run(once)
    _, history = arrays_run(once, epochs=1)  # and is still whole
    assert len(history) == 1
    with pytest.raises(TypeError, match=r"fit\(model, \(x, y\), ...\)"):
        arrays_run(X)
    for batches in ([X, Y], [{"x": X, "y": Y}]):
        with pytest.raises(TypeError, match=r"a batch is a tuple \(x, y\), not (ndarray|dict)"):
            arrays_run(batches)
    with pytest.raises(TypeError, match=r"arrays \(x, y\) or batches, not function"):
        arrays_run(lambda: [(X, Y)])


CHOSEN: list[tuple[Any, Any, Any, bool]] = [
    (1, F.mse_loss, X[:, :1], False),
    (2, F.mse_loss, X, False),
    (2, F.cross_entropy, Y, True),
    (2, F.cross_entropy, Y.astype(np.uint8), True),
    (2, F.cross_entropy, np.eye(2)[Y.astype(int)], True),
    (2, F.cross_entropy, np.full((70, 2), 0.5), False),
    (1, F.binary_cross_entropy_with_logits, Y[:, None], False),
]


@pytest.mark.parametrize(("outputs", "loss", "targets", "fits"), CHOSEN)
def test_accuracy_is_measured_where_there_are_classes(
    outputs: int, loss: Any, targets: Any, fits: bool
) -> None:
    model = nn.Linear(2, outputs, rng=0)
    _, history = arrays_run((X, targets), model, loss, validation=(X, targets))
    assert all((line.accuracy is not None) == fits for line in history)


@pytest.mark.parametrize(
    "options",
    [{"metric": accuracy, "validation": (X, X[:, :1])}, {"validation": (X, X)}, {"validation": X}],
)
def test_what_cannot_be_validated_is_an_error_before_training(options: Any) -> None:
    model = nn.Linear(2, 1, rng=0)
    start = model.state_dict()
    with pytest.raises((ValueError, TypeError)):
        arrays_run((X, X[:, :1]), model, F.mse_loss, **options)
    np.testing.assert_array_equal(model.weight.data, start["weight"])
    assert model.training


# Numbers that are none.


class Root(nn.Module):
    def forward(self, x: Any) -> Any:
        return np.sqrt(x - x.detach())


class Logarithm(nn.Module):
    def forward(self, x: Any) -> Any:
        return np.log(x)


def in_the_loss(a: Any, y: Any) -> Any:
    return np.mean(np.sqrt(a - a.detach()))


BIRTHS: list[tuple[Any, Any, Any, str]] = [
    ([Logarithm()], F.mse_loss, X, r"the loss is nan: log made nan at .*, in Logarithm layers.1\."),
    (
        [nn.Sequential(Logarithm())],
        F.mse_loss,
        X,
        r"log made nan at .*, in Logarithm layers.1.layers.0\.",
    ),
    ([Root()], F.mse_loss, X, r"a gradient .*: the gradient rule of sqrt made .* Root layers.1"),
    ([], in_the_loss, X, r"a gradient .*: the gradient rule of sqrt made .* outside of the model"),
    (
        [],
        F.mse_loss,
        X * np.nan,
        r"the loss is nan: linear was given nan in .*, in Linear layers.0\.",
    ),
    ([], lambda a, y: np.mean(a) * np.inf, X, r"the loss is -?inf: .*given inf.*outside of"),
]


@pytest.mark.parametrize(("layers", "loss", "x", "message"), BIRTHS)
def test_a_nan_stops_the_training_before_the_step_and_says_where_it_was_born(
    layers: Any, loss: Any, x: Any, message: str
) -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), *layers)
    start = model.state_dict()
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=message) as error:
        arrays_run([(x, x)], model, loss)
    assert str(error.value).startswith("epoch 1, batch 1: ")
    assert str(error.value).endswith("The parameters are as they were before this step")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, start[name])


def test_the_batch_and_the_parameter_that_overflowed_are_named() -> None:
    batches = [(X, X), (X, X), (X[:, :] * 1e30, X)]
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="epoch 1, batch 3: "):
        arrays_run(batches, nn.Linear(2, 2, rng=0), F.mse_loss)
    model = nn.Linear(2, 2, rng=0)
    model.bias.data[1] = np.inf
    with pytest.raises(FloatingPointError, match=r"parameter bias is inf at entry \(1,\)"):
        arrays_run(batches, model, F.mse_loss)


def test_debug_around_the_training_names_the_line_and_the_batch() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), Logarithm())
    with np.errstate(all="ignore"), tg.debug(), pytest.raises(FloatingPointError) as error:
        arrays_run([(X, X)], model, F.mse_loss)
    assert "epoch 1, batch 1: log made nan" in str(error.value)
    assert "return np.log(x)" in str(error.value)


def test_a_step_of_ones_own_that_does_not_look_is_told_too() -> None:
    class Blind(Step):
        def check(self, loss: Any) -> None: ...

    model = nn.Linear(2, 2, rng=0)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="has changed the para"):
        arrays_run([(X * np.nan, X)], model, F.mse_loss, step=Blind)
    assert np.isnan(model.weight.data).all()


def test_what_a_mask_hides_is_not_trained_on_in_silence() -> None:
    model = nn.Linear(2, 1)
    hidden = np.ma.array(np.ones((4, 2)), mask=np.eye(4, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match="fit does not compute as MaskedArray does"):
        fit(model, (hidden, np.ones((4, 1))), F.mse_loss, optimizer, epochs=1)

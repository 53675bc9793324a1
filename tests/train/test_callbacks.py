"""Callbacks: what they are told, when they end a training, what they write."""

from __future__ import annotations

import csv
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorgrad import Value, data, io, nn, optim
from tensorgrad.nn import functional as F
from tensorgrad.train import (
    Average,
    Callback,
    Checkpoint,
    EarlyStopping,
    Epoch,
    GradientNorms,
    History,
    Log,
    Run,
    Schedule,
    TensorBoard,
    accuracy,
    confusion_matrix,
    f1,
    fit,
)
from tensorgrad.train.callbacks import Monitor
from tensorgrad.train.progress import sparkline

X = np.random.default_rng(0).normal(size=(70, 2))
Y = (X[:, 0] > X[:, 1]).astype(int)


class Bowl(nn.Module):
    """Its output is its parameter: with `curve`, the validation losses are whatever is wanted."""

    def __init__(self) -> None:
        self.w = Value(0.0)

    def forward(self, x: Any) -> Any:
        return self.w + 0.0 * x


def curve(*losses: float) -> Any:
    """A loss that is the n-th number at w = n, and whose gradient step goes from w to w + 1."""

    def loss(a: Any, y: Any) -> Any:
        if isinstance(a, Value):
            return -np.mean(a)
        return np.float64(losses[round(float(np.mean(a)))])

    return loss


def descend(*losses: float, **options: Any) -> tuple[Bowl, History]:
    """A training whose validation losses are those given: the first is tried, then by epoch."""
    model = Bowl()
    one = np.zeros(1), np.zeros(1)
    optimizer = options.pop("optimizer", optim.SGD)(model.parameters(), lr=1.0)
    options = {"epochs": len(losses), "validation": one, "metric": None} | options
    return model, fit(model, [one], curve(0.0, *losses), optimizer, **options)


def table_in(path: Path) -> list[dict[str, str]]:
    return [*csv.DictReader(path.read_text().splitlines())]


# The protocol.


class Told(Callback):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def on_start(self, run: Run) -> None:
        self.calls.append("start")

    def on_step(self, run: Run) -> None:
        self.calls.append(("step", run.epoch, run.batch, run.steps))

    def on_epoch(self, run: Run) -> None:
        self.calls.append(("epoch", run.history[-1].epoch))

    def on_end(self, run: Run) -> None:
        self.calls.append("end")


def test_a_callback_is_told_of_start_steps_epochs_and_end() -> None:
    told, lines = Told(), []
    model = nn.Linear(2, 2, rng=0)
    history = fit(
        *(model, [(X, Y), (X, Y)], F.cross_entropy, optim.SGD(model.parameters(), lr=0.1)),
        epochs=2,
        callbacks=[told, lines.append],
        on_epoch=lines.append,
    )
    steps = [[("step", e, b, 2 * e - 2 + b) for b in (1, 2)] for e in (1, 2)]
    assert told.calls == ["start", *steps[0], ("epoch", 1), *steps[1], ("epoch", 2), "end"]
    assert lines == [line for line in history for _ in range(2)]
    assert history.stopped is None
    assert not history.interrupted


def test_the_end_is_told_after_an_error_too() -> None:
    told = Told()
    with pytest.raises(ZeroDivisionError):
        descend(1.0, callbacks=[told], on_epoch=lambda line: 1 // 0)
    assert told.calls[-2:] == [("epoch", 1), "end"]


def test_a_callback_may_stop_within_an_epoch() -> None:
    class Enough(Callback):
        def on_step(self, run: Run) -> None:
            if run.steps == 3:
                run.stop("enough")

    model = nn.Linear(2, 2, rng=0)
    optimizer = optim.SGD(model.parameters())
    batches = data.DataLoader(X, Y, batch_size=35)
    history = fit(model, batches, F.cross_entropy, optimizer, epochs=5, callbacks=[Enough()])
    assert len(history) == 1
    assert history.stopped == "enough"


def test_what_a_callback_measures_is_in_the_history_and_may_be_monitored(tmp_path: Path) -> None:
    class Size(Callback):
        names = ("size_norm",)

        def measure(self, run: Run) -> Any:
            return {"size_norm": abs(run.model.w.item())}  # type: ignore[attr-defined]

    path = tmp_path / "log.csv"
    stop = EarlyStopping("size_norm", patience=2)
    _, history = descend(*[1.0] * 9, callbacks=[Log(path), stop, Size()])
    assert history.column("size_norm") == [1.0, 2.0, 3.0]  # grew, twice
    assert table_in(path)[1]["size_norm"] == "2.0"


@pytest.mark.parametrize("wrong", [EarlyStopping, 3, optim.SGD([Value(1.0)])])
def test_what_is_no_callback_is_told_what_is(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"such as EarlyStopping\(\), functions"):
        descend(1.0, callbacks=[wrong])
    with pytest.raises(TypeError, match=r"callbacks are a list: callbacks=\["):
        descend(1.0, callbacks=EarlyStopping())


# Stopping early.


def test_it_stops_after_patience_epochs_without_a_better_one_and_restores_the_best() -> None:
    model, history = descend(5.0, 3.0, 4.0, 3.0, 3.5, 1.0, callbacks=[EarlyStopping(patience=3)])
    assert history.column("validation_loss") == [5.0, 3.0, 4.0, 3.0, 3.5]
    assert model.w.data == 2.0
    assert history.stopped == (
        "validation_loss has not become better in 3 epochs, the best was epoch 2"
    )


def test_without_restoring_the_model_is_the_last() -> None:
    stop = EarlyStopping(patience=1, restore_best=False)
    model, history = descend(1.0, 2.0, 0.0, callbacks=[stop])
    assert len(history) == 2
    assert model.w.data == 2.0


def test_the_best_is_restored_where_all_epochs_were_trained() -> None:
    model, history = descend(2.0, 1.0, 3.0, callbacks=[EarlyStopping(patience=9)])
    assert history.stopped is None
    assert model.w.data == 2.0


def test_less_than_min_delta_is_no_better() -> None:
    _, history = descend(
        *(1.0, 0.95, 0.9, 0.0), callbacks=[EarlyStopping(patience=2, min_delta=0.2)]
    )
    assert len(history) == 3


def test_nan_is_no_better() -> None:
    _, history = descend(*(1.0, np.nan, np.nan, 0.0), callbacks=[EarlyStopping(patience=2)])
    assert len(history) == 3


def test_what_is_better_is_known_of_usual_names() -> None:
    assert Monitor("validation_loss").sign == Monitor("noisy_perplexity").sign == -1
    assert Monitor("accuracy").sign == Monitor("clean_f1").sign == 1
    assert Monitor("loss", mode="max").sign == 1
    with pytest.raises(ValueError, match="is a better 'nothing' less or more"):
        Monitor("nothing")


def test_names_that_are_not_measured_are_told_before_training_with_those_that_are() -> None:
    names = "there are loss, seconds, validation_loss, lr"
    for options in ({"callbacks": [EarlyStopping("f1")]}, {"callbacks": [Checkpoint("x", "f1")]}):
        options["callbacks"].append(Schedule(optim_scheduler(None)))
        with pytest.raises(ValueError, match=f"under the name 'f1'; {names}"):
            descend(1.0, **options)
    with pytest.raises(ValueError, match=r"validation_loss.*there are loss, seconds$"):
        descend(1.0, validation=None, callbacks=[EarlyStopping()])


def test_an_array_cannot_be_monitored() -> None:
    stop = EarlyStopping("confusion_matrix", mode="max")
    model = nn.Linear(2, 2, rng=0)
    with pytest.raises(ValueError, match="'confusion_matrix' cannot be monitored"):
        fit(
            *(model, (X, Y), F.cross_entropy, optim.SGD(model.parameters())),
            epochs=1,
            validation=(X, Y),
            metric=confusion_matrix,
            callbacks=[stop],
        )


@pytest.mark.parametrize("options", [{"patience": 0}, {"min_delta": -1.0}, {"min_delta": np.nan}])
def test_settings_that_make_no_sense_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        EarlyStopping(**options)
    with pytest.raises(ValueError, match="every=0"):
        Checkpoint("x", every=0)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_stopping_early_goes_on_after_a_break(epochs: int, tmp_path: Path) -> None:
    losses = (5.0, 3.0, 4.0, 3.0, 3.5, 1.0)

    def run(**options: Any) -> Any:
        callbacks = [Checkpoint(tmp_path / "x.safetensors"), EarlyStopping(patience=3)]
        return descend(*losses, callbacks=callbacks, **options)

    expected = run()
    run(epochs=epochs)
    model, history = run(resume=True)
    assert [line[:3] for line in history] == [line[:3] for line in expected[1]]
    assert model.w.data == expected[0].w.data
    assert history.stopped == expected[1].stopped
    again = run(resume=True)  # of one that has ended: no epoch more
    assert len(again[1]) == len(history)
    assert again[0].w.data == model.w.data


# Checkpoints.


def test_the_best_and_the_last_are_kept(tmp_path: Path) -> None:
    best, last = tmp_path / "best.safetensors", tmp_path / "last.safetensors"
    callbacks = [Checkpoint(best, monitor="validation_loss"), Checkpoint(last)]
    descend(3.0, 1.0, 2.0, callbacks=callbacks)
    assert io.load_checkpoint(best)["model"]["w"] == 2.0
    assert io.load_checkpoint(last)["model"]["w"] == 3.0
    # And what goes on from the last remembers how good the best was.
    callbacks = [Checkpoint(best, monitor="validation_loss"), Checkpoint(last)]
    descend(*(3.0, 1.0, 2.0, 1.5), callbacks=callbacks, resume=True)
    assert io.load_checkpoint(best)["model"]["w"] == 2.0
    assert io.load_checkpoint(last)["model"]["w"] == 4.0


def test_what_could_not_be_saved_is_found_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Keeps(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"function": print}

    told, path = Told(), tmp_path / "x.safetensors"
    with pytest.raises(TypeError, match=r"cannot save callbacks.Keeps.function"):
        descend(1.0, callbacks=[told, Keeps(), Checkpoint(path)])
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"tensorgrad-engine\[io\]"):
        descend(1.0, callbacks=[told, Checkpoint(path)])
    assert told.calls == ["start", "end"] * 2


# Schedules.


def optim_scheduler(optimizer: Any, factor: float = 0.5) -> Any:
    class Factor:
        def __init__(self) -> None:
            self.optimizer, self.steps = optimizer, 0

        def step(self) -> None:
            self.steps += 1
            for group in self.optimizer.param_groups:
                group["lr"] *= factor

    scheduler = Factor()
    if optimizer is None:
        del scheduler.optimizer
    return scheduler


class Plateau:
    def __init__(self) -> None:
        self.seen: list[float] = []

    def step(self, metrics: float, epoch: int | None = None) -> None:
        self.seen.append(metrics)


def scheduled(**options: Any) -> tuple[Any, History]:
    model = nn.Linear(2, 2, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    scheduler = optim_scheduler(optimizer)
    batches = data.DataLoader(X, Y, batch_size=35)
    callbacks = [Schedule(scheduler, **options)]
    return scheduler, fit(model, batches, F.cross_entropy, optimizer, epochs=2, callbacks=callbacks)


def test_a_schedule_steps_by_epoch_or_by_step() -> None:
    scheduler, history = scheduled()
    assert scheduler.steps == 2
    assert history.column("lr") == [1.0, 0.5]
    scheduler, history = scheduled(each="step")
    assert scheduler.steps == 4
    assert history.column("lr") == [0.25, 0.0625]


def test_a_schedule_that_looks_at_a_number_is_given_it() -> None:
    for monitor, expected in ((None, [4.0, 2.0]), ("loss", [0.0, -1.0])):
        plateau = Plateau()
        descend(4.0, 2.0, callbacks=[Schedule(plateau, monitor=monitor)])
        assert plateau.seen == expected
    plateau = Plateau()
    descend(4.0, 2.0, validation=None, callbacks=[Schedule(plateau)])
    assert plateau.seen == [0.0, -1.0]


def test_schedules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(TypeError, match=r"a scheduler has a method step\(\)"):
        Schedule(0.1)
    with pytest.raises(ValueError, match="each='batch'"):
        Schedule(Plateau(), each="batch")  # type: ignore[arg-type]
    for monitor in ("loss", None):
        with pytest.raises(ValueError, match="measured once an epoch"):
            Schedule(Plateau(), each="step", monitor=monitor)
    with pytest.raises(ValueError, match="of another optimizer"):
        descend(1.0, callbacks=[Schedule(optim_scheduler(optim.SGD([Value(1.0)])))])


def test_a_schedule_that_is_finished_ends_the_training() -> None:
    plateau = Plateau()
    plateau.finished = True  # type: ignore[attr-defined]
    _, history = descend(4.0, 2.0, callbacks=[Schedule(plateau)])
    assert len(history) == 1
    assert history.stopped == "the schedule is finished"


class Mean(nn.Module):
    """An average of weights with PyTorch's protocol."""

    def __init__(self) -> None:
        self.w, self.n = np.zeros(1), np.zeros(1)

    def update_parameters(self, model: Any) -> None:
        self.w, self.n = (self.w * self.n + model.w.data) / (self.n + 1), self.n + 1


@pytest.mark.parametrize(("each", "start"), [("step", 1), ("epoch", 1), ("epoch", 3)])
def test_an_average_of_the_weights_goes_on_too(each: Any, start: int, tmp_path: Path) -> None:
    path, losses = tmp_path / "x.safetensors", (1.0,) * 4
    mean = Mean()
    descend(*losses, epochs=3, callbacks=[Average(mean, each, start), Checkpoint(path)])
    mean = Mean()
    descend(*losses, resume=path, callbacks=[Average(mean, each, start)])
    assert mean.w == np.mean([1.0, 2.0, 3.0, 4.0][start - 1 :])
    with pytest.raises(TypeError, match="update_parameters"):
        Average(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="each='batch'"):
        Average(mean, each="batch")  # type: ignore[arg-type]


# Logs.


def test_a_log_is_the_history_as_a_table_and_as_json(tmp_path: Path) -> None:
    table, objects = tmp_path / "log.csv", tmp_path / "log.json"
    model = nn.Linear(2, 2, rng=0)
    history = fit(
        *(model, (X, Y), F.cross_entropy, optim.SGD(model.parameters(), lr=0.1)),
        epochs=3,
        validation={"all": (X, Y), "few": (X[:5], Y[:5])},
        metric=[accuracy, confusion_matrix],
        callbacks=[Log(table), Log(objects)],
    )
    rows = table_in(table)
    assert [float(row["few_loss"]) for row in rows] == history.column("few_loss")
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    read = json.loads(objects.read_text())
    assert [row["loss"] for row in read] == history.column("loss")
    np.testing.assert_array_equal(
        read[2]["few_confusion_matrix"], history.column("few_confusion_matrix")[2]
    )


def test_a_log_of_a_training_that_went_on_is_whole(tmp_path: Path) -> None:
    path, log = tmp_path / "x.safetensors", tmp_path / "log.csv"
    descend(1.0, 2.0, epochs=1, callbacks=[Checkpoint(path), Log(log)])
    log.unlink()
    descend(1.0, 2.0, resume=path, callbacks=[Log(log)])
    assert [row["validation_loss"] for row in table_in(log)] == ["1.0", "2.0"]


def test_a_log_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    descend(np.inf, callbacks=[Log(log)])
    assert json.loads(log.read_text())[0]["validation_loss"] is None


def test_a_log_that_cannot_be_written_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\*.csv or \*.json, not .*log.txt"):
        Log(tmp_path / "log.txt")
    told = Told()
    with pytest.raises(OSError, match="there is no folder"):
        descend(1.0, callbacks=[told, Log(tmp_path / "none" / "log.csv")])
    assert told.calls == ["start", "end"]


def test_gradient_norms_are_the_means_over_the_steps_of_an_epoch() -> None:
    model = nn.Linear(2, 2, rng=0)
    norms: list[list[float]] = []

    class Steps(Callback):
        def on_step(self, run: Run) -> None:
            norms.append([float(np.linalg.norm(p.grad)) for p in run.model.parameters()])

    history = fit(
        *(model, data.DataLoader(X, Y, batch_size=35), F.cross_entropy),
        *(optim.SGD(model.parameters(), lr=0.1),),
        epochs=2,
        callbacks=[Steps(), GradientNorms(parameters=True)],
    )
    for n, row in enumerate(line.row() for line in history):
        each = np.array(norms[2 * n : 2 * n + 2])
        assert row["gradient_norm"] == pytest.approx(np.mean(np.hypot(*each.T)))
        assert row["gradient_norm/weight"] == pytest.approx(each[:, 0].mean())
        assert row["gradient_norm/bias"] == pytest.approx(each[:, 1].mean())


class Writer:
    """What is asked of tensorboardX's SummaryWriter."""

    scalars: list[tuple[str, float, int]] = []

    def __init__(self, logdir: str) -> None:
        self.scalars.clear()

    def add_scalar(self, tag: str, x: float, step: int) -> None:
        self.scalars.append((tag, x, step))

    def flush(self) -> None: ...

    def close(self) -> None:
        self.scalars.append(("closed", 0.0, 0))


def test_tensorboard_gets_every_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = type(sys)("tensorboardX")
    fake.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    with pytest.raises(ValueError, match="every=0"):
        TensorBoard(tmp_path, every=0)
    descend(2.0, 1.0, callbacks=[TensorBoard(tmp_path, every=1)])
    tags = [(tag, x, n) for tag, x, n in Writer.scalars if tag != "seconds"]
    assert tags == [
        ("step_loss", 0.0, 1),
        ("loss", 0.0, 1),
        ("validation_loss", 2.0, 1),
        ("step_loss", -1.0, 2),
        ("loss", -1.0, 2),
        ("validation_loss", 1.0, 2),
        ("closed", 0.0, 0),
    ]


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    descend(2.0, 1.0, callbacks=[TensorBoard(tmp_path)])
    (file,) = tmp_path.iterdir()
    assert b"validation_loss" in file.read_bytes()


def test_without_tensorboardx_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'tensorgrad-engine\[logging\]'"):
        TensorBoard("runs")


def test_a_sparkline_is_higher_where_the_numbers_are() -> None:
    line = sparkline([1.0, 3.0, 2.0, 5.0, np.nan])
    assert line == "▁▅▃█ "
    assert all(a <= b for a, b in pairwise(sparkline(np.linspace(0, 1, 20))))
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([]) == sparkline([np.inf]).strip() == ""


# Validation.


def classified(**options: Any) -> History:
    model = nn.Linear(2, 2, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    return fit(
        *(model, [(X, Y)], F.cross_entropy, optimizer),
        **{"epochs": 2, "validation": (X, Y)} | options,
    )


def test_batches_measure_what_all_examples_at_once_do() -> None:
    expected = classified(metric=[accuracy, f1])
    loader = data.DataLoader(X, Y, batch_size=8, shuffle=True)
    for options in (
        {"validation_batch_size": 1},
        {"validation_batch_size": 32},
        {"validation": loader},
        {"validation": [(X[:3], Y[:3]), (X[3:], Y[3:])]},
        {"validation": ((X[:3], Y[:3]), (X[3:], Y[3:]))},
        {"validation": [X, Y]},
        {"validation": [X.tolist(), Y.tolist()]},
    ):
        for line, same in zip(classified(metric=[accuracy, f1], **options), expected, strict=True):
            assert line.validation_loss == pytest.approx(same.validation_loss, rel=1e-6)
            assert line.accuracy == same.accuracy
            assert line.measures["f1"] == same.measures["f1"]


def test_the_try_before_training_draws_nothing() -> None:
    loader = data.DataLoader(X, Y, shuffle=True)
    before = loader.state_dict()
    classified(validation=loader, epochs=0)
    assert loader.state_dict() == before


def test_the_model_sees_no_more_than_a_batch() -> None:
    class Sizes(nn.Linear):
        seen: list[int] = []

        def forward(self, x: Any) -> Any:
            if not self.training:
                self.seen.append(len(x))
            return super().forward(x)

    model = Sizes(2, 2, rng=0)
    fit(
        *(model, [(X, Y)], F.cross_entropy, optim.SGD(model.parameters())),
        epochs=1,
        validation=(X, Y),
        validation_batch_size=30,
    )
    assert model.seen == [2, 30, 30, 10]


def test_several_validation_sets_go_by_their_names() -> None:
    sets = {"clean": (X, Y), "few": [(X[:9], Y[:9])]}
    history = classified(validation=sets, metric=["accuracy", "f1"])
    line = history[-1]
    assert [*line.measures] == [
        *("clean_loss", "clean_accuracy", "clean_f1"),
        *("few_loss", "few_accuracy", "few_f1"),
    ]
    assert line.validation_loss == line.measures["clean_loss"]
    assert line.accuracy == line.measures["clean_accuracy"]
    (few,) = classified(validation=(X[:9], Y[:9]), epochs=1)
    assert history[0].measures["few_loss"] == pytest.approx(few.validation_loss, rel=1e-6)


def test_a_metric_goes_by_its_name_or_one_that_is_given() -> None:
    assert [*classified(metric=f1)[0].measures] == ["f1"]
    assert [*classified(metric=lambda a, y: 1.0)[0].measures] == ["metric"]
    by_name = classified(metric={"mine": lambda a, y: 0.5, "f": "f1"})
    assert [*by_name[0].measures] == ["mine", "f"]
    assert by_name[0].accuracy == 0.5
    assert classified()[0].measures == {}  # accuracy has a field
    line = classified(metric=confusion_matrix)[0]
    assert line.accuracy is None
    assert line.measures["confusion_matrix"].sum() == 70


REFUSED: list[tuple[dict[str, Any], Any, str]] = [
    ({"metric": "f2"}, ValueError, "no metric 'f2', but accuracy, top_k"),
    ({"metric": 3}, TypeError, "a metric is a function"),
    ({"metric": [lambda a, y: 0.0, lambda a, y: 0.0]}, ValueError, "two metrics have one name"),
    ({"metric": "top_k_accuracy"}, ValueError, "k=5, of 2 classes"),
    ({"validation": iter([(X, Y)])}, ValueError, "list_iterator ends with its first epoch"),
    ({"validation": []}, ValueError, "validation: no batches"),
    ({"validation": 3}, TypeError, r"needs a pair \(x, y\) or batches, not int"),
    ({"validation": {"far": (X[:, :1], Y)}}, ValueError, "far: "),
    ({"validation": {"far": (X, Y[1:])}}, ValueError, "far: each needs a row"),
    ({"validation": {1: (X, Y)}}, TypeError, "names that are strings"),
    ({"validation": (X[:0], Y[:0])}, ValueError, "no examples"),
    ({"validation": (X, Y + 2)}, ValueError, "2"),
    ({"accumulate": 0}, ValueError, "accumulate=0"),
    ({"epochs": 1.5}, TypeError, "epochs=1.5: must be a whole number"),
    ({"validation_batch_size": 0}, ValueError, "validation_batch_size=0"),
    ({"accumulate": 2, "step": lambda *given: print}, TypeError, "needs a Step"),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED)
def test_what_cannot_be_measured_is_refused_before_training(
    options: Any, error: Any, message: str
) -> None:
    told = Told()
    with pytest.raises(error, match=message):
        classified(callbacks=[told], **options)
    assert told.calls == []


def test_a_name_that_was_not_measured_is_told_with_those_that_were() -> None:
    with pytest.raises(ValueError, match="'f1'; there are epoch, loss, validation_loss, accuracy"):
        classified().column("f1")
    assert History().column("f1") == []
    assert Epoch(1, 0.5, None, None, 0.1).row()["loss"] == 0.5

"""Callbacks of `fit`: ending early, checkpoints, schedules, logs. `Callback`, in `run.py`, is what
they have in common."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from math import sqrt
from os import fspath
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tensorgrad.engine.node import data_of
from tensorgrad.extras import missing, whole
from tensorgrad.files import PathLike, check_writable, write
from tensorgrad.io.checkpoint import bytes_of, save_checkpoint
from tensorgrad.train.history import Epoch, unknown
from tensorgrad.train.run import Callback, Run

Mode = Literal["min", "max"]
SMALL = ("loss", "perplexity", "error", "norm", "seconds")  # the endings of what is to be small
LARGE = ("accuracy", "f1", "r2", "score", "precision", "recall")


class OnEpoch(Callback):
    """A function that is called with each new line of the history."""

    alone = True

    def __init__(self, function: Callable[[Epoch], object]) -> None:
        self.function = function

    def on_epoch(self, run: Run) -> None:
        self.function(run.history[-1])


class Monitor(Callback):
    """Watches whether the number of the name `monitor` becomes better.

    `mode`: "min" or "max", whether better is less or more; None, the default, knows that of losses,
    errors and perplexities and of accuracies, scores, F1 and R2. An epoch without a number, or with
    NaN, is none that is better.
    """

    def __init__(
        self, monitor: str = "validation_loss", min_delta: float = 0.0, mode: Mode | None = None
    ) -> None:
        if not min_delta >= 0:
            raise ValueError(f"min_delta={min_delta}: must not be negative")
        if mode is None:
            mode = "min" if monitor.endswith(SMALL) else "max" if monitor.endswith(LARGE) else None
        if mode not in ("min", "max"):
            raise ValueError(f"is a better {monitor!r} less or more? mode='min' or mode='max'")
        self.monitor, self.min_delta = monitor, min_delta
        self.sign = 1 if mode == "max" else -1

    def on_start(self, run: Run) -> None:
        known(self.monitor, run)

    def best(self, run: Run) -> int:
        """The index of the best line of the history; -1 before there is one."""
        found, best = -1, -np.inf
        for i, x in enumerate(run.history.column(self.monitor)):
            if x is None or np.ndim(x):
                raise ValueError(f"{self.monitor!r} cannot be monitored: it is {x!r:.60}")
            if self.sign * x > best + self.min_delta:
                found, best = i, self.sign * x
        return found


class EarlyStopping(Monitor):
    """Ends the training where `monitor` has not become better for `patience` epochs.

    Better by more than `min_delta`. `restore_best`: the model is then, and where all epochs were
    trained, as it was after the best epoch (not after Ctrl-C). `mode`: see `Monitor`. ValueError
    before training for a name that is not measured.

    >>> EarlyStopping(patience=2).monitor
    'validation_loss'
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 3,
        min_delta: float = 0.0,
        mode: Mode | None = None,
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.patience, self.restore_best = whole("patience", patience), restore_best
        self.kept: dict[str, Any] | None = None  # the best model's state

    def on_start(self, run: Run) -> None:
        super().on_start(run)
        if not run.history:
            self.kept = None  # of an earlier training
        self._stop(run)

    def on_epoch(self, run: Run) -> None:
        if self.restore_best and self.best(run) == len(run.history) - 1:
            self.kept = run.model.state_dict()
        self._stop(run)

    def _stop(self, run: Run) -> None:
        if run.history and len(run.history) - 1 - self.best(run) >= self.patience:
            run.stop(
                f"{self.monitor} has not become better in {self.patience} epochs, "
                f"the best was epoch {self.best(run) + 1}"
            )

    def on_end(self, run: Run) -> None:
        if self.kept is not None and not run.under_way and not run.history.interrupted:
            run.model.load_state_dict(self.kept)

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.kept = state["kept"]


class Checkpoint(Callback):
    """Writes all that the rest of a training depends on to `path`, after each epoch.

    `monitor`: only after an epoch that is the best so far by it (`mode`: see `Monitor`). `every`:
    also after so many steps, within epochs. A training that ends within an epoch, such as by
    Ctrl-C, is written too. `fit(..., resume=True)` goes on from the file; the model in it is
    `io.load_checkpoint(path)["model"]`, for `load_state_dict`. The file is replaced whole or not at
    all. Before training OSError where it could not be written, TypeError for state that is not made
    of numbers, ImportError without safetensors (extra `io`).
    """

    def __init__(
        self,
        path: PathLike,
        monitor: str | None = None,
        mode: Mode | None = None,
        every: int | None = None,
    ) -> None:
        self.path, self.every = Path(path), None if every is None else whole("every", every)
        self.monitor = None if monitor is None else Monitor(monitor, mode=mode)

    def on_start(self, run: Run) -> None:
        if run.peers.rank == 0:
            check_writable(self.path)
        bytes_of(run.state_dict())  # what could not be saved is found now, not after an epoch
        if self.monitor is not None:
            self.monitor.on_start(run)

    def on_step(self, run: Run) -> None:
        if self.every is not None and run.steps % self.every == 0:
            self.write(run)

    def on_epoch(self, run: Run) -> None:
        best = self.monitor is None or self.monitor.best(run) == len(run.history) - 1
        if run.peers.total(best and run.peers.rank == 0, at="a checkpoint")[0]:
            self.write(run)

    def on_end(self, run: Run) -> None:
        if self.monitor is None and run.under_way and run.history.stopped is not None:
            self.write(run)

    def write(self, run: Run) -> None:
        """Write the file now: the first of several processes does, which all come here."""
        state = run.state_dict()  # they may have to put it together
        if run.peers.rank == 0:
            save_checkpoint(state, self.path)


class Schedule(Callback):
    """Takes a step of a learning rate's schedule after each epoch, or each step of the optimiser.

    `scheduler`: with PyTorch's protocol, `step()` and, for checkpoints, `state_dict()` and
    `load_state_dict()`. Where its `step` needs a number, as that of ReduceLROnPlateau does, it is
    given `monitor`, by default the validation loss if there is one and else the loss. A scheduler
    that is `finished`, as HalvingLR may be, ends the training. The history has the rate of each
    epoch's end, of the first group, as `lr`.
    """

    names = ("lr",)

    def __init__(
        self, scheduler: Any, each: Literal["epoch", "step"] = "epoch", monitor: str | None = None
    ) -> None:
        if isinstance(scheduler, type) or not callable(getattr(scheduler, "step", None)):
            raise TypeError(f"a scheduler has a method step(), not {scheduler!r:.60}")
        if each not in ("epoch", "step"):
            raise ValueError(f"each={each!r}: must be 'epoch' or 'step'")
        if each == "step" and (monitor is not None or needs_number(scheduler.step)):
            raise ValueError("what is monitored is measured once an epoch: each='epoch'")
        self.scheduler, self.each, self.monitor = scheduler, each, monitor

    def on_start(self, run: Run) -> None:
        if getattr(self.scheduler, "optimizer", run.optimizer) is not run.optimizer:
            raise ValueError("the scheduler is of another optimizer than the one given to fit")
        if self.monitor is None and self.each == "epoch" and needs_number(self.scheduler.step):
            self.monitor = "validation_loss" if run.validation else "loss"
        if self.monitor is not None:
            known(self.monitor, run)

    def on_step(self, run: Run) -> None:
        if self.each == "step":
            self.scheduler.step()

    def measure(self, run: Run) -> dict[str, Any]:
        return {"lr": run.optimizer.param_groups[0]["lr"]}

    def on_epoch(self, run: Run) -> None:
        if self.each == "epoch":
            number = [] if self.monitor is None else [run.history[-1].row()[self.monitor]]
            self.scheduler.step(*number)
        if getattr(self.scheduler, "finished", False):
            run.stop("the schedule is finished")

    def state_dict(self) -> dict[str, Any]:
        state: Callable[[], dict[str, Any]] = getattr(self.scheduler, "state_dict", dict)
        return {"scheduler": state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if hasattr(self.scheduler, "load_state_dict"):
            self.scheduler.load_state_dict(state["scheduler"])


class Average(Callback):
    """Updates an average of the weights after each step, or each epoch from number `start` on.

    `averaged`: with PyTorch's protocol, `update_parameters(model)`, such as an AveragedModel. It is
    kept in checkpoints.
    """

    def __init__(
        self, averaged: Any, each: Literal["epoch", "step"] = "step", start: int = 1
    ) -> None:
        if not callable(getattr(averaged, "update_parameters", None)):
            raise TypeError(f"an average has update_parameters(model), not {averaged!r:.60}")
        if each not in ("epoch", "step"):
            raise ValueError(f"each={each!r}: must be 'epoch' or 'step'")
        self.averaged, self.each, self.start = averaged, each, start

    def on_step(self, run: Run) -> None:
        if self.each == "step" and run.epoch >= self.start:
            self.averaged.update_parameters(run.model)

    def on_epoch(self, run: Run) -> None:
        if self.each == "epoch" and run.epoch >= self.start:
            self.averaged.update_parameters(run.model)

    def state_dict(self) -> dict[str, Any]:
        return {"averaged": self.averaged.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.averaged.load_state_dict(state["averaged"])


class Log(Callback):
    """Writes the history to `path` as it grows: a table (.csv) or a list of objects (.json).

    Both are read by pandas. The file always is the whole history, that before a checkpoint too, and
    is replaced whole, at most once a second. ValueError for another ending, OSError before training
    where it could not be written.
    """

    alone = True

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        if self.path.suffix not in (".csv", ".json"):
            raise ValueError(f"a log is named *.csv or *.json, not {fspath(path)}")
        self.written = 0.0

    def on_start(self, run: Run) -> None:
        check_writable(self.path)

    def on_epoch(self, run: Run) -> None:
        if time.monotonic() - self.written > 1:  # of ten thousand short epochs, not each
            self.write(run.history)
            self.written = time.monotonic()

    def on_end(self, run: Run) -> None:
        self.write(run.history)

    def write(self, history: Sequence[Epoch]) -> None:
        """Write the file now."""
        rows = [{k: plain(x) for k, x in line.row().items()} for line in history]
        if self.path.suffix == ".json":
            # JSON has no NaN: what is not finite is null there.
            lines = [json.dumps(row, allow_nan=False) for row in map(finite, rows)]
            write(self.path, "[" + ",\n ".join(lines) + "]\n")
            return
        columns = dict.fromkeys(key for row in rows for key in row)
        text = io.StringIO()
        table = csv.DictWriter(text, columns or Epoch._fields[:5], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write(self.path, text.getvalue())


class TensorBoard(Callback):
    """Writes what is measured for TensorBoard, into a folder, by tensorboardX (extra `logging`).

    Numbers of an epoch under their names, at the number of the epoch; `every`: also the loss of
    each so many steps, as `step_loss`. ImportError, at once, where tensorboardX is missing.
    """

    alone = True

    def __init__(self, folder: PathLike, every: int | None = None) -> None:
        try:
            import tensorboardX
        except ImportError:
            raise missing("logs for TensorBoard need tensorboardX", "logging") from None
        self.folder, self.make = fspath(folder), tensorboardX.SummaryWriter
        self.every = None if every is None else whole("every", every)

    def on_start(self, run: Run) -> None:
        self.writer = self.make(self.folder)

    def on_step(self, run: Run) -> None:
        if self.every is not None and run.steps % self.every == 0:
            self.writer.add_scalar("step_loss", run.last_loss, run.steps)

    def on_epoch(self, run: Run) -> None:
        for name, x in run.history[-1].row().items():
            if name != "epoch" and x is not None and np.ndim(x) == 0:
                self.writer.add_scalar(name, float(x), run.epoch)
        self.writer.flush()

    def on_end(self, run: Run) -> None:
        self.writer.close()


class GradientNorms(Callback):
    """Measures how long the gradient is: the mean over the epoch's steps, as `gradient_norm`.

    That of a step is the root of the sum of the squares of all its entries. `parameters`: also that
    of each parameter, as `gradient_norm/layers.0.weight`.
    """

    names: Sequence[str] = ("gradient_norm",)

    def __init__(self, parameters: bool = False) -> None:
        self.parameters = parameters
        self.sums: dict[str, float] = {}
        self.steps = 0

    def on_start(self, run: Run) -> None:
        if not run.under_way:
            self.sums, self.steps = {}, 0
        if self.parameters:
            own = [f"gradient_norm/{name}" for name, _ in run.model.named_parameters()]
            self.names = ["gradient_norm", *own]

    def on_step(self, run: Run) -> None:
        whole = 0.0
        for name, p in run.model.named_parameters():
            if p.node.grad is None:
                continue
            square = float(np.sum(np.abs(data_of(p.node.grad)) ** 2, dtype=np.float64))
            whole += square
            if self.parameters:
                key = f"gradient_norm/{name}"
                self.sums[key] = self.sums.get(key, 0.0) + sqrt(square)
        self.sums["gradient_norm"] = self.sums.get("gradient_norm", 0.0) + sqrt(whole)
        self.steps += 1

    def measure(self, run: Run) -> dict[str, float]:
        found = {name: self.sums[name] / self.steps for name in self.names if name in self.sums}
        self.sums, self.steps = {}, 0
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.sums, self.steps = dict(state["sums"]), state["steps"]


def known(name: str, run: Run) -> None:
    """ValueError, with the names that there are, unless it is measured."""
    if name not in run.names:
        raise ValueError(unknown(name, run.names))


def needs_number(step: Callable[..., Any]) -> bool:
    """Whether a method cannot be called without an argument."""
    return any(
        p.default is p.empty and p.kind in (Parameter.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in signature(step).parameters.values()
    )


def plain(x: Any) -> Any:
    """A measure as JSON knows it."""
    return x.tolist() if isinstance(x, (np.ndarray, np.generic)) else x


def finite(x: Any) -> Any:
    """`x` with None in place of what is not finite."""
    if isinstance(x, dict):
        return {key: finite(part) for key, part in x.items()}
    if isinstance(x, list):
        return [finite(part) for part in x]
    return None if isinstance(x, float) and not np.isfinite(x) else x

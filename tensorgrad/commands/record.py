"""What is kept of a training: the best model, what it was trained by, what a report tells."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad import io, nn
from tensorgrad.commands.choices import misuse
from tensorgrad.commands.models import calibrated
from tensorgrad.commands.sources import DIGITS, Source
from tensorgrad.train import Callback, Epoch, History, Run
from tensorgrad.train.callbacks import Monitor

if TYPE_CHECKING:
    from tensorgrad.viz import figures
    from tensorgrad.viz.page import Page


def metadata(source: Source, cost: str) -> dict[str, str]:
    """What `tensorgrad predict` asks of a model's file."""
    return {
        "data": source.name,
        "layout": source.layout,
        "shape": json.dumps(source.shape),
        "classes": json.dumps([*source.classes]),
        "cost": cost,
    }


class Keep(Monitor):
    """Writes the model, calibrated, after each epoch that is the best so far; says how each was.

    `validation`: the rows and classes that the best is told by. Of epochs with the same accuracy
    the best has the least cost. Its state in a checkpoint is what the training was told.
    """

    alone = True

    def __init__(
        self,
        model: nn.Sequential,
        validation: tuple[Any, Any],
        out: Path,
        metadata: Mapping[str, str],
        settings: Mapping[str, Any],
        epochs: int,
    ) -> None:
        super().__init__("accuracy")
        self.model, self.validation = model, validation
        self.out, self.metadata = out, metadata
        self.settings, self.epochs = settings, epochs
        self.at = 0  # the epoch of the best

    def on_start(self, run: Run) -> None:
        super().on_start(run)
        self.at = 1 + self.best(run) if self.out.exists() else 0

    def best(self, run: Run) -> int:
        scores = [(line.accuracy, -(line.validation_loss or 0.0)) for line in run.history]
        return scores.index(max(scores)) if scores else -1

    def on_epoch(self, run: Run) -> None:
        line = run.history[-1]
        if not self.at or self.best(run) == len(run.history) - 1:
            self.write(line)
        scores = (
            f"validation {percent(line.accuracy)}  test {percent(line.measures['test_accuracy'])}"
            if "test_accuracy" in line.measures
            else f"accuracy {percent(line.accuracy)}"
        )
        print(
            f"epoch {line.epoch:{len(str(self.epochs))}}/{self.epochs}"
            f"  {scores}  loss {line.loss:.4f}",
            flush=True,
        )

    def on_end(self, run: Run) -> None:
        if run.history and not self.at and not run.under_way:  # it is gone, and no epoch is left
            self.write(run.history[-1])

    def write(self, line: Epoch) -> None:
        found = {"epoch": str(line.epoch), "accuracy": str(line.accuracy)}
        model = calibrated(self.model, *self.validation)
        io.save(model, self.out, {**self.metadata, **found})
        self.at = line.epoch

    def state_dict(self) -> dict[str, Any]:
        return {"settings": dict(self.settings)}

    def kept(self) -> str:
        """What is in the file of this training, if anything."""
        return f"{self.out} holds the model of epoch {self.at}" if self.at else ""

    def say(self, history: History, held_back: int) -> None:
        """How it went, and what to do next."""
        best, last = history[self.at - 1], history[-1]
        if history.stopped:
            print(f"stopped: {history.stopped}")
        print(
            f"trained in {last.seconds:.1f} s; read a picture with: "
            f"tensorgrad predict {self.out} IMAGE"
        )
        of = f"{held_back:,} validation images" if held_back else "the test images"
        if held_back:
            tests = [percent(line.measures["test_accuracy"]) for line in (best, last)]
            print(
                f"best validation accuracy {percent(best.accuracy)}, final "
                f"{percent(last.accuracy)}; test accuracy then {tests[0]}, final {tests[1]}"
            )
        else:
            print(f"best test accuracy {percent(best.accuracy)}, final {percent(last.accuracy)}")
        print(f"model of epoch {self.at} (the best on {of}): {self.out}")

    def say_interrupted(self, history: History) -> None:
        if not self.at:
            said = "interrupted before the end of an epoch: no model yet; --resume goes on"
            print(said, file=sys.stderr)
            return
        best = history[self.at - 1]
        which = "validation" if "test_accuracy" in best.measures else "test"
        print(
            f"interrupted; best {which} accuracy {percent(best.accuracy)}, model of epoch "
            f"{self.at}: {self.out}; --resume goes on"
        )


def percent(accuracy: float | None) -> str:
    return f"{100 * (accuracy or 0.0):5.2f} %"


def check_resumes(path: Path, settings: Mapping[str, Any]) -> None:
    """A misuse where the checkpoint at `path` is of a training with other settings."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path} to go on from: train without --resume first")
    state = io.load_checkpoint(path)
    try:
        before = state["callbacks"]["Keep"]["settings"]
    except (KeyError, TypeError):
        raise ValueError(f"{path} was not written by tensorgrad train") from None
    others = [
        f"{name} was {before.get(name)}, not {value}"
        for name, value in settings.items()
        if before.get(name) != value
    ]
    if others:
        said = f"the training of {path} had other settings: {'; '.join(others)}"
        raise misuse("--resume", said)


def try_report() -> None:
    """ImportError if what the page needs is missing: now, not after the training."""
    from tensorgrad.viz.report.report import report

    report([], nn.Linear(64, 10), validation=(np.zeros((1, 64)), np.zeros(1, int)))


class Watch(Callback):
    """What a report tells besides the history, after each epoch: the gradient on the first 1,000
    training images, as in Nielsen's fifth chapter."""

    alone = True
    norms: figures.GradientNorms

    def __init__(
        self, model: nn.Sequential, loss: Callable[[Any, Any], Any], x: Any, y: Any
    ) -> None:
        self.model, self.loss, self.some = model, loss, (x[:1000], y[:1000])
        self.begun = 0  # the epoch that it began with: a training that goes on has more

    def on_epoch(self, run: Run) -> None:
        from tensorgrad.viz import figures

        line = run.history[-1]
        if self.begun:
            self.norms(line)
        else:
            self.begun = line.epoch
            self.norms = figures.GradientNorms(self.model, self.loss, *self.some, epoch=line.epoch)

    def page(
        self,
        history: list[Epoch],
        model: Any,
        validation: tuple[Any, Any],
        source: Source,
        settings: Mapping[str, Any],
    ) -> Page:
        """The page, of the epochs that were watched."""
        from tensorgrad.viz.report.report import report

        x, y = validation
        names = {"classes": ", ".join(f"{i} {name}" for i, name in enumerate(source.classes))}
        channels, height, width = source.shape
        return report(
            history[self.begun - 1 :] if self.begun else history,
            model.eval(),
            validation=(x, y.argmax(axis=1)),
            gradients=self.norms if self.begun else None,
            graph=self.loss(self.model(x[:1]), y[:1]),
            settings={**settings, **(names if source.classes != DIGITS else {})},
            shape=(channels * height, width),
            title=f"Reading {source.name}",
        )

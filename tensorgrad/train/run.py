"""Run: a training under way. What callbacks see, what a checkpoint keeps, and the loop itself."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from operator import length_hint
from typing import Any

import numpy as np

from tensorgrad.amp import GradScaler
from tensorgrad.engine.node import data_of
from tensorgrad.nn.module import Module, in_mode
from tensorgrad.optim import Optimizer
from tensorgrad.random import default, generators_of
from tensorgrad.train.batches import groups, rows
from tensorgrad.train.history import Epoch, History
from tensorgrad.train.interrupt import Interrupts
from tensorgrad.train.progress import progress_bar
from tensorgrad.train.step import ALONE, Alone
from tensorgrad.value import no_grad


class Callback:
    """What is told of a training and may end it by `run.stop(reason)`. Override what you need.

    The methods are called in the order of the callbacks; those of `Checkpoint`, which keeps what
    the others remember, last.

    >>> class Every(Callback):
    ...     def on_epoch(self, run):
    ...         print(f"epoch {run.epoch}: {run.history[-1].loss:.3f}")
    """

    names: Sequence[str] = ()
    """The names of what `measure` gives."""

    alone = False
    """Whether one is enough where several processes train together: it writes a file, say."""

    def on_start(self, run: Run) -> None:
        """Before training: the place to refuse what cannot be done."""

    def on_step(self, run: Run) -> None:
        """After each step; the gradients are still there."""

    def measure(self, run: Run) -> Mapping[str, Any]:
        """More for the line of the epoch that has just ended, by name."""
        return {}

    def on_epoch(self, run: Run) -> None:
        """After each epoch; `run.history[-1]` is its line."""

    def on_end(self, run: Run) -> None:
        """After the training, however it ended, and if by an error."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint is to keep: dicts, lists, arrays, numbers and strings."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""


class Run:
    """A training under way, as callbacks see it.

    `model`, `loss`, `optimizer`, `step`: what is trained. `epochs`: how many are to be.
    `history`: the lines so far. `epoch`: the number of the one under way, from 1; `batch`: the
    batches of it that were seen; `steps`: all steps so far, but those that a scaler skipped;
    `last_loss`: of the last one. `scaler`: that of a step in mixed precision, or None.
    `stop(reason)` ends the training after this step, or epoch.
    """

    def __init__(
        self,
        model: Module,
        batches: Any,
        loss: Callable[..., Any],
        optimizer: Optimizer,
        step: Callable[..., Any],
        *,
        epochs: int,
        validation: Mapping[str, Any],
        metrics: Mapping[str, Callable[..., Any]],
        callbacks: Sequence[Callback],
        accumulate: int = 1,
        compiled: Callable[..., Any] | None = None,
    ) -> None:
        self.model, self.batches, self.loss, self.optimizer = model, batches, loss, optimizer
        self.step, self.epochs, self.accumulate = step, epochs, accumulate
        self.peers: Alone = getattr(step, "peers", ALONE)
        self.scaler: GradScaler | None = getattr(step, "scaler", None)
        self.compiled = compiled  # the step, if it was
        self.validation, self.metrics, self.callbacks = validation, metrics, callbacks
        self.history = History()
        self.epoch = 1
        self.batch = self.steps = self.examples = 0
        self.total = 0.0  # of the losses of the epoch's examples
        self.last_loss = float("nan")
        self.under_way = False  # within an epoch
        self.whole = True  # not within a step
        self.started = time.perf_counter()

    @property
    def names(self) -> list[str]:
        """What is measured: the names that a callback may monitor."""
        found = ["loss", "seconds"]
        for i, name in enumerate(self.validation):
            found += ["validation_loss", *(["accuracy"] if self.metrics else [])] if not i else []
            prefix = "" if name == "validation" else f"{name}_"
            found += [f"{name}_loss", *(prefix + metric for metric in self.metrics)]
        found += ["loss_scale", "skipped"] if self.scaler else []
        found += [name for callback in self.callbacks for name in callback.names]
        return [*dict.fromkeys(found)]

    def stop(self, reason: str) -> None:
        """End the training after this step, or epoch; `history.stopped` will be the reason."""
        self.history.stopped = reason

    # The loop.

    def go(self, progress: bool) -> History:
        """Train, from wherever this run is, to the end."""
        self.peers.compare(self.described())
        n = length_hint(self.batches, 0)
        done = len(self.history) * n + self.batch
        progress = progress and self.peers.rank == 0
        begun = []
        with (
            Interrupts(always=self.peers.size > 1) as interrupts,
            progress_bar(self.epochs, n or None, progress, done) as advance,
        ):
            try:
                for callback in self.callbacks:
                    callback.on_start(self)
                    begun.append(callback)
                while len(self.history) < self.epochs and self.history.stopped is None:
                    self.one_epoch(interrupts, advance)
            except KeyboardInterrupt:
                if not self.whole:  # some parameters may have changed, others not
                    raise
                if self.peers.size > 1 and not interrupts.agreed:
                    raise
                interrupts.held = interrupts.pressed = False
                self.history.interrupted = True
                self.stop(f"{interrupts.name} in epoch {self.epoch}, after batch {self.batch}")
            finally:
                for callback in begun:
                    callback.on_end(self)
        if self.history.interrupted and progress and sys.stderr.isatty():
            print(f"{self.history.stopped}: the model is as it was then", file=sys.stderr)
        return self.history

    def one_epoch(self, interrupts: Interrupts, advance: Callable[..., None]) -> None:
        """Train until the epoch is over, or stopped; measure, and write a line of the history."""
        self.epoch = len(self.history) + 1
        take = self.compiled or self.step
        if self.accumulate > 1:
            take = self.step.accumulate  # type: ignore[attr-defined]
        watching = overridden(self.callbacks, "on_step")
        shown = self.batch
        for group in groups(self.batches, self.accumulate):
            self.under_way = True
            sizes = [self.size(batch) for batch in group]
            if self.peers.size > 1:  # one rank's part may be empty
                sizes = [round(self.peers.total(sum(sizes), at="a batch")[0])]
            if not all(sizes):
                raise ValueError(f"batch {self.batch + 1} of epoch {self.epoch} has no examples")
            size = sum(sizes)
            interrupts.held, self.whole = True, False
            skipped = self.skipped()
            try:
                value = (take(*group[0]) if self.accumulate == 1 else take(group)).item()
            except FloatingPointError as error:
                raise FloatingPointError(f"{self.where()}: {error}") from error
            taken = self.skipped() == skipped
            if taken and not isfinite(value):  # of a step that has not looked itself
                raise FloatingPointError(
                    f"{self.where()}: the loss is {value}, and the step has changed the parameters"
                )
            self.whole = True
            self.batch += len(group)
            if taken:
                self.steps += 1
                self.total += size * value
                self.examples += size
                self.last_loss = value
                for on_step in watching:
                    on_step(self)
            self.agree(interrupts, "the end of a step")
            interrupts.release()
            if self.history.stopped is not None:
                return
            if self.batch - shown >= 64:
                advance(self.batch - shown, self.mean(), self.history)
                shown = self.batch
        if not self.batch:
            raise ValueError(
                f"epoch {self.epoch} has no batches: pass what can be iterated anew each time and "
                "is not empty, such as a list or a data.DataLoader"
            )
        advance(self.batch - shown, self.mean(), self.history)
        found = self.validated()
        interrupts.held = True
        line = self.line(*found)
        self.history.append(line)
        self.under_way = False
        self.batch, self.total, self.examples = 0, 0.0, 0
        for on_epoch in overridden(self.callbacks, "on_epoch"):
            on_epoch(self)
        self.agree(interrupts, "the end of an epoch")
        interrupts.release()

    def described(self) -> dict[str, str]:
        """What several processes are to have alike, in words."""
        return {
            "the number of epochs": f"{self.epochs}",
            "accumulate": f"{self.accumulate}",
            "what came before, of a checkpoint,": f"{self.steps} steps",
            "callbacks": ", ".join(type(c).__name__ for c in self.callbacks if not c.alone)
            or "none",
            "validation": ", ".join(self.validation) or "none",
        }

    def skipped(self) -> int:
        """How many steps were skipped so far, for a gradient that overflowed."""
        return 0 if self.scaler is None else int(self.scaler.skipped)

    def mean(self) -> float:
        """The mean loss of the epoch's examples so far; NaN if all steps were skipped."""
        return self.total / self.examples if self.examples else float("nan")

    def agree(self, interrupts: Interrupts, at: str) -> None:
        """What ends the training in one process, a Ctrl-C or a callback, ends it in all."""
        if self.peers.size == 1:
            return
        stopped = self.history.stopped is not None
        pressed, stops = self.peers.total(interrupts.pressed, stopped, at=at)
        interrupts.pressed = interrupts.agreed = pressed > 0
        if stops and not stopped:
            self.stop("another rank ended it")

    def size(self, batch: Any) -> int:
        """How many examples there are in it."""
        if not isinstance(batch, (tuple, list)):
            raise TypeError(
                f"a batch is a tuple (x, y), not {type(batch).__name__}: fit(model, (x, y)) takes "
                "arrays, a loader's collate_fn makes tuples"
            )
        return rows(batch[-1])

    def where(self) -> str:
        return f"epoch {self.epoch}, batch {self.batch + 1}"

    def validated(self) -> tuple[float | None, Any, dict[str, Any]]:
        """Loss and first metric on the first validation set, and all measures by name."""
        validation_loss: float | None = None
        score: Any = None
        measures: dict[str, Any] = {}
        with_penalty = getattr(self.step, "with_penalty", None)
        for i, (name, batches) in enumerate(self.validation.items()):
            loss, scores = measured(self.model, batches, self.loss, self.metrics)
            if with_penalty is not None:  # not every step is a Step
                with no_grad():
                    loss = float(data_of(with_penalty(loss)))
            if not i:
                validation_loss, score = loss, next(iter(scores.values()), None)
            if name != "validation":
                measures[f"{name}_loss"] = loss
            prefix = "" if name == "validation" else f"{name}_"
            measures |= {prefix + metric: x for metric, x in scores.items()}
        if measures.get("accuracy") is score:
            measures.pop("accuracy", None)  # has a field of its own
        return validation_loss, score if np.ndim(score) == 0 else None, measures

    def line(self, validation_loss: float | None, score: Any, measures: dict[str, Any]) -> Epoch:
        """The line of the epoch that has ended."""
        for callback in self.callbacks:
            measures |= callback.measure(self)
        if self.scaler is not None:
            measures |= {"loss_scale": self.scaler.get_scale(), "skipped": self.skipped()}
        seconds = time.perf_counter() - self.started
        return Epoch(self.epoch, self.mean(), validation_loss, score, seconds, measures)

    # Its state, for a checkpoint.

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        named = dict(self.model.named_modules())
        source = self.batches
        while hasattr(source, "batches"):  # it only counts them, or takes a part
            source = source.batches
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "classes": {
                "model": type(self.model).__name__,
                "optimizer": type(self.optimizer).__name__,
                "source of batches": type(source).__name__,
            },
            "training": {name: module.training for name, module in named.items()},
            "frozen": [name for name, p in self.model.named_parameters() if not p.requires_grad],
            "generators": {n: rng.bit_generator.state for n, rng in self.generators().items()},
            "batches": self.batches.state_dict()
            | {"position": self.batch if self.under_way else None},
            "callbacks": {n: c.state_dict() for n, c in self.named_callbacks().items()},
            "history": [tuple(line) for line in self.history],
            "epoch": self.epoch,
            "batch": self.batch,
            "steps": self.steps,
            "total": self.total,
            "examples": self.examples,
            "last_loss": self.last_loss,
            "seconds": time.perf_counter() - self.started,
            **({} if self.scaler is None else {"scaler": self.scaler.state_dict()}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a run of the same model, optimiser and batches was.

        ValueError, before anything changes, where they are others.
        """
        if wrong := misfits(state, self.state_dict()):
            raise ValueError(f"the checkpoint does not fit: {'; '.join(wrong)}")
        given = state["callbacks"]
        parts: list[tuple[Any, Any]] = [
            (self.batches, state["batches"]),
            (self.optimizer, state["optimizer"]),
            *((c, given[name]) for name, c in self.named_callbacks().items() if name in given),
        ]
        before = [part.state_dict() for part, _ in parts]
        try:
            for part, its in parts:
                part.load_state_dict(its)
        except Exception as error:
            for (part, _), its in zip(parts, before):
                part.load_state_dict(its)
            raise ValueError(f"the checkpoint does not fit: {error}") from error
        self.model.load_state_dict(state["model"])
        if self.scaler is not None and "scaler" in state:  # not of a training in float32
            self.scaler.load_state_dict(state["scaler"])
        for name, module in self.model.named_modules():
            module.training = state["training"][name]
        for name, p in self.model.named_parameters():
            p.requires_grad = name not in state["frozen"]
        for name, rng in self.generators().items():
            rng.bit_generator.state = state["generators"][name]
        self.history = History(Epoch(*line) for line in state["history"])
        self.under_way = state["batches"]["position"] is not None
        for name in ("epoch", "batch", "steps", "total", "examples", "last_loss"):
            setattr(self, name, state[name])
        self.started = time.perf_counter() - state["seconds"]

    def generators(self) -> dict[str, np.random.Generator]:
        """Everything here that draws, besides the batches."""
        holders: dict[str, Any] = {
            f"model.{name}" if name else "model": module
            for name, module in self.model.named_modules()
        }
        holders |= {"loss": self.loss, "step": self.step, "optimizer": self.optimizer}
        found = {"program": default()}
        for where, holder in holders.items():
            found |= {f"{where}.{name}": rng for name, rng in generators_of(holder).items()}
        return found

    def named_callbacks(self) -> dict[str, Callback]:
        """By the names of their classes; the second of one is `Schedule 2`."""
        found: dict[str, Callback] = {}
        for callback in self.callbacks:
            kind, n = type(callback).__name__, 1
            while (name := kind if n == 1 else f"{kind} {n}") in found:
                n += 1
            found[name] = callback
        return found


def misfits(given: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Where two runs have other models, optimisers or generators, in words."""
    if not isinstance(given, Mapping) or not own.keys() - {"scaler"} <= given.keys():
        return ["it was not written by fit"]
    its, mine = kinds(given), kinds(own)
    return [
        f"{what} is {its.get(what, 'missing')}, not {mine.get(what, 'expected')}"
        for what in its | mine
        if its.get(what) != mine.get(what)
    ]


def kinds(state: Mapping[str, Any]) -> dict[str, str]:
    """What a run's state is made of."""
    return {
        **{f"the {what}": f"a {name}" for what, name in state["classes"].items()},
        **{repr(name): f"{x.dtype} {x.shape}" for name, x in state["model"].items()},
        **{f"the generator {name}": x["bit_generator"] for name, x in state["generators"].items()},
    }


def overridden(callbacks: Sequence[Callback], name: str) -> list[Callable[[Run], object]]:
    """Those methods that do something: a step takes 50 µs, and an empty call a part of one."""
    return [
        getattr(c, name) for c in callbacks if getattr(type(c), name) is not getattr(Callback, name)
    ]


def measured(
    model: Module,
    batches: Any,
    loss: Callable[..., Any],
    metrics: Mapping[str, Callable[..., Any]],
) -> tuple[float, dict[str, Any]]:
    """The loss, the mean over the examples, and the metrics of all answers, in evaluation mode."""
    total, examples = 0.0, 0
    answers: list[Any] = []
    right: list[Any] = []
    with in_mode(model, False), no_grad():
        for *inputs, targets in batches:
            out = data_of(model(*inputs))
            size = rows(targets)
            value = data_of(loss(out, targets))
            total += size * (value.item() if hasattr(value, "item") else value)
            examples += size
            if metrics:  # else the answers need no memory
                answers.append(out)
                right.append(data_of(targets))
    if not examples:
        raise ValueError("the validation data has no examples, or ended with its first epoch")
    if not metrics:
        return total / examples, {}
    all_answers, all_targets = np.concatenate(answers), np.concatenate(right)
    return total / examples, {
        name: metric(all_answers, all_targets) for name, metric in metrics.items()
    }

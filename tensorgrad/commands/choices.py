"""Names on the command line: what there is, is looked up where it lives, and not listed twice.

A name may have settings behind a colon, as Python writes them: `sgd:momentum=0.9`,
`multistep:milestones=[10,20]`.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import typer

from tensorgrad import nn, optim
from tensorgrad.extras import printable
from tensorgrad.nn import activation, functional
from tensorgrad.optim import lr_scheduler
from tensorgrad.optim.optimizer import Optimizer

T = TypeVar("T")


class Cost(NamedTuple):
    """A loss of answers and rows of 0 and 1, and how a network ends that is trained on it."""

    loss: Callable[[Any, Any], Any]
    included: type[nn.Module] | None = None  # the activation that the loss computes itself


COSTS = {
    "quadratic": Cost(functional.quadratic),
    "cross-entropy": Cost(functional.sigmoid_cross_entropy, nn.Sigmoid),
    "softmax": Cost(functional.cross_entropy, nn.Softmax),
    "log-likelihood": Cost(functional.cross_entropy, nn.Softmax),  # the book's name of it
}


def classes(module: Any, kind: type[T]) -> list[type[T]]:
    """The public classes of a kind that a module has."""
    found = [x for name, x in vars(module).items() if name[0] != "_" and isinstance(x, type)]
    return [x for x in found if issubclass(x, kind) and x is not kind]


def required(function: Callable[..., Any]) -> list[str]:
    """The arguments without a default."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]


ACTIVATIONS = {
    cls.__name__.lower(): cls for cls in classes(activation, nn.Module) if not required(cls)
}
OPTIMIZERS = {cls.__name__.lower(): cls for cls in classes(optim, Optimizer)}


def defaults(epochs: int, lr: float) -> dict[str, Any]:
    """What a schedule is given of the settings that it asks for: it ends with the training."""
    return {
        "T_max": epochs,
        "total_steps": epochs + 1,  # the one after the last epoch is taken too
        "T_0": epochs,
        "base_lr": lr / 10,
        "step_size": math.ceil(epochs / 3),
        "gamma": 0.01 ** (1 / epochs),
        "max_lr": lr,
        "mode": "max",  # what is watched is an accuracy
    }


# cosine, step, exponential, halving, plateau, ...: all that numbers describe.
SCHEDULES = {
    re.sub("LR|Annealing|ReduceLROn", "", cls.__name__).lower(): cls
    for cls in classes(lr_scheduler, lr_scheduler.LRScheduler)
    if not {"lr_lambda", "schedulers"} & {*inspect.signature(cls).parameters}
    and cls not in (lr_scheduler.Factor, lr_scheduler.WithMomentum)
}


def misuse(option: str, said: str) -> typer.BadParameter:
    """What to raise where an option does not fit."""
    return typer.BadParameter(said, param_hint=repr(option))


def chosen(option: str, name: str, table: Mapping[str, T], unknown: str = "is not known") -> T:
    """The entry of a table, or the misuse of the option, with names that are like it."""
    if name.lower() in table:
        return table[name.lower()]
    near = difflib.get_close_matches(name.lower(), table, n=3)
    said = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(table)}"
    raise misuse(option, printable(f"{name!r} {unknown}: {said}"))


def with_settings(option: str, text: str, table: Mapping[str, T]) -> tuple[T, dict[str, Any]]:
    """The entry of a table, and the settings behind its name."""
    name, _, settings = text.partition(":")
    entry = chosen(option, name, table)
    try:
        call: Any = ast.parse(f"f({settings})", mode="eval").body
        given = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
        if call.args or None in given:
            raise ValueError
    except (SyntaxError, ValueError, AttributeError, TypeError, MemoryError, RecursionError):
        said = f"{settings!r} is not such as momentum=0.9,nesterov=True"
        raise misuse(option, said) from None
    known = [*inspect.signature(entry).parameters][1:]  # type: ignore[arg-type]
    for setting in given:
        chosen(f"{option} {name}:", setting.lower(), {k.lower(): k for k in known})
    return entry, given


def optimizer(text: str, parameters: Any, lr: float | None) -> Optimizer:
    """The optimiser of that name and settings; `lr` where it takes one and none is among them."""
    cls, settings = with_settings("--optimizer", text, OPTIMIZERS)
    if lr is not None and "lr" not in settings:
        settings["lr"] = lr
    try:
        return cls(parameters, **settings)
    except (TypeError, ValueError) as error:
        raise misuse("--optimizer", str(error)) from None


def schedule(text: str, optimizer: Optimizer, epochs: int) -> Any:
    """The schedule of that name and settings; one that asks how long ends with the last epoch."""
    cls, settings = with_settings("--schedule", text, SCHEDULES)
    usual = defaults(epochs, optimizer.param_groups[0]["lr"])
    try:
        return cls(optimizer, **{k: usual[k] for k in asked(cls)} | settings)
    except (TypeError, ValueError) as error:
        raise misuse("--schedule", str(error)) from None


def asked(cls: type) -> list[str]:
    """Which of the `defaults` a schedule has no good ones of its own for."""
    parameters = inspect.signature(cls).parameters
    watches = [k for k in ("mode",) if k in parameters and parameters[k].default == "min"]
    lasts = [k for k in ("total_steps",) if k in parameters]
    return [k for k in (*required(cls), *watches, *lasts) if k in defaults(1, 1)]


def is_fitted(text: str) -> bool:
    """Whether a schedule depends on how many epochs there are."""
    cls, settings = with_settings("--schedule", text, SCHEDULES)
    few, many = defaults(1, 1), defaults(10, 1)
    return any(few[k] != many[k] for k in asked(cls) if k not in settings)

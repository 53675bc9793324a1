"""fit: the training loop, called. What it is given is checked here; `run.py` has the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensorgrad.data.subsets import with_rows
from tensorgrad.engine.node import data_of
from tensorgrad.engine.sparse import is_sparse
from tensorgrad.engine.strangers import called
from tensorgrad.extras import whole
from tensorgrad.files import PathLike
from tensorgrad.io.checkpoint import load_checkpoint
from tensorgrad.nn.module import Module, in_mode
from tensorgrad.optim import Optimizer
from tensorgrad.train import metrics
from tensorgrad.train.batches import Counted, as_batches, classifies, first_of, validation_sets
from tensorgrad.train.callbacks import Checkpoint, OnEpoch
from tensorgrad.train.history import Epoch, History
from tensorgrad.train.run import Callback, Run, overridden
from tensorgrad.train.step import ALONE, Step
from tensorgrad.value import Value, no_grad

Metric = Callable[..., Any]
NAMED = {
    f.__name__: f
    for f in (
        *(metrics.accuracy, metrics.top_k_accuracy, metrics.f1, metrics.confusion_matrix),
        *(metrics.perplexity, metrics.mean_absolute_error, metrics.r2),
    )
}
"""Those that go by their names, and that are tried before training."""


def predict(model: Callable[..., Any], x: Any, batch_size: int = 10_000) -> Any:
    """The model's answers as one plain array, computed without recording, in batches."""
    x = with_rows(x) if is_sparse(x) else x
    n = x.shape[0] if is_sparse(x) else len(x)
    with no_grad():
        parts = [model(x[i : i + batch_size]) for i in range(0, n, batch_size)]
    return np.concatenate([part.data if isinstance(part, Value) else part for part in parts])


def vote(answers: Any) -> Any:
    """What most of several models say: the class numbers (n,), a plurality vote of them.

    `answers`: (models, n, classes), or a list of arrays (n, classes); each model has a vote, for
    its largest answer. Of classes with as many votes it is the one with the larger sum of answers,
    which should be probabilities for that. ValueError for other shapes, and for NaNs, which a
    model may answer that diverged. Nielsen, ch. 6.

    >>> a, b, c = [[0.9, 0.1]], [[0.4, 0.6]], [[0.4, 0.6]]
    >>> vote([a, b, c]).tolist(), vote([a, b]).tolist()
    ([1], [0])
    """
    try:
        scores = np.array([data_of(a) for a in answers])
    except ValueError:  # of arrays of different shapes
        scores = np.empty(0)
    if scores.ndim != 3 or not scores.size:
        raise ValueError("vote: answers are (models, n, classes), of one shape for each model")
    if np.isnan(scores).any():
        raise ValueError("vote: there are NaNs among the answers")
    classes = np.arange(scores.shape[2])
    votes = (scores.argmax(axis=2)[..., None] == classes).sum(axis=0)
    most = votes == votes.max(axis=1, keepdims=True)
    sums = np.nan_to_num(scores.sum(axis=0))  # logarithms of 0 are more than no vote
    return np.where(most, sums, -np.inf).argmax(axis=1)


def fit(
    model: Module,
    batches: Any,
    loss: Callable[..., Any],
    optimizer: Optimizer,
    *,
    epochs: int,
    validation: Any = None,
    metric: Metric | str | Sequence[Metric | str] | Mapping[str, Metric] | None = "accuracy",
    on_epoch: Callable[[Epoch], object] | None = None,
    callbacks: Sequence[Callback | Callable[[Epoch], object]] = (),
    resume: PathLike | bool = False,
    accumulate: int = 1,
    validation_batch_size: int = 1000,
    progress: bool = True,
    step: Callable[[Module, Callable[..., Any], Optimizer], Callable[..., Any]] = Step,
    compile: bool | str = False,
    precision: Any = None,
) -> History:
    """Train `model` and return the history, one `Epoch` each.

    `batches`: yields (x, y) pairs anew each time it is iterated, such as a `data.DataLoader`; or a
    tuple (x, y) of arrays, lists or DataFrames, a row for each example, drawn 32 at a time.
    `loss`: of (model(x), y), a Value with one element, the mean over the batch. The history has the
    mean over the examples: a smaller last batch counts for less.
    `validation`: (x, y), or batches as above, or several of these by name, to measure the loss and
    `metric` on after each epoch; arrays are taken `validation_batch_size` examples at a time. The
    first examples are tried before training.
    `metric`: a function of (answers, targets), the name of one of `train.metrics`, or several, in a
    list or by name in a dict. "accuracy" alone is measured where answers and targets are classes.
    The first is the history's `accuracy`, all are in its `measures`; of a validation set with a
    name as `name_accuracy`, and its loss as `name_loss`.
    `on_epoch`: called with each new line of the history (print it, stop by raising).
    `callbacks`: more such functions, and `Callback`s: EarlyStopping, Checkpoint, Schedule, Log, ...
    `resume`: the file that a Checkpoint wrote, to go on from; `epochs` counts all, those before
    too. True: the file of the Checkpoint among the callbacks, if there is one yet. Parameters,
    optimiser, generators and the order of the data are as they were: what comes is what would have
    come, bit for bit.
    `accumulate`: so many batches make one step, of their mean loss, in the memory of one.
    `progress`: a bar with loss, accuracy and time left (extra `cli`); only in a terminal.
    `step`: makes the training step of (model, loss, optimizer), such as a subclass of `Step`.
    `compile`: whether it is compiled (`tg.compile`), to take the same steps in less time; or by
    which `backend`, "llvm". No gradients are there afterwards, but for a callback that has an
    `on_step`.

    `precision`: "float16" or "bfloat16", in which the model computes while it learns; parameters,
    gradients, loss and update stay in float32 (`Step`, `tg.amp`). In float16 the history has
    `loss_scale` and `skipped`, how many steps were so far: for callbacks these are none.

    A model that is in evaluation mode is put into training mode; of one that is not, Modules within
    that are, frozen ones, are left so. Ctrl-C ends the training after the step under way, and the
    history so far is returned, `interrupted`; a second one raises KeyboardInterrupt at once.
    FloatingPointError where a loss or gradient is not finite, with epoch and batch and the
    operation and Module that made the first NaN or Inf; the parameters are as before that step
    (`Step.check`). ValueError and TypeError, before training, for arrays of different lengths,
    without examples or of other things than numbers, for an iterator, which ends, for an optimiser
    of other parameters than the model's, for a checkpoint of another model, and for names that are
    monitored but not measured.

    >>> from tensorgrad import data, nn, optim
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> y = (x[:, 0] > x[:, 1]).astype(int)
    >>> model = nn.Linear(2, 2, rng=0)
    >>> batches = data.DataLoader(x, y, batch_size=10, shuffle=True, rng=0)
    >>> history = fit(model, batches, nn.functional.cross_entropy,
    ...               optim.SGD(model.parameters(), lr=1.0), epochs=5, validation=(x, y))
    >>> history[-1].accuracy > 0.9
    True
    """
    check(model, loss, optimizer, epochs)
    accumulate = whole("accumulate", accumulate)
    validation_batch_size = whole("validation_batch_size", validation_batch_size)
    given, batches = batches, as_batches(batches, epochs)
    sets = validation_sets(validation, validation_batch_size)
    take: Callable[..., Any] = step(model, loss, optimizer)
    if precision is not None:
        if not isinstance(take, Step):
            raise TypeError(f"precision={precision!r:.60} needs a Step, not {take!r:.60}")
        take.compute_in(precision)
    peers = getattr(take, "peers", ALONE)
    if batches is not given:  # of arrays
        batches = peers.split(batches)
    elif isinstance(take, Step) and getattr(batches, "ranks", peers).size > peers.size:
        raise ValueError(
            "each process has its part of the batches, and would train a model of its own: "
            "fit(..., step=parallel.data_parallel)"
        )
    if accumulate > 1 and not hasattr(take, "accumulate"):
        raise TypeError(f"accumulate={accumulate} needs a Step, not {take!r:.60}")
    if compile and peers.size > 1:
        if accumulate > 1:
            raise ValueError(f"compile=True with accumulate={accumulate}: choose one of them")
        take.compile, compile = compile, False  # type: ignore[attr-defined]  # in two programs
    ordered = in_order(callbacks, on_epoch)
    run = Run(
        model,
        batches if hasattr(batches, "state_dict") else Counted(batches),
        loss,
        optimizer,
        take,
        epochs=epochs,
        validation=sets,
        metrics=tried(model, loss, sets, metric),
        callbacks=[c for c in ordered if not (c.alone and peers.rank)],
        accumulate=accumulate,
        compiled=compiled(take, accumulate, optimizer, ordered, compile) if compile else None,
    )
    path = first_checkpoint(ordered) if resume is True else resume
    if path:
        resume_from(path, run)
    if not model.training:
        model.train()
    return run.go(progress)


def compiled(
    take: Callable[..., Any],
    accumulate: int,
    optimizer: Optimizer,
    callbacks: Sequence[Callback],
    how: bool | str,
) -> Callable[..., Any]:
    """The training step, compiled; without gradients after it, if no callback looks at each step:
    then none is made that is only added to a parameter."""
    from tensorgrad.compiler import compile

    if accumulate > 1:
        raise ValueError(f"compile=True with accumulate={accumulate}: choose one of them")

    def step(*batch: Any) -> Any:
        loss = take(*batch)
        optimizer.zero_grad()
        return loss

    run = take if overridden(callbacks, "on_step") else step
    backend: Any = "numpy" if how is True else how
    made: Callable[..., Any] = compile(run, backend=backend)
    return made


def check(model: Any, loss: Any, optimizer: Any, epochs: int) -> None:
    """ValueError or TypeError for what cannot be trained, or not by that."""
    whole("epochs", epochs, 0)
    if not isinstance(model, Module):
        theirs = ": tg.interop.from_torch makes one of it" * called(model).startswith("torch.")
        raise TypeError(f"fit trains a Module, not {model!r:.60}{theirs}")
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(
            "a loss is a function of (answers, targets), such as nn.functional.cross_entropy or "
            f"nn.CrossEntropyLoss(), not {loss!r:.60}"
        )
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"an optimizer is such as optim.Adam(model.parameters()), not {optimizer!r:.60}"
        )
    learning = {p.node for p in optimizer.params}
    own = model.parameters()
    if own and not any(p.node in learning for p in own):
        raise ValueError(
            "the optimizer has none of the model's parameters (of an earlier model, it may be): "
            "make it anew, of model.parameters()"
        )


def tried(
    model: Module, loss: Callable[..., Any], sets: Mapping[str, Any], metric: Any
) -> dict[str, Metric]:
    """The metrics by name, after a try of each on the first examples of each validation set."""
    found = metrics_of(metric)
    for name, batches in sets.items():
        *inputs, targets = first_of(name, batches)
        try:
            with in_mode(model, False), no_grad():
                answers = data_of(model(*(x[:2] for x in inputs)))
                loss(answers, targets[:2])
            if metric == "accuracy" and not classifies(answers, targets):
                found = {}
            for f in found.values():
                if f in NAMED.values():
                    f(answers, targets[:2])
        except (ValueError, TypeError) as error:
            if name == "validation":
                raise
            raise type(error)(f"{name}: {error}") from error
    return found


def metrics_of(metric: Any) -> dict[str, Metric]:
    """The metrics by name."""
    if metric is None:
        return {}
    if isinstance(metric, Mapping):
        found = {str(name): named(f) for name, f in metric.items()}
    else:
        each = [named(f) for f in (metric if isinstance(metric, (list, tuple)) else [metric])]
        found = {name_of(f): f for f in each}
        if len(found) < len(each):
            raise ValueError("two metrics have one name: give them names, metric={'top': f, ...}")
    return found


def named(metric: Any) -> Metric:
    if isinstance(metric, str):
        if metric not in NAMED:
            raise ValueError(f"there is no metric {metric!r}, but {', '.join(NAMED)}")
        return NAMED[metric]
    if not callable(metric):
        raise TypeError(f"a metric is a function of (answers, targets), not {metric!r:.60}")
    return metric  # type: ignore[no-any-return]


def name_of(metric: Metric) -> str:
    """That of the function; "metric" for one without."""
    name = str(getattr(metric, "__name__", ""))
    return name if name.isidentifier() else "metric"


def in_order(callbacks: Any, on_epoch: Callable[[Epoch], object] | None) -> list[Callback]:
    """All as Callbacks, checkpoints last: they keep what the others remember."""
    if isinstance(callbacks, Callback) or callable(callbacks):
        raise TypeError(f"callbacks are a list: callbacks=[{callbacks!r:.60}]")
    found: list[Callback] = []
    for c in [*callbacks, *([] if on_epoch is None else [on_epoch])]:
        if isinstance(c, Callback):
            found.append(c)
        elif isinstance(c, type) or hasattr(c, "step") or not callable(c):
            raise TypeError(
                "callbacks are Callbacks such as EarlyStopping(), functions of an Epoch, and "
                f"Schedule(scheduler), not {c!r:.60}"
            )
        else:
            found.append(OnEpoch(c))
    return sorted(found, key=lambda c: isinstance(c, Checkpoint))


def first_checkpoint(callbacks: Sequence[Callback]) -> PathLike | None:
    """The file of the one that is written after each epoch; None where there is no file yet."""
    for c in callbacks:
        if isinstance(c, Checkpoint) and c.monitor is None:
            return c.path if c.path.exists() else None
    raise ValueError("resume=True goes on from the file of a Checkpoint(path) in callbacks")


def resume_from(path: PathLike, run: Run) -> None:
    """Go on where the run was that wrote the file. ValueError, naming it, where it was another."""
    state = load_checkpoint(path)
    try:
        run.load_state_dict(state)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error

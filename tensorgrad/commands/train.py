"""The command `train`: a network learns to tell pictures apart.

What its options name is looked up in `choices.py`, `models.py` and `sources.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from zlib import crc32

import numpy as np
import typer

from tensorgrad import data as datasets
from tensorgrad import io
from tensorgrad.commands import choices, models, record, sources
from tensorgrad.commands.choices import ACTIVATIONS, COSTS, chosen, misuse
from tensorgrad.commands.models import KINDS, Plan
from tensorgrad.nn import init as initialisers
from tensorgrad.optim import Optimizer
from tensorgrad.train import Checkpoint, EarlyStopping, History, Schedule, Step, fit, penalised


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise typer.BadParameter(f"{text!r} is not a list of layer sizes such as 30 or 100,50")
    return sizes


def check_files(out: Path, checkpoint: Path, report: Path | None) -> None:
    """OSError, ImportError or misuse if one of them cannot be written: now, not after training."""
    taken = io.check_writable(out), io.check_writable(checkpoint)
    if report is not None:
        if io.check_writable(report) in taken:
            raise misuse("--report", f"{report} is for the model or its checkpoint (--out)")
        record.try_report()


def scheduled(text: str, optimizer: Optimizer, epochs: int) -> Schedule:
    """The callback, that tells a schedule the accuracy where it asks for one."""
    made = choices.schedule(text, optimizer, epochs)
    asks = "metrics" in choices.required(made.step)
    return Schedule(made, monitor="accuracy" if asks else None)


def fitted(keep: record.Keep, *args: Any, **settings: Any) -> History:
    """What `fit` returns; exit 130 after Ctrl-C, and ValueError for a loss that diverges."""
    try:
        history = fit(*args, **settings)
    except KeyboardInterrupt:
        kept = keep.kept() or "nothing written"
        print(f"interrupted before the end of an epoch: {kept}", file=sys.stderr)
        raise typer.Exit(130) from None
    except FloatingPointError as error:
        kept = "; " * bool(keep.at) + keep.kept()
        raise ValueError(f"{error}: train with a smaller --lr{kept}") from None
    if history.interrupted:
        keep.say_interrupted(history)
        raise typer.Exit(130)
    return history


@np.errstate(all="ignore")  # a loss that diverges is reported below
def train(
    model: Annotated[str, typer.Option(help=f"The network: {', '.join(KINDS)}.")] = "mlp",
    data: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="The images: digits (8x8, bundled), mnist, fashion, kmnist; or a folder with "
            "MNIST's files, with a folder of pictures for each class, or with tables of pixels.",
        ),
    ] = "digits",
    data_dir: Annotated[
        Path | None,
        typer.Option(help="The folder of mnist, fashion or kmnist; else found or downloaded."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Scale pictures of a folder to SIZE x SIZE pixels.")
    ] = None,
    validation: Annotated[
        int | None,
        typer.Option(
            min=0,
            show_default="a sixth of 5,000 or more",
            help="Training images held back, to tell the best epoch by; 0: by the test images.",
        ),
    ] = None,
    hidden: Annotated[
        Any,
        typer.Option(
            parser=_sizes,
            metavar="SIZES",
            show_default="30; conv 100, lstm 128, gonn 200",
            help="Hidden neurons, by layer: 100,50.",
        ),
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(
            show_default="sigmoid; conv relu",
            help="Of the hidden neurons: sigmoid, tanh, relu, or another of tensorgrad.nn.",
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            show_default="normal, lecun or he, as fits",
            help=f"How weights begin: {', '.join(initialisers.by_name)}.",
        ),
    ] = None,
    bias: Annotated[
        bool | None, typer.Option(show_default="bias; gonn none", help="Whether neurons have any.")
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            show_default="quadratic; conv and lstm softmax",
            help=f"What training makes small: {', '.join(COSTS)}.",
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            show_default="sgd; conv and lstm adam",
            help="A class of tensorgrad.optim, with settings: sgd:momentum=0.9.",
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            min=0, show_default="3.0 for quadratic and sigmoid", help="Learning rate, Nielsen's η."
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="What the rate does, by epochs: halving (the book's), cosine, step, exponential, "
            "plateau, ..., with settings: step:step_size=5,gamma=0.1."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, show_default="30; conv and lstm 10, gonn 5", help="Passes over the images."
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, show_default="10; conv and lstm 32, gonn 1", help="Images per step."),
    ] = None,
    early_stop: Annotated[
        int | None, typer.Option(min=1, help="End after so many epochs without a better one.")
    ] = None,
    l1: Annotated[float, typer.Option(min=0, help="L1 penalty, Nielsen's λ.")] = 0.0,
    l2: Annotated[float, typer.Option(min=0, help="Weight decay, Nielsen's λ.")] = 0.0,
    expand: Annotated[
        bool, typer.Option("--expand", help="Move each image by up to a pixel, anew each epoch.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same result.")] = 7,
    out: Annotated[Path, typer.Option(help="The file for the model.")] = Path("model.safetensors"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a training to OUT was, bit for bit.")
    ] = False,
    parallel: Annotated[
        bool,
        typer.Option("--parallel", help="On many processes: mpiexec -n 4 tensorgrad train ..."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="PAGE.html", help="The file for a page about the run, with pictures."),
    ] = None,
) -> None:
    """Train a network to read digits, or to tell your pictures apart.

    The defaults are Nielsen's first network. After each epoch that is the best so far, on images
    that were held back or else on the test images, the model is written to OUT; OUT.checkpoint
    has what --resume goes on from.
    """
    kind = chosen("--model", model, KINDS)
    if kind.layers is models.lstm and activation is not None:
        raise misuse("--activation", "an LSTM has its own")
    cost, activation = (cost or kind.cost).lower(), (activation or kind.activation).lower()
    optimizer, hidden = optimizer or kind.optimizer, hidden or kind.hidden
    epochs, bias = epochs or kind.epochs, kind.bias if bias is None else bias
    batch_size = batch_size or kind.batch_size
    ending = chosen("--cost", cost, COSTS)
    neuron = chosen("--activation", activation, ACTIVATIONS)
    init = init.lower() if init else models.initialiser(kind, cost, activation)
    if init is not None:
        chosen("--init", init, initialisers.by_name)
    choices.with_settings("--optimizer", optimizer, choices.OPTIMIZERS)
    if schedule is not None:
        choices.with_settings("--schedule", schedule, choices.SCHEDULES)
    last = out.with_name(f"{out.name}.checkpoint")
    check_files(out, last, report)

    source = sources.load(data, data_dir, size)
    images = sources.split(source.images, validation)
    rng = np.random.default_rng(seed)
    plan = Plan(source.shape, hidden, len(source.classes), neuron, bias)
    body, network = models.build(kind, plan, ending, init, rng)
    rate = models.rate(kind, optimizer, cost, activation) if lr is None else lr
    descent = choices.optimizer(optimizer, body.parameters(), rate)
    settings = {
        "model": model.lower(),
        "data": source.name,
        "images": len(images.y),
        "checksum of images": crc32(np.ascontiguousarray(source.images.x_train).data),
        "validation": images.held_back,
        "hidden": ",".join(map(str, hidden)),
        "activation": activation,
        "init": init,
        "bias": bias,
        "cost": cost,
        "optimizer": optimizer,
        "lr": descent.param_groups[0].get("lr"),
        "schedule": schedule,
        "epochs": epochs if schedule and choices.is_fitted(schedule) else "any",
        "batch size": batch_size,
        "l1": l1,
        "l2": l2,
        "expand": expand,
        "seed": seed,
    }
    if resume:
        record.check_resumes(last, settings)

    one_hot = np.eye(len(source.classes), dtype=np.float32)
    batches = datasets.DataLoader(
        images.x,
        one_hot[images.y],
        batch_size=batch_size,
        shuffle=True,
        transform=sources.moved(source.shape) if expand else None,
        rng=rng,
    )
    told = {"validation": (images.x_validation, one_hot[images.y_validation])}
    if images.held_back:
        told["test"] = source.images.x_test, one_hot[source.images.y_test]
    keep = record.Keep(
        network, told["validation"], out, record.metadata(source, cost), settings, epochs
    )
    callbacks: list[Any] = [keep, Checkpoint(last)]
    if schedule:
        callbacks.append(scheduled(schedule, descent, epochs))
    if early_stop:
        callbacks.append(EarlyStopping("accuracy", early_stop, restore_best=False))
    if report is not None:
        told["training"] = images.x, one_hot[images.y]
        callbacks.append(watch := record.Watch(body, ending.loss, *told["training"]))
    n = len(images.y)
    step = penalised(l1=l1 / n, l2=l2 / n) if l1 or l2 else Step
    given: Any = batches
    if parallel:
        from tensorgrad.parallel import Shards, data_parallel

        step, given = data_parallel(step), Shards(batches)
    history = fitted(
        keep,
        *(body, given, ending.loss, descent),
        epochs=epochs,
        validation=told,
        callbacks=callbacks,
        resume=last if resume else False,
        step=step,
    )
    if parallel and given.ranks.rank:
        return  # the first has written all, and says so
    keep.say(history, images.held_back)
    if report is not None:
        settings["model"] = f"{model}: {out}, of epoch {keep.at} (the best)"
        watch.page(history, io.load(out), told["validation"], source, settings).save(report)
        print(f"report: {report}")

"""The commands `train` and `predict`: networks that read digits."""

from __future__ import annotations

import sys
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from tensorgrad import io, nn
from tensorgrad.commands import classifier, image
from tensorgrad.commands.classifier import Activation, Cost, Data, one_hot
from tensorgrad.data import TrainTest
from tensorgrad.extras import printable
from tensorgrad.train import Epoch
from tensorgrad.train import predict as answers_of

if TYPE_CHECKING:
    from tensorgrad.viz import figures
    from tensorgrad.viz.page import Page

SURE = 0.5  # the lead of the best output over the next, from which an answer is no guess


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise typer.BadParameter(f"{text!r} is not a list of layer sizes such as 30 or 100,50")
    return sizes


@np.errstate(all="ignore")  # a loss that diverges is reported below
def train(
    data: Annotated[Data, typer.Option(help="The images: 8x8 digits, bundled, or MNIST.")] = (
        "digits"
    ),
    data_dir: Annotated[
        Path | None, typer.Option(help="MNIST's folder; else found or downloaded.")
    ] = None,
    hidden: Annotated[
        Any,
        typer.Option(parser=_sizes, metavar="SIZES", help="Hidden neurons, by layer: 100,50."),
    ] = "30",
    activation: Annotated[Activation, typer.Option(help="Of the hidden neurons.")] = "sigmoid",
    cost: Annotated[Cost, typer.Option(help="What training makes small.")] = "quadratic",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images.")] = 30,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 10,
    lr: Annotated[
        float | None,
        typer.Option(
            min=0, show_default="3.0 for quadratic and sigmoid", help="Learning rate, Nielsen's η."
        ),
    ] = None,
    l2: Annotated[float, typer.Option(min=0, help="Weight decay, Nielsen's λ.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same result.")] = 7,
    out: Annotated[Path, typer.Option(help="The file for the model.")] = Path("model.safetensors"),
    report: Annotated[
        Path | None,
        typer.Option(metavar="PAGE.html", help="The file for a page about the run, with pictures."),
    ] = None,
) -> None:
    """Train a network to read digits. The defaults are Nielsen's first network.

    After each epoch that is the best so far on the test images, the model is written to OUT.
    """
    if data_dir is not None and data == "digits":
        raise typer.BadParameter(
            "the digits are bundled; it goes with --data mnist", None, None, "'--data-dir'"
        )
    target = io.check_writable(out)
    if report is not None:
        if io.check_writable(report) == target:
            raise typer.BadParameter(f"{report} is for the model (--out)", None, None, "'--report'")
        _try_report()
    images = classifier.load_data(data, data_dir)
    watch = _Watch(images, cost) if report is not None else None
    best: Epoch | None = None

    def on_epoch(model: Any, line: Epoch) -> None:
        nonlocal best
        if best is None or _percent(line) > _percent(best):
            metadata = {"data": data, "epoch": str(line.epoch), "accuracy": str(line.accuracy)}
            io.save(model, out, metadata)
            best = line
        if watch is not None:
            watch(model, line)
        print(
            f"epoch {line.epoch:{len(str(epochs))}}/{epochs}"
            f"  accuracy {_percent(line):5.2f} %  loss {line.loss:.4f}",
            flush=True,
        )

    lr = classifier.learning_rate(cost, activation) if lr is None else lr
    try:
        history = classifier.train(
            images,
            hidden=hidden,
            activation=activation,
            cost=cost,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            l2=l2,
            rng=np.random.default_rng(seed),
            on_epoch=on_epoch,
        )
    except KeyboardInterrupt:
        if best is None:
            print("interrupted before the end of an epoch: nothing written", file=sys.stderr)
        else:
            print(
                f"interrupted; best test accuracy {_percent(best):.2f} %, "
                f"model of epoch {best.epoch}: {out}"
            )
        raise typer.Exit(130) from None
    except FloatingPointError as error:
        raise ValueError(
            f"{error}: train with a smaller --lr"
            + (f"; {out} holds the model of epoch {best.epoch}" if best else "")
        ) from None
    assert best is not None
    print(
        f"trained in {history[-1].seconds:.1f} s; read a picture with: "
        f"tensorgrad predict {out} IMAGE"
    )
    print(f"best test accuracy {_percent(best):.2f} %, final {_percent(history[-1]):.2f} %")
    print(f"model of epoch {best.epoch} (the best): {out}")
    if watch is not None and report is not None:
        settings = {
            "data": data,
            "hidden": ",".join(map(str, hidden)),
            "activation": activation,
            "cost": cost,
            "batch size": batch_size,
            "lr": lr,
            "l2": l2,
            "seed": seed,
            "model": f"{out}, of epoch {best.epoch} (the best)",
        }
        watch.page(history, io.load(out), settings).save(report)
        print(f"report: {report}")


class _Watch:
    """What a report tells of the training images, measured after each epoch: cost, accuracy and, as
    in Nielsen's fifth chapter, the gradient on the first 1,000 of them."""

    norms: figures.GradientNorms
    training: figures.Monitor

    def __init__(self, images: TrainTest, cost: Cost) -> None:
        self.images = images
        self.loss, self.included, *_ = classifier.COSTS[cost]

    def __call__(self, model: nn.Sequential, line: Epoch) -> None:
        from tensorgrad.viz import figures

        if line.epoch > 1:
            self.norms(line)
        else:
            x, y = self.images.x_train, one_hot(self.images.y_train)
            body = self.body(model)
            self.norms = figures.GradientNorms(body, self.loss, x[:1000], y[:1000], epoch=1)
            self.training = figures.Monitor(body, self.loss, x, y)
        self.training(line)

    def body(self, model: nn.Sequential) -> nn.Sequential:
        """The model without the activation that the loss includes."""
        return model if self.included is None else nn.Sequential(*model.layers[:-1])

    def page(self, history: list[Epoch], model: Any, settings: dict[str, Any]) -> Page:
        from tensorgrad.viz.report.report import report

        x, y = self.images.x_test, self.images.y_test
        return report(
            history,
            model,
            validation=(x, y),
            training=self.training.history,
            gradients=self.norms,
            graph=self.loss(self.body(model)(x[:1]), one_hot(y[:1])),
            settings=settings,
            title=f"Reading {settings['data']}",
        )


def _try_report() -> None:
    """ImportError if what the page needs is missing: now, not after the training."""
    from tensorgrad.viz.report.report import report

    report([], nn.Linear(64, 10), validation=(np.zeros((1, 64)), np.zeros(1, int)))


def _percent(line: Epoch) -> float:
    return 100 * (line.accuracy or 0.0)


def predict(
    model: Annotated[Path, typer.Argument(help="A file that tensorgrad train wrote.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Pictures of one digit each.")
    ],
) -> None:
    """Read handwritten digits: any size and colour, dark on light or light on dark.

    An answer is unsure where the best output leads the next by less than 0.5: for about one in
    twelve of the test images. Of these a fifth to two fifths are wrong, of the others 1 or 2 %.
    """
    layout = io.read_metadata(model).get("data", "")
    if layout not in image.LAYOUTS:
        raise ValueError(
            f"{model} does not say what images it was trained on: save it with "
            "metadata={'data': 'mnist'} or 'digits'"
        )
    network = io.load(model).eval()
    failed = 0
    for path in images:
        try:
            ink = image.read_digit(path, layout)
        except (OSError, ValueError) as error:
            said = f"{path}: {error.strerror}" if isinstance(error, OSError) else error
            print(printable(f"tensorgrad predict: {said}"), file=sys.stderr)
            failed = 1
            continue
        try:
            answers = np.asarray(answers_of(network, ink.reshape(1, -1)))
        except ValueError as error:
            raise ValueError(f"{model} does not take {layout} images: {error}") from None
        if not np.isfinite(answers).all():
            raise ValueError(f"{model} answers with {answers}: it was trained to no good")
        if answers.shape != (1, 10):
            raise ValueError(f"{model} answers with shape {answers.shape}, not with ten outputs")
        second, best = np.argsort(answers[0], kind="stable")[-2:]
        unsure = answers[0, best] - answers[0, second] < SURE
        said = f"{best} (unsure: {best} or {second})" if unsure else best
        print(printable(f"{path}: {said}"))
        print(_show(ink, answers[0]), flush=True)
    raise typer.Exit(failed)


def _show(ink: image.Ink, answers: Any) -> str:
    """The digit as the network sees it, and beside it the ten outputs as bars."""
    shades = " ░▒▓█"
    try:
        shades.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        shades = " .:*#"
    # A character is about twice as high as wide: two rows make one line, or two columns one pixel.
    grid = ink.reshape(-1, 2, len(ink)).mean(1) if len(ink) > 16 else ink.repeat(2, axis=1)
    picture = ["".join(shades[round(4 * float(p))] for p in row) for row in grid]
    outputs = [
        f"{digit}  {p:.3f}  {shades[-1] * round(20 * float(np.clip(p, 0, 1)))}"
        f"{' <' if digit == answers.argmax() else ''}"
        for digit, p in enumerate(answers)
    ]
    rows = zip_longest(picture, outputs, fillvalue="")
    return "\n".join(f"  {a:{grid.shape[1]}}  {b}".rstrip() for a, b in rows)

"""The commands `predict` and `export`: what a model's file says of pictures, and in JSON.

A file of `tensorgrad train` tells what its images and classes are; `image.py` makes such an image
of a digit in any picture.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from tensorgrad import io, nn
from tensorgrad.commands import image
from tensorgrad.commands.choices import chosen, misuse
from tensorgrad.commands.models import Shape
from tensorgrad.commands.sources import KNOWN
from tensorgrad.data import read_image
from tensorgrad.extras import printable
from tensorgrad.train import predict as answers_of

SEVERAL = 20  # classes, of which all outputs are shown
WIDEST = 28  # characters of a picture


class Reader(NamedTuple):
    """A model, and what it was trained on: see `sources.Source`."""

    path: Path
    model: nn.Module
    name: str
    shape: Shape
    classes: Sequence[str]
    layout: str

    def picture(self, path: Path) -> Any:
        """The picture in a file as the images were, (channels, height, width). Raises as
        `image.read_digit`."""
        if self.layout in image.LAYOUTS:
            return image.read_digit(path, self.layout)[None]
        channels, height, width = self.shape
        whole = image.open_image(path)  # which refuses what a stranger's picture may be
        if self.layout == "grey":
            return light_on_black(whole.convert("L"), height, width)[None]
        return read_image(path, (height, width), "L" if channels == 1 else "RGB")

    def answers(self, picture: Any) -> Any:
        """The outputs, one for each class. ValueError for a model that is not of such images."""
        try:
            out = np.asarray(answers_of(self.model, picture.reshape(1, -1)))
        except ValueError as error:
            raise ValueError(f"{self.path} does not take {self.name} images: {error}") from None
        if out.dtype.kind == "c" or not np.isfinite(out).all():
            raise ValueError(f"{self.path} answers with {out}: it was trained to no good")
        if out.shape != (1, n := len(self.classes)):
            count = "ten" if n == 10 else str(n)
            raise ValueError(
                f"{self.path} answers with shape {out.shape}, not with {count} outputs"
            )
        return out[0]

    def unsure(self, answers: Any) -> bool:
        """Whether these outputs are no more than a guess."""
        return image.unsure(self.model, answers)


def light_on_black(whole: Any, height: int, width: int) -> Any:
    """A grey picture scaled to fit, the rest and what is like its border black."""
    pixels = np.asarray(whole, np.float32) / 255
    if np.median(np.concatenate(image.sides(pixels))) > 0.5:
        whole = whole.point(lambda grey: 255 - grey)
    scale = min(height / whole.height, width / whole.width)
    size = max(1, round(scale * whole.width)), max(1, round(scale * whole.height))
    out = np.zeros((height, width), np.float32)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = np.asarray(whole.resize(size, 2)) / 255
    return out


def reader(path: Path, data: str | None) -> Reader:
    """The model in a file, .json as network2.py has it, and what it reads."""
    if path.suffix == ".json":
        network = io.load_json(path)
        inputs = network[0].in_features
        data = data or {64: "digits", 784: "mnist"}.get(inputs)
        if data is None:
            raise ValueError(f"{path} takes {inputs} numbers: no images of MNIST, nor digits")
        return of_known(path, network, data)
    told = io.read_metadata(path)
    model = io.load(path).eval()
    name = data or told.get("data", "")
    if data is None and {"layout", "shape", "classes"} <= told.keys():
        return Reader(path, model, name, *described(path, told))
    if name not in KNOWN:
        raise ValueError(
            f"{path} does not say what images it was trained on: save it with "
            "metadata={'data': 'mnist'} or 'digits', or say so: --data mnist"
        )
    return of_known(path, model, name)


def of_known(path: Path, model: nn.Module, name: str) -> Reader:
    _, shape, classes, layout = KNOWN[name]
    return Reader(path, model, name, shape, classes, layout)


def described(path: Path, told: dict[str, str]) -> tuple[Shape, list[str], str]:
    """Shape, classes and layout out of a file that may be anybody's."""
    try:
        shape, classes = json.loads(told["shape"]), json.loads(told["classes"])
        channels, height, width = shape
        well = (
            told["layout"] in (*image.LAYOUTS, "grey", "picture")
            and all(type(n) is int and n > 0 for n in shape)
            and channels in (1, 3)
            and height * width <= image.LARGEST
            and all(isinstance(name, str) for name in classes)
            and len(classes) > 1
        )
    except (ValueError, TypeError, RecursionError):
        well = False
    if not well:
        raise io.ModelFileError(path, "what it says of its images is damaged")
    return (channels, height, width), [printable(c, 40) for c in classes], told["layout"]


def predict(
    model: Annotated[
        Path, typer.Argument(help="A file of tensorgrad train, or a .json of network2.py.")
    ],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Pictures of one digit, or thing, each."),
    ],
    data: Annotated[
        str | None,
        typer.Option(help=f"What it was trained on, if its file is silent: {', '.join(KNOWN)}."),
    ] = None,
) -> None:
    """Read handwritten digits: any size and colour, dark on light or light on dark.

    Boxes, ruled lines and shadows are told from the digit. An answer is unsure where the best
    output leads the next by less than 0.5: for about one in twelve of the test images. Of these a
    fifth to two fifths are wrong, of the others 1 or 2 %. A network that ends in softmax answers
    with probabilities, which training calibrates, and is unsure below 0.95. A model of other
    pictures tells which of its classes one is.
    """
    if data is not None:
        data = data.lower()
        chosen("--data", data, KNOWN)
    read = reader(model, data)
    failed = 0
    for path in images:
        try:
            picture = read.picture(path)
        except (OSError, ValueError) as error:
            said = f"{path}: {error.strerror}" if isinstance(error, OSError) else error
            print(printable(f"tensorgrad predict: {said}"), file=sys.stderr)
            failed = 1
            continue
        answers = read.answers(picture)
        second, best = (read.classes[i] for i in np.argsort(answers, kind="stable")[-2:])
        said = f"{best} (unsure: {best} or {second})" if read.unsure(answers) else best
        print(printable(f"{path}: {said}"))
        print(shown(picture.mean(axis=0), answers, read.classes), flush=True)
    raise typer.Exit(failed)


def shown(picture: Any, answers: Any, classes: Sequence[str]) -> str:
    """The picture as the network sees it, and beside it the outputs as bars."""
    shades = " ░▒▓█"
    try:
        shades.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        shades = " .:*#"
    if (every := math.ceil(max(picture.shape) / WIDEST)) > 1:
        height, width = (n - n % every for n in picture.shape)
        blocks = picture[:height, :width].reshape(height // every, every, width // every, every)
        picture = blocks.mean(axis=(1, 3))
    # A character is about twice as high as wide: two rows make one line, or two columns one pixel.
    picture = picture[: len(picture) - len(picture) % 2]
    large = len(picture) > 16
    grid = picture.reshape(len(picture) // 2, 2, -1).mean(1) if large else picture.repeat(2, axis=1)
    lines = ["".join(shades[round(4 * float(p))] for p in row) for row in grid]
    best = sorted(np.argsort(-answers, kind="stable")[:SEVERAL])
    width = max(len(classes[i]) for i in best)
    outputs = [
        f"{classes[i]:{width}}  {answers[i]:.3f}  "
        f"{shades[-1] * round(20 * float(np.clip(answers[i], 0, 1)))}"
        f"{' <' if i == answers.argmax() else ''}"
        for i in best
    ]
    rows = zip_longest(lines, outputs, fillvalue="")
    return "\n".join(f"  {a:{grid.shape[1]}}  {b}".rstrip() for a, b in rows)


EXPORTED = {"cross-entropy": "CrossEntropyCost", "quadratic": "QuadraticCost"}


def export(
    model: Annotated[Path, typer.Argument(help="A file that tensorgrad train wrote.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.json", help="The file to write.")],
) -> None:
    """Write a network of sigmoid neurons as JSON that network2.py of Nielsen's book loads."""
    if out.suffix != ".json":
        raise misuse("OUT.json", f"{out} does not end in .json")
    cost = io.read_metadata(model).get("cost", "")
    io.save_json(io.load(model), out, EXPORTED.get(cost, "CrossEntropyCost"))
    print(out)

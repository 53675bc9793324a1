"""What `--data` names: a data set that is known, or a folder or table of one's own.

All become rows of pixels in 0..1 with the numbers of their classes, cut into images to train on, to
validate by and to test on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tensorgrad import data
from tensorgrad.commands.choices import chosen, misuse
from tensorgrad.commands.models import Shape
from tensorgrad.data import ImageFolder, TrainTest
from tensorgrad.data.mnist import find
from tensorgrad.extras import printable

MOST = 2_000_000_000  # numbers that images of a folder may have: 8 GB
FEW = 5000  # with fewer images to train on, each is needed: the best epoch is told by the test's


class Source(NamedTuple):
    """Images, what their classes are called, and how a picture becomes such an image.

    `layout`: "digits" or "mnist", a digit as the makers of these placed it; "grey", something light
    on black that fills the image; "picture", as it is.
    """

    name: str
    images: TrainTest
    shape: Shape
    classes: Sequence[str]
    layout: str


def load(name: str, folder: Path | None = None, size: int | None = None) -> Source:
    """The data of that name or in that place. `folder`: where a known set is; `size`: the side of
    the squares that pictures of a folder are scaled to."""
    own = name not in KNOWN and Path(name).exists()
    if not own:
        known = chosen("--data", name, KNOWN, "is neither a folder nor a data set")
    if folder is not None and (own or known.read is bundled):
        raise misuse("--data-dir", "it is the folder of a known set: --data mnist")
    if size is not None and not own:
        raise misuse("--size", "it is for a folder of pictures")
    if own:
        return of_path(Path(name), size)
    x, y, x_test, y_test = images = known.read(folder)
    as_known = x.shape[1:] == x_test.shape[1:] == (math.prod(known.shape),)
    labels = np.concatenate([y, y_test])
    if not (as_known and len(y) and len(y_test) and labels.max() < len(known.classes)):
        raise ValueError(
            printable(f"{folder or 'what is found'} holds other images than {name}'s; ")
            + "images of your own: --data FOLDER"
        )
    return Source(name.lower(), images, known.shape, known.classes, known.layout)


def bundled(folder: None) -> TrainTest:
    return data.digits()


class Known(NamedTuple):
    """A data set that has a name: how it is read out of a folder, and as in `Source`."""

    read: Callable[[Any], TrainTest]
    shape: Shape
    classes: Sequence[str]
    layout: str


DIGITS = [str(digit) for digit in range(10)]
FASHION = ["T-shirt/top", "trouser", "pullover", "dress", "coat"]
FASHION += ["sandal", "shirt", "sneaker", "bag", "ankle boot"]
KANA = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
KNOWN = {
    "digits": Known(bundled, (1, 8, 8), DIGITS, "digits"),
    "mnist": Known(data.mnist, (1, 28, 28), DIGITS, "mnist"),
    "fashion": Known(data.fashion_mnist, (1, 28, 28), FASHION, "grey"),
    "kmnist": Known(data.kmnist, (1, 28, 28), KANA, "grey"),
}


def of_path(path: Path, size: int | None) -> Source:
    """What is in a folder: MNIST's four files, tables of pixels, or a folder for each class."""
    name = path.resolve().name
    if not path.is_dir():
        return of_tables(name, [path])
    if find(path):
        images = data.mnist(path)
        largest = max(y.max(initial=0) for y in (images.y_train, images.y_test))
        classes = [str(i) for i in range(1 + largest)]
        shapes = {x.shape[1] for x in (images.x_train, images.x_test)}
        if len(shapes) > 1:
            raise ValueError(f"{path}: images to train and to test have {shapes} pixels")
        return checked(Source(name, images, square(path, *shapes), classes, "grey"))
    if tables := sorted(path.glob("[!.]*.csv")):
        return of_tables(name, tables)
    try:
        return of_pictures(name, path, size)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} holds neither MNIST's files (train-images-idx3-ubyte, ...), nor a .csv, nor a "
            f"folder of pictures for each class, such as {path / 'cat' / '1.png'}"
        ) from None


def of_tables(name: str, paths: Sequence[Path]) -> Source:
    """Rows of pixels from 0 to 255 with a label: in the column `label`, else the first."""
    tables = {path: table_of(path) for path in paths}
    test = [path for path in paths if "test" in path.stem]
    train = [path for path in paths if path not in test]
    if len({table.x.shape[1] for table in tables.values()}) > 1 or not train:
        raise ValueError(f"{paths[0].parent}: its tables are not of one kind, with one to train on")
    labels = [np.array(t.classes)[t.y] if t.classes else t.y for t in tables.values()]
    classes, numbers = np.unique(np.concatenate(labels), return_inverse=True)
    parts = np.split(numbers, np.cumsum([len(y) for y in labels])[:-1])
    x = {path: (table.x / 255).astype(np.float32) for path, table in tables.items()}
    y = dict(zip(paths, parts))

    def together(which: Sequence[Path]) -> Any:
        return np.concatenate([x[p] for p in which]), np.concatenate([y[p] for p in which])

    images = TrainTest(*together(train), *together(test)) if test else held_out(*together(train))
    shape = square(paths[0], images.x_train.shape[1])
    return checked(Source(name, images, shape, [str(c) for c in classes], "grey"))


def table_of(path: Path) -> Any:
    """The table, if it can be one of pixels."""
    if path.suffix != ".csv":
        raise ValueError(printable(f"{path} is no folder, and no .csv"))
    with open(path, encoding="utf-8", errors="replace") as file:
        first = [name.strip() for name in file.readline().split(",")]
    table = data.read_csv(path, "label" if "label" in first else 0)
    if table.y.dtype.kind != "i":
        raise ValueError(printable(f"{path}: its labels are numbers with fractions, no classes"))
    if not table.x.size:
        raise ValueError(printable(f"{path} has one column, and no pixels: are there commas?"))
    if not (np.isfinite(table.x).all() and table.x.min() >= 0 and 1 < table.x.max() <= 255):
        raise ValueError(
            printable(f"{path} holds other numbers than pixels, which are 0 to 255; tables of ")
            + "measurements are for tg.data.read_csv and tg.fit"
        )
    return table


def square(path: Path, pixels: int) -> Shape:
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise ValueError(printable(f"{path}: {pixels} pixels are no square image"))
    return 1, side, side


def of_pictures(name: str, path: Path, size: int | None) -> Source:
    """Pictures in folders that name their classes; with folders `train` and `test` around these,
    or every sixth is for the test."""
    scaled = None if size is None else (size, size)
    apart = (path / "train").is_dir() and (path / "test").is_dir()
    folders = [ImageFolder(path / part, size=scaled) for part in ("train", "test")[: 2 * apart]]
    folders = folders or [ImageFolder(path, size=scaled)]
    classes = folders[0].classes
    if folders[-1].classes != classes:
        raise ValueError(
            printable(f"{path}: train has the classes {', '.join(classes)}, and test others")
        )
    arrays = []
    for folder in folders:
        pixels = len(folder) * folder[0][0].size
        if pixels > MOST:
            raise ValueError(
                printable(f"{path}: {len(folder):,} pictures of this size are {pixels:,} numbers, ")
                + f"at most {MOST:,}: scale them, --size 64"
            )
        try:
            arrays += [np.stack([folder[i][0] for i in range(len(folder))]), folder.targets]
        except ValueError as error:
            raise ValueError(str(error).replace("pass size=(height, width)", "--size 64")) from None
    if len({x.shape[1:] for x in arrays[::2]}) > 1:
        raise ValueError(printable(f"{path}: pictures of several sizes: --size 64"))
    if all((x == x[:, :1]).all() for x in arrays[::2]):
        arrays[::2] = [x[:, :1] for x in arrays[::2]]  # they are grey
    shape = arrays[0].shape[1:]
    arrays[::2] = [x.reshape(len(x), -1) for x in arrays[::2]]
    images = TrainTest(*arrays) if apart else held_out(*arrays)
    return checked(Source(name, images, shape, classes, "picture"))


def held_out(x: Any, y: Any) -> TrainTest:
    """A sixth for the test, always the same ones."""
    test, train = np.split(mixed(len(y)), [len(y) // 6])
    return TrainTest(x[train], y[train], x[test], y[test])


def mixed(n: int) -> Any:
    """An order without one, the same in each version of NumPy."""
    return np.argsort(np.random.PCG64(6).random_raw(n))


def checked(source: Source) -> Source:
    """What can be learned from, in an order in which the last images are like the others.

    ValueError for too few images or classes.
    """
    x, y, x_test, y_test = source.images
    if min(len(y), len(y_test)) < 1:
        raise ValueError(f"{source.name}: too few images, of which a sixth are for the test")
    if len(source.classes) < 2:
        raise ValueError(f"{source.name}: all images are of one class, {source.classes[0]}")
    order = mixed(len(y))
    return source._replace(images=TrainTest(x[order], y[order], x_test, y_test))


class Split(NamedTuple):
    """Rows and class numbers to train on, and those that tell the best epoch: held back from the
    former, or the test's where there are few."""

    x: Any
    y: Any
    x_validation: Any
    y_validation: Any
    held_back: int


def split(images: TrainTest, held_back: int | None) -> Split:
    """The last `held_back` images of the training set apart, by default a sixth of many: of MNIST
    the 10,000 that the book holds back. A misuse where that leaves none."""
    x, y, x_test, y_test = images
    if held_back is None:
        held_back = len(y) // 6 if len(y) >= FEW else 0
    if held_back >= len(y):
        raise misuse("--validation", f"there are {len(y):,} images to train on")
    if not held_back:
        return Split(x, y, x_test, y_test, 0)
    return Split(x[:-held_back], y[:-held_back], x[-held_back:], y[-held_back:], held_back)


def moved(shape: Shape) -> Callable[..., Any]:
    """A transform of batches: each image moved by up to a pixel, with all its channels."""
    _, height, width = shape
    places = np.arange(1, 1 + height * width).reshape(height, width)

    def transform(x: Any, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        each = np.broadcast_to(places, (len(x), height, width))
        taken = data.random_shift(each, rng=rng).reshape(len(x), 1, -1)
        pixels = np.pad(x.reshape(len(x), -1, height * width), [(0, 0), (0, 0), (1, 0)])
        return np.take_along_axis(pixels, taken, axis=-1).reshape(x.shape), y

    return transform

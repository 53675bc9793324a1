"""Data of one's own: a folder of images, a table in a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tensorgrad.data.subsets import Dataset
from tensorgrad.extras import missing, printable

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow's others start programs
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}


class ImageFolder(Dataset):
    """The images of a folder, a sub-folder for each class, read when they are asked for.

    `folder[i]` is an image, float32 of shape (channels, height, width) in 0..1, and the number of
    its class; `classes` names them, in the order of the alphabet; `paths` and `targets` tell the
    files and their classes. `transform`: what becomes of an image. `mode`: "RGB", or "L", grey.
    `size`: (height, width) that images are resized to; without it all must have one size. A
    `DataLoader` takes it as it is, and a `transform` of its own, of whole batches. What has a name
    with a dot before it is hidden, here too; photographs stand as they were taken (EXIF).

    FileNotFoundError for a folder without images in sub-folders; ImportError without Pillow;
    ValueError, with the file's name, for one that cannot be read or has another size.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[NDArray[np.float32]], Any] | None = None,
        *,
        size: tuple[int, int] | None = None,
        mode: str = "RGB",
    ) -> None:
        if mode not in ("L", "RGB"):
            raise ValueError(f"ImageFolder: mode is 'L' or 'RGB', not {mode!r}")
        self.root, self.transform, self.size, self.mode = Path(root), transform, size, mode
        found = sorted(p for p in self.root.glob("[!.]*/[!.]*") if p.suffix.lower() in SUFFIXES)
        if not found:
            raise FileNotFoundError(
                f"ImageFolder: {root} has no images in sub-folders, one for each class, such as "
                f"{self.root / 'cat' / '1.png'}"
            )
        self.paths = found
        self.classes = sorted({p.parent.name for p in found})
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.targets = np.array([self.class_to_idx[p.parent.name] for p in found])
        self.shape: tuple[int, ...] | None = None  # of the first image that was read

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"ImageFolder({str(self.root)!r}): {len(self)} images of {', '.join(self.classes)}"

    def __getitem__(self, i: int) -> tuple[Any, int]:
        image = read_image(self.paths[i], self.size, self.mode)
        if self.shape is None:
            self.shape = image.shape
        if image.shape != self.shape:
            raise ValueError(
                f"{self.paths[i]} has {image.shape[1]}x{image.shape[2]} pixels, others "
                f"{self.shape[1]}x{self.shape[2]}: pass size=(height, width)"
            )
        return self.transform(image) if self.transform else image, int(self.targets[i])


def read_image(
    path: str | os.PathLike[str], size: tuple[int, int] | None = None, mode: str = "L"
) -> NDArray[np.float32]:
    """The image in a file, float32 of shape (channels, height, width) in 0..1."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise missing("images need Pillow", "data") from None
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode[0] in "IF":  # Pillow would cut off what is above 255
                raise ValueError(f"pixels of mode {image.mode}, not of 8 bits: scale them first")
            picture = ImageOps.exif_transpose(image).convert(mode)
            if size is not None:
                picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except FileNotFoundError:
        raise
    except Exception as error:  # a decoder may say anything of what it meets
        raise ValueError(printable(f"{path} cannot be read as an image: {error}")) from error
    pixels = np.asarray(picture, np.float32) / np.float32(255)
    return pixels[None] if mode == "L" else np.moveaxis(pixels, -1, 0).copy()


class Table(NamedTuple):
    """Rows of numbers, and what is to be told from them.

    `x`: float64 (n, columns). `y`: float64 (n,), or int64 where it counts classes. `columns`: the
    names of those of `x`. `classes`: the names of the classes, if `y` had names.
    """

    x: NDArray[np.float64]
    y: NDArray[Any]
    columns: list[str]
    classes: list[str]


def read_csv(path: str | os.PathLike[str], target: str | int = -1, delimiter: str = ",") -> Table:
    """A table of numbers from a CSV file, the column `target` (its name or number) apart.

    A first line that is not all numbers names the columns. A target of names is numbered in their
    order; one of whole numbers only is int64. ValueError, with line and column, for what is no
    number, lines of different lengths, a table without rows, and a target that there is not. (For
    more than this there is pandas, whose tables `fit` takes as they are.)

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "iris.csv")
    ...     _ = path.write_text("length,width,kind\\n5.1,3.5,setosa\\n7.0,3.2,versicolor\\n")
    ...     table = read_csv(path, target="kind")
    >>> table.x.tolist(), table.y.tolist(), table.classes
    ([[5.1, 3.5], [7.0, 3.2]], [0, 1], ['setosa', 'versicolor'])
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as f:
            lines = [(i, row) for i, row in enumerate(csv.reader(f, delimiter=delimiter), 1) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(printable(f"read_csv: {path} is no CSV file in UTF-8: {error}")) from error
    if lines and not all(map(is_number, lines[0][1])) and len(lines) > 1:
        columns = [name.strip() for name in lines.pop(0)[1]]
    else:
        columns = [str(i) for i in range(len(lines[0][1]))] if lines else []
    if not lines:
        raise ValueError(f"read_csv: {path} has no rows of numbers")
    for i, row in lines:
        if len(row) != len(columns):
            raise ValueError(
                f"read_csv: {path}, line {i} has {len(row)} columns, expected {len(columns)} (is "
                f"{delimiter!r} the delimiter?)"
            )
    place = place_of(target, columns, path)
    names = [row.pop(place).strip() for _, row in lines]
    label = columns.pop(place)
    x = np.empty((len(lines), len(columns)))
    for k, (i, row) in enumerate(lines):
        for j, text in enumerate(row):
            x[k, j] = parsed(text, path, i, columns[j])
    if all(map(is_number, names)):
        y = np.array([parsed(text, path, i, label) for text, (i, _) in zip(names, lines)])
        whole = np.all((y == np.floor(y)) & (np.abs(y) < 2**53))
        return Table(x, y.astype(np.int64) if whole else y, columns, [])
    classes, numbers = np.unique(names, return_inverse=True)
    return Table(x, numbers.astype(np.int64), columns, classes.tolist())


def place_of(target: str | int, columns: list[str], path: Any) -> int:
    if isinstance(target, str):
        if target not in columns:
            raise ValueError(f"read_csv: {path} has no column {target!r}, but {columns}")
        return columns.index(target)
    if not -len(columns) <= target < len(columns):
        raise ValueError(f"read_csv: {path} has {len(columns)} columns, no number {target}")
    return target % len(columns)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parsed(text: str, path: Any, line: int, column: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            printable(f"read_csv: {path}, line {line}, column {column}: {text!r} is no number")
        ) from None

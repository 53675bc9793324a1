"""CIFAR-10: 60,000 coloured images of 32x32 pixels in ten classes, in its binary format."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tensorgrad.data.digits import TrainTest
from tensorgrad.data.store import fetch, search

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SUM = "md5:c32a1d4ab5d03f1284b67883e8d87530"  # as its page says
ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
TRAIN, TEST = [f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"]
ROW = 1 + 3 * 32 * 32  # the label, then red, green and blue, each by rows


def cifar10(root: str | os.PathLike[str] | None = None) -> TrainTest:
    """CIFAR-10, 50,000 training and 10,000 test examples.

    `x` is float32 of shape (n, 3072) in 0..1 (`x.reshape(-1, 3, 32, 32)` are the images, red, green
    and blue); `y` is int64 of shape (n,): airplane, automobile, bird, cat, deer, dog, frog, horse,
    ship, truck.

    `root` has the six `.bin` files or the archive `cifar-10-binary.tar.gz`. Without it they are
    looked for in `$TENSORGRAD_DATA/cifar10` and in the cache, and the archive is downloaded there
    at last (162 MB). FileNotFoundError if `root` has neither, ValueError for files of another form,
    ImportError if a download needs pooch, OSError if it fails.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    found = search("cifar10", find) if root is None else find(Path(root))
    if found is None and root is not None:
        raise FileNotFoundError(
            f"cifar10: {root} has neither {ARCHIVE} nor all of {', '.join(TRAIN + TEST)}"
        )
    files = read(found or fetch("cifar10", URL, SUM, ARCHIVE))
    return TrainTest(*examples(files, TRAIN), *examples(files, TEST))


def find(folder: Path) -> Path | None:
    """The folder with the six files, or the archive."""
    for place in (folder, folder / FOLDER):
        if all((place / name).is_file() for name in TRAIN + TEST):
            return place
    archive = folder / ARCHIVE
    return archive if archive.is_file() else None


def read(place: Path) -> dict[str, bytes]:
    """The six files by name; out of the archive without unpacking it anywhere."""
    if place.is_dir():
        return {name: (place / name).read_bytes() for name in TRAIN + TEST}
    import tarfile  # 7 ms, which a program without CIFAR is spared

    files = {}
    try:
        with tarfile.open(place) as archive:
            for member in archive:
                name = Path(member.name).name
                wanted = name in TRAIN + TEST and member.isfile()  # no link, which may lead astray
                content = archive.extractfile(member) if wanted else None
                if content is not None:
                    files[name] = content.read(10_000 * ROW + 1)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"cifar10: {place} is no archive, or damaged ({error})") from error
    if missing := [name for name in TRAIN + TEST if name not in files]:
        raise ValueError(f"cifar10: {place} lacks {', '.join(missing)}")
    return files


def examples(
    files: dict[str, bytes], names: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    parts = []
    for name in names:
        content = np.frombuffer(files[name], np.uint8)
        if not content.size or content.size % ROW or content[::ROW].max() > 9:
            raise ValueError(
                f"cifar10: {name} is not made of images of {ROW} bytes, the first of each a label "
                "0..9: is it the binary version?"
            )
        parts.append(content.reshape(-1, ROW))
    rows = np.concatenate(parts)
    return np.divide(rows[:, 1:], 255, dtype=np.float32), rows[:, 0].astype(np.int64)

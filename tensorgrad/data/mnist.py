"""MNIST and the data sets of its form: 70,000 grey images of 28x28 pixels in ten classes.

The four files are IDX: `idx.py` reads them; `store.py` finds them on disk or downloads them once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tensorgrad.data.digits import TrainTest
from tensorgrad.data.idx import read_idx
from tensorgrad.data.store import fetch, search

Folder = str | os.PathLike[str] | None


class Source(NamedTuple):
    """A data set: its name, where its files are, and their checksums: `unpacked`, for mirrors
    compress MNIST differently, or of the gzip files."""

    name: str
    mirror: str
    sums: dict[str, str]
    unpacked: bool = False


FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def sums(kind: str, *found: str) -> dict[str, str]:
    return {name: f"{kind}:{x}" for name, x in zip(FILES, found)}


MNIST = Source(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    sums(
        "sha256",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    unpacked=True,
)
FASHION = Source(
    "fashion_mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    sums(
        "md5",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)
KUZUSHIJI = Source(
    "kmnist",
    "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    sums(
        "md5",
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
)


def mnist(root: Folder = None) -> TrainTest:
    """MNIST, 60,000 training and 10,000 test examples.

    `x` is float32 of shape (n, 784) in 0..1, the stored grey levels 0..255 divided by 255
    (`x.reshape(-1, 28, 28)` are the images); `y` is int64 of shape (n,), the digits 0..9.

    The four IDX files, gzipped or plain, are read from `root` if it is given. Otherwise from the
    first of `$TENSORGRAD_DATA/mnist` and `tensorgrad/mnist` in the user's cache (`$XDG_CACHE_HOME`
    or `~/.cache`) that has all four, and if neither has, they are downloaded to the cache (11 MB,
    stored unpacked: 55 MB) and checked against their SHA-256. Files already on disk are not
    checked against it.

    Raises `FileNotFoundError` if `root` lacks a file, `ValueError` for a malformed file or for
    images and labels that do not pair, `ImportError` if a download needs pooch, and `OSError` if
    the download fails.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document
    recognition, Proc. IEEE 86(11), 1998.

    >>> from tensorgrad.data import mnist
    >>> mnist("no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: mnist: no/such/folder lacks train-images-idx3-ubyte, ...
    """
    return read(MNIST, root)


def fashion_mnist(root: Folder = None) -> TrainTest:
    """Fashion-MNIST, ten kinds of clothing, in the form and with the errors of `mnist`.

    The classes are T-shirt/top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag and
    ankle boot. Looked for in `$TENSORGRAD_DATA/fashion_mnist` and the cache; 31 MB to download.

    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017.
    """
    return read(FASHION, root)


def kmnist(root: Folder = None) -> TrainTest:
    """Kuzushiji-MNIST, ten characters of cursive Japanese, in the form and with the errors of
    `mnist`.

    The classes are o, ki, su, tsu, na, ha, ma, ya, re and wo. Looked for in
    `$TENSORGRAD_DATA/kmnist` and the cache; 21 MB to download.

    Source: T. Clanuwat et al., Deep learning for classical Japanese literature, arXiv:1812.01718.
    """
    return read(KUZUSHIJI, root)


def read(source: Source, root: Folder) -> TrainTest:
    """The data set, from `root` or from where it is found."""
    if root is None:
        files = search(source.name, all_of) or download(source)
    else:
        files = find(Path(root))
        if missing := [name for name in FILES if name not in files]:
            raise FileNotFoundError(
                f"{source.name}: {root} lacks {', '.join(missing)} (or .gz of that, or spelt like "
                f"train-images.idx3-ubyte): put it there, or call {source.name}() to find or "
                "download all"
            )
    train_x, train_y, test_x, test_y = (files[name] for name in FILES)
    return TrainTest(*examples(source, train_x, train_y), *examples(source, test_x, test_y))


def examples(
    source: Source, images_path: Path, labels_path: Path
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    images = read_bytes(source, images_path, "images", ndim=3)
    labels = read_bytes(source, labels_path, "labels", ndim=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{source.name}: {images_path} has {len(images)} images but {labels_path} "
            f"{len(labels)} labels: take both from one source"
        )
    n, height, width = images.shape
    x = np.divide(images.reshape(n, height * width), 255, dtype=np.float32)
    return x, labels.astype(np.int64)


def read_bytes(source: Source, path: Path, what: str, ndim: int) -> NDArray[np.uint8]:
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != ndim:
        raise ValueError(
            f"{source.name}: {path} holds {array.dtype} of {array.ndim} axes, but {what} are uint8 "
            f"of {ndim} (magic number {0x800 + ndim}): is it the right file?"
        )
    return array


def find(folder: Path) -> dict[str, Path]:
    """Those of the four files that `folder` has, in any of their spellings."""
    found = {}
    for name in FILES:
        spellings = (name, name.replace("-idx", ".idx"))
        paths = (folder / (stem + end) for stem in spellings for end in ("", ".gz"))
        if path := next((path for path in paths if path.is_file()), None):
            found[name] = path
    return found


def all_of(folder: Path) -> dict[str, Path] | None:
    """The four files, if `folder` has them."""
    found = find(folder)
    return found if len(found) == len(FILES) else None


def download(source: Source) -> dict[str, Path]:
    """The four files, fetched and checked."""
    end = "" if source.unpacked else ".gz"
    return {
        name: fetch(
            source.name,
            f"{source.mirror}{name}.gz",
            source.sums[name],
            name + end,
            unpack=source.unpacked,
        )
        for name in FILES
    }

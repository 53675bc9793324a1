"""MNIST: 70,000 handwritten digits of 28x28 pixels, found on disk or downloaded once.

The four files are IDX: `idx.py` reads them.
"""

import gzip
import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorgrad.data.digits import Dataset
from tensorgrad.data.idx import read_idx
from tensorgrad.extras import missing

_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"

# Of the files unpacked: mirrors compress them differently.
_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def mnist(root: str | os.PathLike[str] | None = None) -> Dataset:
    """MNIST, 60,000 training and 10,000 test examples.

    `x` is float32 of shape (n, 784) in 0..1, the stored grey levels 0..255 divided by 255
    (`x.reshape(-1, 28, 28)` are the images); `y` is int64 of shape (n,), the digits 0..9.

    The four IDX files, gzipped or plain, are read from `root` if it is given. Otherwise from the
    first of `$TENSORGRAD_DATA/mnist` and `tensorgrad/mnist` in the user's cache (`$XDG_CACHE_HOME`
    or `~/.cache`) that has all four, and if neither has, they are downloaded to the cache (11 MB,
    stored unpacked: 55 MB) and checked against their SHA-256. Files already on disk are not
    checked against it, so other data sets of the same form (Fashion-MNIST) can be read from `root`.

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
    if root is None:
        files = _search() or _download(_cache())
    else:
        files = _find(Path(root))
        if missing := [name for name in _SHA256 if name not in files]:
            raise FileNotFoundError(
                f"mnist: {root} lacks {', '.join(missing)} (or .gz of that, or spelt like "
                "train-images.idx3-ubyte): put it there, or call mnist() to find or download all"
            )
    train_x, train_y, test_x, test_y = (files[name] for name in _SHA256)
    return Dataset(*_examples(train_x, train_y), *_examples(test_x, test_y))


def _examples(
    images_path: Path, labels_path: Path
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    images = _read(images_path, "images", ndim=3)
    labels = _read(labels_path, "labels", ndim=1)
    if len(images) != len(labels):
        raise ValueError(
            f"mnist: {images_path} has {len(images)} images but {labels_path} {len(labels)} labels:"
            " take both from one source"
        )
    n, height, width = images.shape
    x = np.divide(images.reshape(n, height * width), 255, dtype=np.float32)
    return x, labels.astype(np.int64)


def _read(path: Path, what: str, ndim: int) -> NDArray[np.uint8]:
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != ndim:
        raise ValueError(
            f"mnist: {path} holds {array.dtype} of {array.ndim} axes, but {what} are uint8 of "
            f"{ndim} (magic number {0x800 + ndim}): is it the right file?"
        )
    return array


def _find(folder: Path) -> dict[str, Path]:
    """Those of the four files that `folder` has, in any of their spellings."""
    found = {}
    for name in _SHA256:
        spellings = (name, name.replace("-idx", ".idx"))
        paths = (folder / (stem + end) for stem in spellings for end in ("", ".gz"))
        if path := next((path for path in paths if path.is_file()), None):
            found[name] = path
    return found


def _search() -> dict[str, Path] | None:
    """The four files from the first of the usual folders that has them all."""
    data = os.environ.get("TENSORGRAD_DATA")
    folders = [Path(data, "mnist"), _cache()] if data else [_cache()]
    return next((found for found in map(_find, folders) if len(found) == len(_SHA256)), None)


def _cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "tensorgrad", "mnist")


def _download(folder: Path) -> dict[str, Path]:
    """The four files, fetched into `folder` and checked by pooch."""
    try:
        import pooch  # type: ignore[import-untyped]
    except ImportError:
        raise missing("mnist is not on disk, and to download it needs pooch", "data") from None

    def unpacked(url: str, output_file: Any, mirror: Any) -> None:
        packed = io.BytesIO()
        pooch.HTTPDownloader()(url, packed, mirror)
        packed.seek(0)
        with gzip.open(packed) as content:  # no more than there is: its sum is checked afterwards
            Path(output_file).write_bytes(content.read(1 << 26))

    files = {}
    for name, sha256 in _SHA256.items():
        url = f"{_MIRROR}{name}.gz"
        try:
            files[name] = Path(pooch.retrieve(url, sha256, name, folder, downloader=unpacked))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise OSError(
                f"mnist: could not download {url} to {folder}: put MNIST's four files in a folder "
                f"and call mnist(folder), or put them in $TENSORGRAD_DATA/mnist. Reason: {error}"
            ) from error
    return files

"""What a `TrainTest` is, and the bundled one: 1,797 digits of 8x8 pixels, learned in seconds."""

import hashlib
import io
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

_Indices = NDArray[np.intp]
_SHA256 = "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e"


class TrainTest(NamedTuple):
    """A classification task: flat images, scaled to 0..1, and the class of each.

    `x_train` and `x_test` have shape (examples, pixels); `y_train` and `y_test` (examples,).
    """

    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def digits(split: Literal["stratified", "writers"] = "stratified") -> TrainTest:
    """UCI's optical digits, cut 80/20 into training and test examples.

    `x` is float32 of shape (n, 64) in 0..1, the stored counts 0..16 of inked pixels divided by 16
    (`x.reshape(-1, 8, 8)` are the images); `y` is int64 of shape (n,), the digits 0..9.

    * `"stratified"`: one fixed shuffle, 80 % of each digit to train. Training and test share
      their writers.
    * `"writers"`: the file's own order, which goes from writer to writer: the first 1,437 train,
      the last 360 test. Harder, for nearly all of the test comes from unseen hands. The file
      names no writers, but its labels repeat one form of about 130 digits 14 times; the cut falls
      22 digits into the twelfth.

    Raises `ValueError` for another `split`, and if the file is not the one that was shipped.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository, 1998, doi:10.24432/C50P49, CC BY 4.0. This is its test part
    (optdigits.tes, by UCI's count from 13 writers) in scikit-learn's copy; see
    `digits.LICENSE.txt`.

    >>> from tensorgrad.data import digits
    >>> x_train, y_train, x_test, y_test = digits()
    >>> x_train.shape, y_train.shape, x_test.shape, y_test.shape
    ((1438, 64), (1438,), (359, 64), (359,))
    """
    if split not in _SPLITS:
        choices = " or ".join(map(repr, _SPLITS))
        raise ValueError(f"digits: split must be {choices}, got {split!r}")
    content = Path(__file__).with_name("digits.npz").read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise ValueError("digits.npz is not the file that came with tensorgrad: install it again")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        x = stored["images"].reshape(-1, 64) / np.float32(16)
        y = stored["labels"].astype(np.int64)
    train, test = _SPLITS[split](y)
    return TrainTest(x[train], y[train], x[test], y[test])


def _stratified(y: NDArray[Any]) -> tuple[_Indices, _Indices]:
    # Sorted raw PCG64 output, because NumPy promises that stream forever (NEP 19), and the
    # stream of Generator.permutation for one version only.
    order = np.argsort(np.random.PCG64(1797).random_raw(len(y)))
    held_out = np.zeros(len(y), dtype=bool)
    for digit in range(10):
        members = order[y[order] == digit]
        held_out[members[: round(len(members) / 5)]] = True
    return order[~held_out[order]], order[held_out[order]]


def _writers(y: NDArray[Any]) -> tuple[_Indices, _Indices]:
    cut = len(y) * 4 // 5
    return np.arange(cut), np.arange(cut, len(y))


_SPLITS = {"stratified": _stratified, "writers": _writers}

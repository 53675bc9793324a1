"""MNIST in Nielsen's split: 50,000 images to train on, 10,000 to validate and 10,000 to test."""

from functools import cache
from typing import NamedTuple

import numpy as np

from tensorgrad import data

ONE_HOT = np.eye(10, dtype=np.float32)


class Images(NamedTuple):
    """Rows of 784 pixels from 0 to 1, float32, and their digits, integers."""

    x: np.ndarray
    y: np.ndarray

    @property
    def one_hot(self) -> np.ndarray:
        return ONE_HOT[self.y]

    def first(self, n: int) -> "Images":
        return Images(self.x[:n], self.y[:n])


class Split(NamedTuple):
    training: Images
    validation: Images
    test: Images


@cache
def split() -> Split:
    """Read from $TENSORGRAD_DATA/mnist, or downloaded once. ValueError for other images."""
    x, y, x_test, y_test = data.mnist()
    shapes = [a.shape for a in (x, x_test)]
    if shapes != [(60_000, 784), (10_000, 784)] or [*y[:5]] != [5, 0, 4, 1, 9] or y_test.max() > 9:
        raise ValueError("what is found as mnist are other images than MNIST's 60,000 and 10,000")
    return Split(
        Images(x[:50_000], y[:50_000]), Images(x[50_000:], y[50_000:]), Images(x_test, y_test)
    )

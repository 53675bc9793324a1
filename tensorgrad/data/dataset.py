"""What `digits` and `mnist` return: four arrays that unpack in the usual order."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Dataset(NamedTuple):
    """A classification task: flat images, scaled to 0..1, and the class of each.

    `x_train` and `x_test` have shape (examples, pixels); `y_train` and `y_test` (examples,).
    """

    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]

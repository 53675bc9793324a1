"""Data to learn from, as plain NumPy arrays: nothing here knows about gradients.

`digits` comes with the package, `mnist` is read from disk or downloaded once, `read_idx` reads
any file of MNIST's format, and `DataLoader` cuts arrays into shuffled batches.
"""

from tensorgrad.data.digits import Dataset, digits
from tensorgrad.data.idx import read_idx
from tensorgrad.data.loader import DataLoader
from tensorgrad.data.mnist import mnist

__all__ = ["DataLoader", "Dataset", "digits", "mnist", "read_idx"]

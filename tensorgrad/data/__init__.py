"""Data to learn from, as plain NumPy arrays: nothing here knows about gradients.

`digits` comes with the package; `mnist`, its relatives, `cifar10` and `tiny_shakespeare` are read
from disk or downloaded once; `ImageFolder` and `read_csv` read your own; `moons`, `circles`,
`spirals` and `blobs` are drawn. `DataLoader` cuts arrays or any data set into shuffled batches,
`Chunks` those of Dask, chunk by chunk, and the functions of `images.py` make other pictures of the
same things.
"""

from tensorgrad.data.chunks import Chunks
from tensorgrad.data.cifar import cifar10
from tensorgrad.data.digits import TrainTest, digits
from tensorgrad.data.folder import ImageFolder, Table, read_csv, read_image
from tensorgrad.data.idx import read_idx
from tensorgrad.data.images import (
    cutout,
    elastic,
    expand,
    normalize,
    random_flip,
    random_shift,
    rotate,
    shift,
)
from tensorgrad.data.loader import DataLoader, default_collate
from tensorgrad.data.mnist import fashion_mnist, kmnist, mnist
from tensorgrad.data.plane import blobs, circles, moons, spirals
from tensorgrad.data.samplers import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from tensorgrad.data.shakespeare import Text, tiny_shakespeare
from tensorgrad.data.subsets import (
    ConcatDataset,
    Dataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)

__all__ = [
    "BatchSampler",
    "Chunks",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "ImageFolder",
    "RandomSampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "Table",
    "TensorDataset",
    "Text",
    "TrainTest",
    "WeightedRandomSampler",
    "blobs",
    "cifar10",
    "circles",
    "cutout",
    "default_collate",
    "digits",
    "elastic",
    "expand",
    "fashion_mnist",
    "kmnist",
    "mnist",
    "moons",
    "normalize",
    "random_flip",
    "random_shift",
    "random_split",
    "read_csv",
    "read_idx",
    "read_image",
    "rotate",
    "shift",
    "spirals",
    "tiny_shakespeare",
]

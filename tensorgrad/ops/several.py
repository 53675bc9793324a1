"""Functions of several results, such as `np.linalg.eigh`: one primitive computes them all, packed
side by side in one array, and the results are read off it. So a node still has one array, and a
rule sees all the cotangents at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tensorgrad.engine.domain import Shape
from tensorgrad.engine.node import Array


def pack(parts: Sequence[Array], cores: Sequence[Shape]) -> Array:
    """The results with their core axes (`cores`, the last ones) flattened, along one last axis.

    >>> pack([np.ones((5, 2)), np.ones((5, 2, 2))], [(2,), (2, 2)]).shape
    (5, 6)
    """
    flat = [
        np.reshape(part, (*part.shape[: part.ndim - len(core)], math.prod(core)))
        for part, core in zip(parts, cores)
    ]
    return np.concatenate(flat, axis=-1)


def unpack(packed: Array, cores: Sequence[Shape]) -> list[Array]:
    """The results again, from what `pack` returned.

    >>> [part.shape for part in unpack(np.ones((5, 6)), [(2,), (2, 2)])]
    [(5, 2), (5, 2, 2)]
    """
    parts, start = [], 0
    for core in cores:
        end = start + math.prod(core)
        parts.append(np.reshape(packed[..., start:end], packed.shape[:-1] + tuple(core)))
        start = end
    return parts

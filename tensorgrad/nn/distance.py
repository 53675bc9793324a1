"""How far apart, and how alike, two arrays of vectors are."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.nn.module import module_of


def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """‖x1 - x2 + eps‖ₚ along the last axis: (..., n), (..., n) -> (...).

    >>> pairwise_distance(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0]])).round(3)
    array([5.])
    """
    return np.linalg.norm(as_array(x1) - as_array(x2) + eps, p, axis=-1, keepdims=keepdim)


PairwiseDistance = module_of("PairwiseDistance", pairwise_distance, 2)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between vectors along `dim`; a length below `eps` counts as `eps`.

    >>> cosine_similarity(np.array([[1.0, 1.0]]), np.array([[2.0, 0.0]])).round(6)
    array([0.707107])
    """
    x1, x2 = as_array(x1), as_array(x2)
    lengths = (np.linalg.norm(x, axis=dim, keepdims=True) for x in (x1, x2))
    a, b = (x / np.maximum(r, eps) for x, r in zip((x1, x2), lengths))
    return np.sum(a * b, axis=dim)


CosineSimilarity = module_of("CosineSimilarity", cosine_similarity, 2)

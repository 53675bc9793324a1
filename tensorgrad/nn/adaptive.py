"""A softmax over very many classes, most of them rare."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import as_array, created, outside, wrong
from tensorgrad.nn.linear import Linear
from tensorgrad.nn.module import Module
from tensorgrad.ops.nn.cost import class_numbers
from tensorgrad.ops.nn.softmax import log_softmax
from tensorgrad.random import generator


class ASMoutput(NamedTuple):
    """The log probability of each right class, and minus their mean."""

    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log probabilities of classes that are numbered by how frequent they are (Grave et al. 2017).

    Those before the first of `cutoffs` are answered by the head, together with one entry for each
    cluster between two of them; a cluster has two linear layers of its own, through in_features /
    div_value, / div_value², ... features, and is computed for the examples in it only. ValueError
    unless the cutoffs increase within 1..n_classes-1, and for classes that do not exist.

    >>> model = AdaptiveLogSoftmaxWithLoss(16, 100, [10, 30], rng=0)
    >>> found = model(np.zeros((3, 16)), np.array([2, 15, 99]))
    >>> found.output.data.round(4)
    array([-2.4849, -5.4806, -6.7334])
    >>> model.log_prob(np.zeros((3, 16))).shape, model.predict(np.zeros((3, 16))).shape
    ((3, 100), (3,))
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        limits = [*cutoffs]
        if not limits or limits != sorted({*limits}) or limits[0] < 1 or limits[-1] >= n_classes:
            raise ValueError(f"cutoffs={limits} do not increase within 1..{n_classes - 1}")
        self.in_features, self.n_classes, self.div_value = in_features, n_classes, div_value
        rng = generator(rng)
        self.cutoffs = [*limits, n_classes]
        size = limits[0] + len(limits)
        self.head = Linear(in_features, size, head_bias, dtype=dtype, rng=rng)
        self.tail = []
        for i, (low, high) in enumerate(pairwise(self.cutoffs), 1):
            narrow = int(in_features // div_value**i)
            first = Linear(in_features, narrow, False, dtype=dtype, rng=rng)
            self.tail.append([first, Linear(narrow, high - low, False, dtype=dtype, rng=rng)])

    def forward(self, input: Any, target: Any) -> ASMoutput:
        """(n, in_features) and class numbers (n), or (in_features) and one."""
        x, y = as_array(input), class_numbers(target)
        single, n = x.ndim == 1, self.cutoffs[-1]
        x, y = (x[None], y.reshape(1)) if single and not y.ndim else (x, y)
        if x.ndim != 2 or y.shape != x.shape[:1]:
            raise ValueError(f"features of shape {x.shape} and class numbers of shape {y.shape}")
        if not y.size:
            raise ValueError("the mean of no losses: the batch is empty")
        if wrong(outside(y, n)):
            raise ValueError(f"classes {y.min()}..{y.max()}, but there are {n}")
        cluster = np.searchsorted(created(np.array, self.cutoffs, like=y), y, side="right")
        entry = np.where(cluster == 0, y, self.cutoffs[0] + cluster - 1)
        output = np.take_along_axis(log_softmax(self.head(x)), entry[:, None], 1)[:, 0]
        for i in range(len(self.tail)):
            rows = np.flatnonzero(cluster == i + 1)
            if rows.size:
                within = self._cluster(i, x[rows])
                right = within[np.arange(len(rows)), y[rows] - self.cutoffs[i]]
                output[rows] = output[rows] + right
        loss = -output.mean()
        return ASMoutput(output[0] if single else output, loss)

    def _cluster(self, i: int, x: Any) -> Any:
        """The log probabilities within a cluster."""
        first, second = self.tail[i]
        return log_softmax(second(first(x)))

    def log_prob(self, input: Any) -> Any:
        """The log probability of every class: (n, in_features) to (n, n_classes)."""
        head, first = log_softmax(self.head(input)), self.cutoffs[0]
        parts = [
            head[:, first + i][:, None] + self._cluster(i, input) for i in range(len(self.tail))
        ]
        return np.concatenate([head[:, :first], *parts], axis=1)

    def predict(self, input: Any) -> Any:
        """The most probable class of each example: (n, in_features) to (n)."""
        return np.argmax(self.log_prob(input), axis=1)

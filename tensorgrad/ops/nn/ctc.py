"""Connectionist temporal classification: a sequence of labels without their times.

Graves et al. (2006). The labels with a blank around each are a row of S states; a path starts in
one of the first two, stays, goes on by one, or by two past a blank between different labels, and
ends in one of the last two. α[t, s] is the logarithm of the probability of all paths that are in s
at time t, what they emit at t included, β[t, s] that of all ways from there to the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import beside
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import primitive
from tensorgrad.ops.nn.cost import one_hot
from tensorgrad.ops.nn.softmax import log_of_sum

NEVER = -np.inf


def states(targets: Array, blank: int) -> tuple[Array, Array]:
    """The label of each state, (n, 2L + 1), and the states that may be reached past a blank."""
    n, length = targets.shape
    labels = np.full((n, 2 * length + 1), blank)
    labels[:, 1::2] = targets
    past = np.zeros(labels.shape, bool)
    past[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    return labels, past


def later(x: Array, by: int) -> Array:
    """What was `by` states before; before the first nothing is possible."""
    none = np.full_like(x[:, :by], NEVER)
    return np.concatenate([none, x], axis=1)[:, : x.shape[1]]


def emitted(x: Array, labels: Array) -> Array:
    """The log probability at each time of the label of each state: (time, n, S)."""
    return np.take_along_axis(x, labels[None], axis=2)


def forwards(e: Array, past: Array, lengths: Array) -> list[Array]:
    """α at each time. After its last time an example stays as it is."""
    past, lengths = beside(past, e), beside(lengths, e)
    start = beside(np.arange(past.shape[1]) < 2, e)
    alpha = [np.where(start, e[0], NEVER)]
    for t in range(1, len(e)):
        a = alpha[-1]
        skipped = np.where(past, later(a, 2), NEVER)
        step = np.logaddexp(np.logaddexp(a, later(a, 1)), skipped) + e[t]
        alpha.append(np.where((lengths > t)[:, None], step, a))
    return alpha


def backwards(e: Array, past: Array, lengths: Array, ends: Array) -> list[Array]:
    """β at each time, 0 where a path ends."""
    past, lengths, ends = beside(past, e), beside(lengths, e), beside(ends, e)
    last = np.where(ends, 0.0, NEVER)
    beta = [last + np.zeros_like(e[0])]
    for t in range(len(e) - 2, -1, -1):
        b = beta[-1] + e[t + 1]
        flipped = np.where(past, b, NEVER)[:, ::-1]
        step = np.logaddexp(
            np.logaddexp(b, later(b[:, ::-1], 1)[:, ::-1]), later(flipped, 2)[:, ::-1]
        )
        beta.append(np.where((lengths > t + 1)[:, None], step, last))
    return beta[::-1]


def endings(target_lengths: Array, count: int) -> Array:
    """The last two states of each example."""
    at, last = np.arange(count), 2 * target_lengths[:, None]
    return (at == last) | ((at == last - 1) & (last > 0))


def surprise(
    x: Array, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0
) -> Array:
    """-ln of the probability of each example's labels."""
    labels, past = states(targets, blank)
    alpha = forwards(emitted(x, labels), past, input_lengths)[-1]
    ends = beside(endings(target_lengths, labels.shape[1]), x)
    return -log_of_sum(np.where(ends, alpha, NEVER), axis=1)


def occupancy(
    g: Array,
    out: Array,
    x: Array,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
) -> Array:
    """-γ, the probability of being in a state with that label at that time: their eq. 14 and 15.

    γ[t, s] = e^(α + β) / p of the paths through s at t.
    """
    labels, past = states(targets, blank)
    e = emitted(x, labels)
    ends = endings(target_lengths, labels.shape[1])
    alpha, beta = forwards(e, past, input_lengths), backwards(e, past, input_lengths, ends)
    total = np.where(np.isinf(out), 0, out)[:, None]  # of what cannot be no path adds anything
    on = beside((input_lengths > np.arange(len(x))[:, None])[..., None], x)
    gamma = np.where(on, np.exp(np.stack(alpha) + np.stack(beta) + total), 0)
    by_label = beside(one_hot(labels, x.shape[2]).astype(x.dtype), x)
    return -np.swapaxes(np.swapaxes(g[:, None] * gamma, 0, 1) @ by_label, 0, 1)


def short_targets(shape: Shape) -> Any:
    """One label, and the same twice where there is time for that, of two examples, the second of
    which ends earlier."""
    if len(shape) != 2 or shape[0] < 2 or shape[1] < 2:
        return
    t, c = shape
    for targets in [[1], [c - 1], [1, 1]][: 3 if t > 2 else 2]:
        yield {
            "targets": np.tile(targets, (2, 1)),
            "input_lengths": np.array([t, t - 1]),
            "target_lengths": np.array([len(targets), len(targets) - 1]),
        }


ctc = primitive(
    surprise,
    occupancy,
    name="ctc",
    notation=r"-\ln p({targets} \mid {0})",
    domain=Domain((-3, -0.1), params=short_targets, make=lambda x: (np.stack([x, x * x], 1),)),
)

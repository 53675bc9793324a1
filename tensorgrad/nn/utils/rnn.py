"""Sequences of different lengths, padded or packed, as in `torch.nn.utils.rnn`.

Packed, they lie time after time, the longest first, without a row for a sequence that has ended:
`nn.LSTM` and its relatives take that, and compute nothing for what is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import as_array, created
from tensorgrad.value import Value

Indices = npt.NDArray[np.intp]


class PackedSequence(NamedTuple):
    """Sequences one behind the other in time: `data` (rows, ...), of which the first
    `batch_sizes[0]` are of time 0, the next `batch_sizes[1]` of time 1, and so on.

    `sorted_indices`: which sequence is the first, second, ..., None for their own order;
    `unsorted_indices`: where each went. Make it with `pack_padded_sequence` or `pack_sequence`.
    """

    data: Any
    batch_sizes: tuple[int, ...]
    sorted_indices: Indices | None = None
    unsorted_indices: Indices | None = None


def lengths_of(batch_sizes: Sequence[int]) -> Indices:
    """How long the sequences are, the longest first.

    >>> lengths_of((3, 2, 2, 1))
    array([4, 3, 1])
    """
    times = len(batch_sizes)
    ended = times - np.searchsorted(
        batch_sizes[::-1], np.arange(max(batch_sizes, default=0)), "right"
    )
    return np.asarray(ended, np.intp)


def going(lengths: npt.ArrayLike, times: int) -> npt.NDArray[np.bool_]:
    """Which sequences last still: (times, sequences)."""
    return np.arange(times)[:, None] < np.asarray(lengths)


def checked(lengths: Any, n: int, times: int) -> Indices:
    """Lengths as integers. TypeError or ValueError for what cannot be the lengths of `n` sequences
    of at most `times` steps."""
    found = np.asarray(lengths)
    if found.dtype.kind not in "iu" or found.shape != (n,):
        raise ValueError(
            f"lengths are {n} integers, one for each sequence, not {found.dtype}{list(found.shape)}"
        )
    if n and (found.min() < 1 or found.max() > times):
        raise ValueError(
            f"lengths lie between 1 and {times}, the steps there are, not between {found.min()} "
            f"and {found.max()}: leave out sequences of length 0"
        )
    return found.astype(np.intp)


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Padded sequences (times, n, ...) packed, `lengths` (n,) of them; with `batch_first` (n, ...).

    ValueError for lengths that do not fit, 0 among them, and, unless `enforce_sorted=False`, for
    lengths that increase.

    >>> x = np.array([[1, 2, 3], [4, 5, 0]])
    >>> packed = pack_padded_sequence(x, [3, 2], batch_first=True)
    >>> packed.data, packed.batch_sizes
    (array([1, 4, 2, 5, 3]), (2, 2, 1))
    """
    x = as_array(input)
    if x.ndim < 2:
        raise ValueError(f"padded sequences are (times, n, ...), not of shape {x.shape}")
    x = np.swapaxes(x, 0, 1) if batch_first else x
    lengths = checked(lengths, x.shape[1], len(x))
    order = back = None
    if np.any(np.diff(lengths) > 0):
        if enforce_sorted:
            raise ValueError(
                f"lengths {lengths.tolist()} are not in decreasing order: pass enforce_sorted=False"
            )
        order = np.argsort(-lengths, kind="stable")
        back = np.argsort(order, kind="stable")
        x, lengths = x[:, order], lengths[order]
    there = going(lengths, int(max(lengths, default=0)))
    return PackedSequence(x[: len(there)][there], tuple(there.sum(axis=1).tolist()), order, back)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Any, Indices]:
    """The padded sequences (times, n, ...) again, and their lengths (n,).

    `total_length`: how many times there shall be. ValueError where that is less than there are.

    >>> packed = pack_padded_sequence(np.array([[1, 2, 3], [4, 5, 0]]), [3, 2], batch_first=True)
    >>> pad_packed_sequence(packed, batch_first=True, padding_value=9)
    (array([[1, 2, 3],
           [4, 5, 9]]), array([3, 2]))
    """
    if not isinstance(sequence, PackedSequence):
        raise TypeError(
            f"pad_packed_sequence takes a PackedSequence, not {type(sequence).__name__}"
        )
    data, sizes, _, back = sequence
    lengths = lengths_of(sizes)
    times = len(sizes) if total_length is None else total_length
    if times < len(sizes):
        raise ValueError(
            f"total_length={total_length}: the longest sequence has {len(sizes)} steps"
        )
    padded = scattered(data, going(lengths, times), padding_value)
    if back is not None:
        padded, lengths = padded[:, back], lengths[back]
    return (np.swapaxes(padded, 0, 1) if batch_first else padded), lengths


def scattered(data: Any, there: npt.NDArray[np.bool_], padding_value: float) -> Any:
    """The rows of `data` where they are `there`, in order, and elsewhere the padding."""
    shape = (*there.shape, *data.shape[1:])
    padded = created(np.full, shape, padding_value, dtype=data.dtype, like=data)
    padded = Value(padded, requires_grad=False) if isinstance(data, Value) else padded
    padded[there] = data
    return padded


def pad_sequence(
    sequences: Sequence[Any],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Any:
    """Sequences (length, ...) each, padded to the longest: (times, n, ...), or (n, times, ...).

    ValueError where there are none, or they differ in more than their lengths.

    >>> pad_sequence([np.ones(1), 2 * np.ones(3)], batch_first=True)
    array([[1., 0., 0.],
           [2., 2., 2.]])
    """
    xs = [as_array(x) for x in sequences]
    if not xs or padding_side not in ("right", "left"):
        raise ValueError("pad_sequence takes one sequence or more, and padding_side right or left")
    if any(x.ndim < 1 or x.shape[1:] != xs[0].shape[1:] for x in xs):
        raise ValueError(
            f"sequences of shapes {', '.join(str(x.shape) for x in xs)}: all but the first axis "
            "must be the same"
        )
    lengths = [len(x) for x in xs]
    there = going(lengths, max(lengths)).T
    if padding_side == "left":
        there = there[:, ::-1]
    padded = scattered(np.concatenate(xs), there, padding_value)
    return padded if batch_first else np.swapaxes(padded, 0, 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Any]:
    """The sequences again, of padded ones.

    >>> unpad_sequence(np.array([[1.0, 0.0], [2.0, 2.0]]), [1, 2], batch_first=True)
    [array([1.]), array([2., 2.])]
    """
    x = padded_sequences if batch_first else np.swapaxes(padded_sequences, 0, 1)
    return [x[i, :n] for i, n in enumerate(checked(lengths, len(x), x.shape[1]))]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (length, ...) each, packed. ValueError as of `pack_padded_sequence`.

    >>> pack_sequence([np.array([1.0, 2.0, 3.0]), np.array([4.0])]).data
    array([1., 4., 2., 3.])
    """
    lengths = [len(x) for x in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Any]:
    """The sequences again, of packed ones.

    >>> unpack_sequence(pack_sequence([np.array([1.0, 2.0]), np.array([4.0])]))
    [array([1., 2.]), array([4.])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)

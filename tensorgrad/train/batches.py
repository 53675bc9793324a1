"""What `fit` is given to learn from, and to measure on: arrays, or batches of them; checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from operator import length_hint
from typing import Any

import numpy as np

from tensorgrad.data.chunks import Chunks
from tensorgrad.data.loader import DataLoader
from tensorgrad.data.subsets import Dataset, with_rows
from tensorgrad.engine.arguments import ordinary
from tensorgrad.engine.arrays import NUMPY, is_lazy, kind_of, same_shape
from tensorgrad.engine.dtypes import is_numeric
from tensorgrad.engine.node import data_of
from tensorgrad.engine.sparse import is_sparse
from tensorgrad.random import generators_of


class Counted:
    """Batches that can say where they are, and go on there, as a DataLoader can: by leaving out
    those that were given, with generators (the attributes of the iterable that are) as they were.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches
        self.generators = generators_of(batches)
        self.begun: dict[str, Any] = {}  # the generators before the epoch under way
        self.now: dict[str, Any] = {}
        self.left_out = 0

    def __iter__(self) -> Iterator[Any]:
        left_out, self.left_out = self.left_out, 0
        if left_out:
            self._set(self.begun)
        self.begun = self._states()
        batches = iter(self.batches)
        for _ in islice(batches, left_out):
            pass
        if left_out:
            self._set(self.now)
        return batches

    def __length_hint__(self) -> int:
        return length_hint(self.batches, 0)

    def state_dict(self) -> dict[str, Any]:
        """As that of a DataLoader. The position is the caller's to say: it counts."""
        return {"rng": self._states(), "begun": self.begun, "position": None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there. ValueError where the generators are others."""
        for name in ("rng", "begun"):
            if state[name] and state[name].keys() != self.generators.keys():
                raise ValueError(
                    f"the state has generators {[*state[name]]}, not {[*self.generators]}"
                )
        self.begun, self.now = state["begun"], state["rng"]
        self.left_out = state["position"] or 0
        self._set(self.now)

    def _states(self) -> dict[str, Any]:
        return {name: rng.bit_generator.state for name, rng in self.generators.items()}

    def _set(self, states: Mapping[str, Any]) -> None:
        for name, state in states.items():
            self.generators[name].bit_generator.state = state


def groups(batches: Iterable[Any], n: int) -> Iterator[list[Any]]:
    """`n` batches at a time, the last time as many as there are."""
    rest = iter(batches)
    while group := list(islice(rest, n)):
        yield group


def validation_sets(validation: Any, batch_size: int) -> dict[str, Any]:
    """What can be iterated for batches, by name; one without a name is "validation"."""
    if validation is None:
        return {}
    if not isinstance(validation, Mapping):
        return {"validation": _validation_set("validation", validation, batch_size)}
    return {name: _validation_set(name, x, batch_size) for name, x in validation.items()}


def _validation_set(name: str, x: Any, batch_size: int) -> Any:
    if not isinstance(name, str):
        raise TypeError(f"validation sets have names that are strings, not {name!r:.60}")
    if is_data(x) or (isinstance(x, (tuple, list)) and holds_arrays(tuple(x))):
        arrays = arrays_of(name, x)
        if is_lazy(arrays[0]):
            return Chunks(*arrays, batch_size=batch_size)
        arrays = tuple([with_rows(a) if is_sparse(a) else a for a in arrays])
        return [
            tuple([a[i : i + batch_size] for a in arrays])
            for i in range(0, arrays[0].shape[0], batch_size)
        ]
    if isinstance(x, Dataset):
        return DataLoader(x, batch_size=batch_size)
    if isinstance(x, Iterator):
        raise ValueError(
            f"{name}: {type(x).__name__} ends with its first epoch: pass what can be iterated anew "
            "each time, such as a tuple (x, y) or a data.DataLoader"
        )
    if not isinstance(x, Iterable):
        raise TypeError(f"{name}: needs a pair (x, y) or batches, not {type(x).__name__}")
    return x


def first_of(name: str, batches: Any) -> Any:
    """The first batch, checked; a loader is put back to where it was."""
    before = batches.state_dict() if hasattr(batches, "state_dict") else None
    first = next(iter(batches), None)
    if before is not None:
        batches.load_state_dict(before)
    if first is None:
        raise ValueError(f"{name}: no batches")
    return arrays_of(name, first)


def rows(targets: Any) -> int:
    """How many examples there are; one where the targets have no axis for them."""
    shape = np.shape(data_of(targets))
    return shape[0] if shape else 1


def as_batches(batches: Any, epochs: int) -> Any:
    """What can be iterated once an epoch."""
    if holds_arrays(batches):
        arrays = arrays_of("arrays", batches)
        if is_lazy(arrays[0]):
            return Chunks(*arrays, batch_size=32, shuffle=True)
        return DataLoader(*arrays, shuffle=True)
    if isinstance(batches, Dataset):
        return DataLoader(batches, shuffle=True)
    if is_data(batches):
        raise TypeError("fit takes inputs and targets together: fit(model, (x, y), ...)")
    if epochs > 1 and isinstance(batches, Iterator):
        raise ValueError(
            f"{type(batches).__name__} ends with its first epoch: pass what can be iterated anew "
            "each time, such as a list or a data.DataLoader"
        )
    if not isinstance(batches, Iterable):
        raise TypeError(f"fit takes arrays (x, y) or batches, not {type(batches).__name__}")
    return batches


def is_data(x: Any) -> bool:
    """Whether `x` is an array or a DataFrame."""
    return len(x.shape) > 0 if hasattr(x, "shape") else hasattr(x, "to_numpy")


def holds_arrays(batches: Any) -> bool:
    """Whether it is a tuple of arrays, rather than a tuple of batches, each a tuple or list."""
    if not isinstance(batches, tuple) or not batches:
        return False
    return any(map(is_data, batches)) or all(
        isinstance(part, list) and not any(map(is_data, part)) for part in batches
    )


def arrays_of(what: str, parts: Any) -> tuple[Any, ...]:
    """Arrays with a row for each example, checked."""
    if not isinstance(parts, (tuple, list)) or len(parts) < 2:
        raise TypeError(f"{what}: needs a pair (x, y), not {type(parts).__name__}")
    arrays = tuple(map(table, parts))
    for x in arrays:
        if not is_numeric(x.dtype):
            raise TypeError(
                f"{what}: {x.dtype} is no type of numbers; x.astype(float) reads what can be read "
                "so, and names, y = np.unique(labels, return_inverse=True) numbers classes"
            )
    shapes = [x.shape for x in arrays]
    if () in shapes or not all(same_shape(shapes[0][:1], shape[:1]) for shape in shapes):
        raise ValueError(f"{what}: each needs a row for each example, got shapes {shapes}")
    if not shapes[0][0]:
        raise ValueError(f"{what}: no examples, got shapes {shapes}")
    return arrays


def table(part: Any) -> Any:
    """An array of what may be a list or a DataFrame; other kinds of array as they are."""
    x = part.to_numpy() if hasattr(part, "to_numpy") else data_of(part)
    try:
        if kind_of(x) is not NUMPY:
            return x if hasattr(x, "dtype") else kind_of(x).copy(x)  # a frame says what to write
        return np.asarray(ordinary(x, "fit"))
    except ValueError as error:
        raise ValueError("the rows of a list have different lengths: pad them to one") from error


def classifies(answers: Any, targets: Any) -> bool:
    """Whether `accuracy` fits: answers for several classes, targets that are classes."""
    if answers.ndim != 2 or answers.shape[1] < 2:
        return False
    if targets.ndim == 1:
        return bool(targets.dtype.kind in "biu")
    rows_of_one = np.all((targets == 0) | (targets == 1)) and np.all(np.sum(targets, axis=-1) == 1)
    return bool(targets.shape[1:] == answers.shape[1:] and rows_of_one)

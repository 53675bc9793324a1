"""Arrays in a memory of their own, on a GPU: a kind, and a place that arrays are moved to.

Such arrays compute with their own kind, with numbers and by NumPy's indices, and refuse the rest:
what is moved is moved by name, `x.to("cupy")`. CuPy's row is here. Where there is no GPU,
`tests/stand_in.py` is another, as strict, and tests run the whole library on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import (
    Kind,
    created,
    innermost,
    is_numpy,
    kind_of,
    kinds,
    moved,
    places,
)
from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive
from tensorgrad.extras import missing


class Device(Kind):
    """A row, of a library that has NumPy's functions for arrays of its own.

    `name`: the place, and the library's name in errors.
    """

    creators = Kind.creators | {np.zeros_like, np.ones_like, np.empty_like, np.full_like}

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def namespace(self) -> Any:
        """The module; an error in one line where it is missing, or finds no device."""
        raise NotImplementedError

    def run(self, op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any]) -> Array:
        """TypeError for operands that lie elsewhere, ValueError for those of two devices,
        NotImplementedError for what the library has not: each says what to write."""
        own = [x for x in inputs if kind_of(x) is self]
        if len(own) < len(inputs):
            inputs = [x[()] if isinstance(x, np.ndarray) and not x.ndim else x for x in inputs]
            self.refuse_others(op, inputs)
        if len(own) > 1 and any(x.device != own[0].device for x in own[1:]):
            where = ", ".join(str(x.device) for x in own)
            raise ValueError(
                f"operands are on several devices, {where}: copy them to one, "
                "with x.device: y.copy()"
            )
        forward = INSTEAD.get(op.name, op.forward)
        try:
            return forward(*inputs, **params)
        except NotImplementedError as error:
            raise NotImplementedError(f"{error}; {self.way_out(op)}") from error
        except TypeError as error:
            said = str(error)
            if any(words in said for words in LACKING):
                raise NotImplementedError(self.way_out(op)) from error
            raise
        except AttributeError as error:
            raise NotImplementedError(f"{error}; {self.way_out(op)}") from error

    def way_out(self, op: Primitive) -> str:
        return (
            f"{self.name} has not {op.name} as NumPy has it: compute it there, v.to('numpy'), and "
            f"bring the result back, .to('{self.name}')"
        )

    def refuse_others(self, op: Primitive, inputs: Sequence[Array]) -> None:
        """TypeError where an operand with axes is not of this kind."""
        strays = [i for i, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.ndim]
        if strays:
            own = next((i for i, x in enumerate(inputs) if kind_of(x) is self), None)
            beside = f", operand {own} {self.name}'s" if own is not None else ""
            raise TypeError(
                f"operand {strays[0]} is an array of NumPy's{beside}: move one, "
                f"v.to('{self.name}') of a Value or Module, DataLoader(..., to='{self.name}'), or "
                "v.to('numpy')"
            )

    def create(self, function: Callable[..., Array], like: Array, *args: Any, **params: Any) -> Any:
        """By the library's own function, and its own generator, on the device of `like`."""
        rng, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
        with like.device:
            if isinstance(rng, np.random.Generator):
                own = getattr(self.generator(rng), name, None)
                if own is not None:
                    return own(*args, **params)
            elif function in self.creators:
                return getattr(self.namespace(), name)(*args, **params)
            return self.from_numpy(function(*args, **params))

    def generator(self, rng: np.random.Generator) -> Any:
        """A generator of the library's, seeded by the next number of NumPy's.

        So that there is one state to seed, to save and to go back to: that of the program's, or a
        Module's, generator. What is drawn is not what NumPy would draw.
        """
        random = self.namespace().random
        return random.Generator(random.Philox4x3210(int(rng.integers(1 << 62))))

    def spread(self, x: Array, like: Array) -> Array:
        x = created(np.asarray, x, like=like) if is_numpy(x) else x
        return np.broadcast_to(x, like.shape)

    def to_numbers(self, x: Array) -> Any:
        return x.get()[()]

    def from_numpy(self, x: Any) -> Array:
        return self.namespace().asarray(x)


class CuPy(Device):
    """The row of CuPy's arrays."""

    def namespace(self) -> Any:
        try:
            import cupy
        except ImportError:
            raise missing("arrays on a GPU need CuPy", "cupy") from None
        if not cupy.is_available():
            raise RuntimeError("CuPy finds no GPU here (no device, or no driver for it)")
        return cupy


def take(x: Array, indices: Any, axis: int | None = None, mode: str = "raise") -> Array:
    """CuPy takes what is out of range from the other end, and knows no mode."""
    n = x.size if axis is None or not x.ndim else x.shape[axis]
    if mode != "raise":
        indices = np.mod(indices, n) if mode == "wrap" else np.clip(indices, 0, n - 1)
    return np.take(x, indices, axis)


LACKING = ("returned NotImplemented", "no implementation found", "unexpected keyword argument")
"""What NumPy says of a function, and Python of an argument, that another library has not."""

INSTEAD: Mapping[str, Callable[..., Array]] = {
    "take": take,
    "svdvals": lambda a: np.linalg.svd(a, compute_uv=False),
}
"""By an operation's name, what CuPy spells otherwise."""


def arrive(x: Array, to: str) -> Array:
    return moved(x, places[to])


def bring_back(g: Array, out: Array, x: Array, to: str) -> Array:
    """The gradient goes where the operand is; of one that is computed yet, it is NumPy's."""
    return transfer(g, to=kind_of(innermost(x)).name or "numpy")


transfer = Primitive(arrive, (bring_back,), "transfer", batch=elementwise)
"""An array moved to a place."""

CUPY = CuPy("cupy")
kinds["cupy.ndarray"] = CUPY
places["cupy"] = CUPY

"""Several arrays as one real vector: what numerical differentiation works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorgrad.engine.dtypes import finfo, is_inexact

Array = Any
Vector = NDArray[np.float64]


class Layout:
    """Where the numbers of `arrays` stand in the vector.

    A complex array takes two places for each entry, first all real parts, then all imaginary ones.

    >>> layout = Layout([np.array([1.0, 2.0]), 3.0])
    >>> layout.vector([np.array([1.0, 2.0]), 3.0])
    array([1., 2., 3.])
    >>> layout.place(1)
    (0, (1,), '')
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.shapes = [np.shape(x) for x in arrays]
        self.dtypes = [np.asarray(x).dtype for x in arrays]
        self.boxed = [isinstance(x, np.ndarray) for x in arrays]
        self.counts = [int(np.prod(shape)) for shape in self.shapes]
        widths = [n * (1 + (d.kind == "c")) for n, d in zip(self.counts, self.dtypes)]
        self.starts = [0, *np.cumsum(widths, dtype=int).tolist()]
        self.size = self.starts[-1]

    def part(self, k: int) -> slice:
        """The places of array `k`."""
        return slice(self.starts[k], self.starts[k + 1])

    def vector(self, arrays: Sequence[Array], sign: int = 1) -> Vector:
        """The numbers of `arrays`; with the imaginary parts negated where `sign` is -1."""
        parts = [
            np.concatenate([np.ravel(np.real(x)), sign * np.ravel(np.imag(x))])
            if dtype.kind == "c"
            else np.ravel(np.real(x))
            for x, dtype in zip(arrays, self.dtypes)
        ]
        return np.concatenate([np.zeros(0), *parts]).astype(np.float64)

    def covector(self, arrays: Sequence[Array]) -> Vector:
        """The same of cotangents: of x + iy it is ∂f/∂x - i ∂f/∂y."""
        return self.vector(arrays, -1)

    def arrays(self, vector: Array, exact: bool = False, sign: int = 1) -> list[Array]:
        """The arrays again, in their own dtypes, or if `exact` in none less than float64.

        Numbers are NumPy scalars, unless they were 0-d arrays. A complex `vector` (for the complex
        step) gives complex arrays.
        """
        result = []
        for k, (shape, dtype, n) in enumerate(zip(self.shapes, self.dtypes, self.counts)):
            x = vector[self.part(k)]
            if dtype.kind == "c":
                x = x[:n] + sign * 1j * x[n:]
            if exact or np.iscomplexobj(vector):
                dtype = np.result_type(dtype, np.float64, x.dtype)
            x = x.astype(dtype).reshape(shape)
            result.append(x if self.boxed[k] else x[()])
        return result

    def coarrays(self, vector: Vector) -> list[Array]:
        """Cotangents again."""
        return self.arrays(vector, sign=-1)

    def place(self, i: int) -> tuple[int, tuple[int, ...], str]:
        """What entry `i` of the vector is: which array, which entry of it, and which part.

        The part is "real" or "imaginary" for complex arrays, else "".
        """
        k = int(np.searchsorted(self.starts, i, side="right")) - 1
        j, n = i - self.starts[k], self.counts[k]
        part = ("real", "imaginary")[j // n] if self.dtypes[k].kind == "c" else ""
        index = tuple(int(a) for a in np.unravel_index(j % n, self.shapes[k]))
        return k, index, part

    def eps(self) -> float:
        """The spacing at 1 of the least precise float among the arrays."""
        return max((float(finfo(d).eps) for d in self.dtypes if is_inexact(d)), default=0.0)


def several(result: Any) -> bool:
    """Whether a function returned more than one array."""
    return isinstance(result, (tuple, list))


def listed(result: Any) -> list[Array]:
    """What a function returned, as a list of arrays."""
    return list(result) if several(result) else [result]

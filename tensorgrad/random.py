"""The generator that is meant where none is given: `tg.manual_seed(0)` makes a program repeatable.

What draws takes `rng`, a `numpy.random.Generator` or a seed; None, the default, is the one
generator here.
"""

from __future__ import annotations  # np.random, 10 ms to import, loads with the first draw

from typing import Any

import numpy as np

_default: list[np.random.Generator] = []


def default() -> np.random.Generator:
    """The generator of the program, seeded by the system unless `manual_seed` was called."""
    if not _default:
        _default.append(np.random.default_rng())
    return _default[0]


def generator(rng: Any = None) -> np.random.Generator:
    """`rng` if it is a generator, a new one from a seed, the program's for None."""
    return default() if rng is None else np.random.default_rng(rng)


def manual_seed(seed: int) -> np.random.Generator:
    """Seed the generator that all layers, initialisers and functions draw from without `rng=`.

    It starts anew, also for Modules that exist already.

    >>> from tensorgrad import nn
    >>> _ = manual_seed(0)
    >>> weight = nn.Linear(2, 1).weight.data
    >>> _ = manual_seed(0)
    >>> bool(np.array_equal(nn.Linear(2, 1).weight.data, weight))
    True
    """
    rng = default()
    rng.bit_generator.state = np.random.PCG64(seed).state
    return rng


def generators_of(holder: Any) -> dict[str, np.random.Generator]:
    """The generators among the attributes of `holder`, by name."""
    return {
        name: x
        for name, x in getattr(holder, "__dict__", {}).items()
        if isinstance(x, np.random.Generator)
    }

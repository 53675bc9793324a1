"""Random small networks, each with a batch of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import assume, note
from hypothesis import strategies as st

from tensorgrad import nn
from tensorgrad.testing.strategies.arrays import arrays
from tensorgrad.value import no_grad

ACTIVATIONS = (
    *(nn.Identity, nn.Tanh, nn.Sigmoid, nn.ReLU, nn.Softplus, nn.Softmax, nn.LogSoftmax),
)
MARGIN = 2.0**-4
"""How far from 0 what a ReLU is given lies; parameters and inputs may move by a good part of it."""
TRIES = 20


def clear_of_kinks(model: nn.Sequential, x: Any) -> bool:
    """Whether no ReLU is near its kink."""
    with no_grad():
        for layer in model:
            if isinstance(layer, nn.ReLU) and np.any(np.abs(getattr(x, "data", x)) < MARGIN):
                return False
            x = layer(x)
    return True


def networks(
    *,
    max_layers: int = 3,
    max_width: int = 4,
    max_batch: int = 3,
    activations: Sequence[type[nn.Module]] = ACTIVATIONS,
    dtype: npt.DTypeLike = np.float64,
) -> st.SearchStrategy[tuple[nn.Sequential, npt.NDArray[Any]]]:
    """A network and a batch of inputs (n, features): `nn.Linear` layers with activations between.

    Widths, activations and the seeds of the weights are drawn; where a test fails, the code that
    makes the network is printed. No ReLU is given a number near its kink. `activations`: classes
    of Modules that are made without arguments; the first is what networks shrink to.
    ValueError unless each limit is 1 or more.

    >>> from hypothesis import find, given
    >>> find(networks(), lambda call: True)
    (Sequential(Linear(1, 1, dtype=dtype('float64'))), array([[0.5]]))
    >>> @given(networks(activations=[nn.ReLU]))
    ... def test(call):
    ...     model, x = call
    ...     model(x).sum().backward()
    ...     assert all(p.grad.shape == p.shape for p in model.parameters())
    >>> test()
    """
    if min(max_layers, max_width, max_batch) < 1 or not activations:
        raise ValueError("networks: max_layers, max_width, max_batch and activations: 1 or more")
    kind = np.dtype(dtype)
    widths = st.integers(1, max_width)
    layers = st.lists(
        st.tuples(widths, st.sampled_from(list(activations))), min_size=1, max_size=max_layers
    )

    @st.composite
    def call(draw: st.DrawFn) -> tuple[nn.Sequential, npt.NDArray[Any]]:
        inputs, plan, first = draw(widths), draw(layers), draw(st.integers(0, 999))
        x = draw(arrays((draw(st.integers(1, max_batch)), inputs), kind))
        for seed in range(first, first + TRIES):
            modules: list[nn.Module] = []
            made: list[str] = []
            features = inputs
            for i, (width, activation) in enumerate(plan):
                rng = seed + 1000 * i
                modules.append(nn.Linear(features, width, dtype=kind, rng=rng))
                made.append(f"nn.Linear({features}, {width}, dtype={kind.name!r}, rng={rng})")
                if activation is not nn.Identity:
                    modules.append(activation())
                    made.append(f"nn.{activation.__name__}()")
                features = width
            model = nn.Sequential(*modules)
            if clear_of_kinks(model, x):
                note(f"the network: nn.Sequential({', '.join(made)})")
                return model, x
        assume(False)
        raise AssertionError

    return call()

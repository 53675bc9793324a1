"""Ranges whose ends are Values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorgrad import Value
from tests.numerical import assert_gradient

ENDS: list[Any] = [(1.0, 3.0), ([1.0, 2.0], [2.0, 5.0]), (1.0, [2.0, 5.0])]


@pytest.mark.parametrize("f", [np.linspace, np.logspace, np.geomspace])
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("call", [{}, {"endpoint": False}, {"axis": -1}, {"num": 1}, {"num": 0}])
def test_ranges_and_their_gradients(f: Any, ends: Any, call: Any) -> None:
    space = lambda a, b: f(a, b, **{"num": 4, **call})
    a, b = map(np.asarray, ends)
    found, expected = space(Value(a), Value(b)), space(a, b)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.data, expected, rtol=1e-14)
    assert_gradient(space, a, b, order=2)


def test_ranges_keep_single_precision() -> None:
    a, b = np.float32([1, 2])
    for f in (np.linspace, np.logspace):
        assert f(Value(a), Value(b), 5).dtype == f(a, b, 5).dtype == np.float32


def test_the_step_of_a_range_has_a_gradient() -> None:
    a = Value(1.0)
    _, step = np.linspace(a, 3.0, 5, retstep=True)
    step.backward()
    assert (step.data, a.grad) == (0.5, -0.25)


def test_geomspace_refuses_ends_of_other_signs() -> None:
    with pytest.raises(ValueError, match="same sign"):
        np.geomspace(Value(-1.0), 2.0)

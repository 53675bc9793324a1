"""Every public function of NumPy is in a class, and docs/coverage.md tells which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.engine.primitive import implementations
from tensorgrad.ops import coverage

DOCUMENT = Path(__file__).parents[1] / "docs" / "coverage.md"


def test_every_public_function_is_classified() -> None:
    """Fails when a NumPy release adds a function that nobody has classified."""
    kinds = {kind for rows in coverage.table().values() for kind, _ in rows.values()}
    assert kinds <= {coverage.DIFFERENTIABLE, coverage.FLAT, coverage.NONE, coverage.UNSUPPORTED}


def test_a_function_in_no_class_is_named() -> None:
    def newcomer(x: Any) -> Any:
        return x

    with pytest.raises(LookupError, match=r"nobody has classified .*newcomer"):
        coverage.classify("newcomer", newcomer)


def test_the_document_is_what_the_declarations_say() -> None:
    text = DOCUMENT.read_text("utf8")
    if f"| NumPy {coverage.NUMPY} |" not in text:
        pytest.skip(f"docs/coverage.md is about another NumPy than {coverage.NUMPY}")
    assert text == coverage.document(), "run python -m tensorgrad.ops.coverage"


def test_it_covers_more_than_its_peers_together() -> None:
    """165 names in autograd and MyGrad, counted by benchmarks/numpy_coverage.py."""
    kinds = [kind for rows in coverage.table().values() for kind, _ in rows.values()]
    assert sum(kind in (coverage.DIFFERENTIABLE, coverage.FLAT) for kind in kinds) > 250


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tanh", coverage.DIFFERENTIABLE),
        ("hstack", coverage.DIFFERENTIABLE),
        ("floor", coverage.FLAT),
        ("argmax", coverage.NONE),
        ("zeros", coverage.NONE),
    ],
)
def test_classes(name: str, kind: str) -> None:
    assert coverage.classify(name, getattr(np, name))[0] == kind


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", sorted(coverage.WITHOUT_RULES))
def test_what_is_not_supported_raises(name: str) -> None:
    x = tg.Value([1.0, 2.0])
    calls: dict[str, Any] = {
        "bmat": lambda: np.bmat([[x, x]]),
        "full": lambda: np.full(2, x),
        "fromiter": lambda: np.fromiter(iter([x, x]), np.dtype((float, 2))),
        "fromfunction": lambda: np.fromfunction(lambda i: np.asarray(x)[i], (2,), dtype=int),
        "frompyfunc": lambda: np.frompyfunc(lambda x: x, 1, 1)(x),
        "kaiser": lambda: np.kaiser(5, x),
    }
    with pytest.raises((TypeError, ValueError)):
        calls.get(name, lambda: getattr(np, name)(x))()


def test_functions_without_a_gradient_answer_from_the_data() -> None:
    x = tg.Value([3.0, 1.0, 2.0])
    assert np.argmax(x) == 0
    assert np.lexsort((x,)).tolist() == [1, 2, 0]
    assert np.isin(x, [1.0]).tolist() == [False, True, False]
    assert np.digitize(x, [1.5]).tolist() == [1, 0, 1]
    assert np.linalg.matrix_rank(np.outer(x, x)) == 1


def test_what_is_computed_from_the_data_has_an_implementation() -> None:
    unbound = [f.__name__ for f in coverage.CONSTANTS if f not in implementations]
    assert not unbound

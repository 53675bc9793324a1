"""Names of PyTorch's: here, with the same arguments, or named with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.coming_from_pytorch import (
    DIFFERENT,
    ELSEWHERE,
    MISSING,
    NAMES,
    ROOMS,
    SPELLINGS,
    here,
    page,
    rows,
    variables,
)
from tensorgrad.nn import functional

PAGE = Path(__file__).parents[1] / "docs" / "coming-from-pytorch.md"
TORCH = json.loads(NAMES.read_text())


def ours(path: str) -> object:
    room, _, name = path.rpartition(".")
    return here(f"{ROOMS[room]}.{name}")


def test_every_public_name_is_here_or_has_a_reason() -> None:
    """And what is here has PyTorch's settings, in their order, with their defaults."""
    assert [f"{row.room}.{row.name}: {row.why}" for row in rows(TORCH) if not row.what] == []


def test_the_lists_of_exceptions_are_true() -> None:
    names = {f"{room}.{name}" for room, listed in TORCH.items() for name in listed}
    assert not {*MISSING, *ELSEWHERE, *DIFFERENT} - names
    assert not [path for path in (*MISSING, *ELSEWHERE) if ours(path) is not None]
    assert not [path for path in DIFFERENT if ours(path) is None]


def test_the_page_is_what_the_script_writes() -> None:
    assert PAGE.read_text(encoding="utf8") == page(TORCH)


@pytest.mark.parametrize("spelling", [ours for _, ours in SPELLINGS])
def test_what_to_write_instead_runs(spelling: str) -> None:
    made = eval(spelling, variables("numpy"))
    assert made is not None
    assert np.size(getattr(made, "data", made)) > 0


def test_functional_has_pytorchs_names_and_ours_and_no_helper_of_a_family() -> None:
    ours = {"quadratic", "sigmoid_cross_entropy", "rotary", "sinusoidal"}
    assert {*functional.__all__} - {*TORCH["torch.nn.functional"]} == ours

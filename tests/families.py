"""Tests of many alike: one of each family in every run, the others where the run takes its time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def first_word(name: str) -> str:
    return re.split(r"[^\w.]", name)[0]


def one_of_each(names: Iterable[str], family: Callable[[str], str] = first_word) -> list[Any]:
    """For `parametrize`: the first name of each family, and the others marked `nightly`."""
    seen: set[str] = set()
    found: list[Any] = []
    for name in names:
        new = family(name) not in seen
        seen.add(family(name))
        found.append(name if new else pytest.param(name, marks=pytest.mark.nightly))
    return found

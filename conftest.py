"""Doctests: what they declare is forgotten, and what needs a missing extra is not collected."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tensorgrad.engine.primitive import implementations, registry

collect_ignore = [] if find_spec("scipy") else ["tensorgrad/scipy"]


@pytest.fixture(autouse=True)
def forget_primitives_of_doctests(request: pytest.FixtureRequest) -> Iterator[None]:
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    before = dict(registry), dict(implementations)
    yield
    for table, old in zip((registry, implementations), before):
        table.clear()
        table.update(old)  # type: ignore[arg-type]

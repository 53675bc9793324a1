"""Programs are made anew in each of these tests: some change what makes them."""

from collections.abc import Iterator

import pytest

from tensorgrad.compiler import store


@pytest.fixture(autouse=True, scope="session")
def nothing_from_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "LEAST", store.MOST + 1)
        yield

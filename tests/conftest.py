"""What every test shares: the Hypothesis profiles, and where the data sets are.

HYPOTHESIS_PROFILE chooses between `dev` (quick), `ci` (the same examples each time), `full` (of
these, more) and `nightly` (thorough); without it, `ci` where the environment variable CI is set,
else `dev`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tensorgrad.data import TrainTest, mnist
from tensorgrad.engine.primitive import implementation_of, implementations, registry

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
settings.register_profile("dev", max_examples=30, deadline=None, suppress_health_check=SLOW)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.register_profile("full", settings.get_profile("ci"), max_examples=100)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=2000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)

DATA = Path(__file__).parents[2] / "shared" / "data"
if DATA.is_dir():
    os.environ.setdefault("TENSORGRAD_DATA", str(DATA))


@pytest.fixture(autouse=True)
def same_numbers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test draws the same numbers from its module's generator, whichever tests ran before it."""
    for name in ("rng", "RNG"):
        if (generator := getattr(request.module, name, None)) is not None:
            monkeypatch.setattr(request.module, name, copy.deepcopy(generator))


@pytest.fixture
def own_primitives() -> Iterator[None]:
    """Forget the primitives that a test declares."""
    implementation_of(own_primitives)  # loads what is declared when it is met: no test's own
    before = dict(registry), dict(implementations)
    yield
    for table, old in zip((registry, implementations), before, strict=True):
        table.clear()
        table.update(old)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def real_mnist() -> TrainTest:
    """MNIST from `$TENSORGRAD_DATA`; a test that asks for it is skipped where it is not."""
    folder = Path(os.environ.get("TENSORGRAD_DATA", "nowhere"), "mnist")
    if not folder.is_dir():
        pytest.skip(f"no MNIST in {folder}: set TENSORGRAD_DATA to run this test")
    return mnist(folder)

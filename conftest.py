"""Doctests, whose declarations are forgotten; and how tests share the machine."""

from __future__ import annotations

import gc
import getpass
import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

# For the workers, which load NumPy later: a process for each core is enough, and threads of small
# products that wait for each other take up to 20 times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Machine code is no test's own, and not for the user's cache.
os.environ.setdefault(
    "TENSORGRAD_CACHE", os.path.join(tempfile.gettempdir(), f"tensorgrad-{getpass.getuser()}")
)
# A process that a test starts finds the package compiled: from its source it takes twice as long.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from tensorgrad.engine.primitive import implementations, registry

collect_ignore = [] if find_spec("scipy") else ["tensorgrad/scipy"]
collect_ignore += [] if find_spec("dask") else ["docs/dask.md"]
collect_ignore += [] if find_spec("scipy") else ["docs/sparse.md"]
for peer in ("torch", "jax"):
    collect_ignore += [] if find_spec(peer) else [f"tensorgrad/interop/{peer}.py"]
if not (find_spec("torch") and find_spec("jax")):
    collect_ignore.append("docs/interop.md")
collect_ignore += [] if find_spec("llvmlite") else ["tensorgrad/compiler/llvm"]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """No workers for single files: most take no longer than a worker's start."""
    files = [arg.partition("::")[0] for arg in config.args]
    return 0 if all(map(os.path.isfile, files)) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and tests are no garbage: looking for some takes a third of the time to collect them,
    5 s in each worker, and in each test that leaves something longer lived a part of a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


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

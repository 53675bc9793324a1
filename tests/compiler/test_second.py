"""Tests of nn, optim, transforms and SciPy run a second time, compiled by both back ends: `second`
is the plugin that does it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
NN = "activation attention buffers container conv dropout embedding layers losses module"
NN += " normalization pooling recurrent resampling shape_layers"
FILES = {  # and how many of their tests compile something
    "nn": ([f"tests/nn/test_{name}.py" for name in NN.split()], 500),
    "every module": (["tests/nn/test_every_module.py"], 300),
    "optim": ([f"tests/test_{name}.py" for name in ("optim", "lr_scheduler", "swa")], 160),
    "transforms": (["tests/test_transforms.py", "tests/test_vmap.py"], 290),
    "scipy": (["tests/test_scipy.py"], 50),
}
ONE_OF_EACH = [
    "tests/nn/test_conv.py::test_backpropagation_through_a_convolution_is_three_short_formulas",
    "tests/nn/test_recurrent.py::test_a_cell_is_one_step",
    "tests/test_optim.py::test_a_rate_set_later_is_checked_before_anything_changes",
    "tests/test_transforms.py::test_jvp_and_vjp_are_transposes",
    "tests/test_scipy.py::test_every_rule_is_the_derivative[erf]",
]


def run(backend: str, *tests: str) -> int:
    """How many tests compiled something; all pass."""
    if backend == "llvm":
        pytest.importorskip("llvmlite")
    options = ["-q", "-n", "0", "-p", "no:cacheprovider", "-p", "tests.compiler.second"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--backend", backend, *tests],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    print(said := "\n".join(re.findall(r".* (?:tests|calls) .*", done.stdout)))
    return int(said.split()[0])


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_one_of_each_passes_a_second_time_compiled(backend: str) -> None:
    assert run(backend, *ONE_OF_EACH) >= 5


@pytest.mark.nightly
@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize("name", FILES)
def test_tests_pass_a_second_time_compiled(name: str, backend: str) -> None:
    files, least = FILES[name]
    assert run(backend, *files) >= least

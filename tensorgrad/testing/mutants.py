"""Moved to `tests/mutants/` of the repository; this command answers for one more version."""

import runpy
import sys
import warnings
from importlib.util import find_spec

if __name__ == "__main__":
    moved = "python -m tensorgrad.testing.mutants is python -m tests.mutants now, in the repository"
    warnings.warn(moved, FutureWarning, stacklevel=2)
    if not (find_spec("tests") and find_spec("tests.mutants")):
        sys.exit("no tests/mutants here: run it in the root of a checkout of tensorgrad")
    runpy.run_module("tests.mutants", run_name="__main__", alter_sys=True)

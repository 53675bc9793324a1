"""How many of NumPy's functions have a derivative: here, in autograd, in MyGrad.

    python benchmarks/numpy_coverage.py

Counted are the public names of `numpy`, `numpy.linalg` and `numpy.fft` (aliases too) with a
derivative, steps of slope 0 included: in autograd, names of `autograd.numpy` that are primitives
with a gradient or are made of such; in MyGrad, names of `mygrad` that compute on tensors.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # count this checkout

import autograd.numpy  # noqa: E402
import autograd.numpy.fft  # noqa: E402
import autograd.numpy.linalg  # noqa: E402
import mygrad  # noqa: E402
import mygrad.linalg  # noqa: E402
from autograd.core import primitive_vjps  # noqa: E402

from tensorgrad.ops.coverage import DIFFERENTIABLE, FLAT, MODULES, functions, table  # noqa: E402

AUTOGRAD = {
    "numpy": autograd.numpy,
    "numpy.linalg": autograd.numpy.linalg,
    "numpy.fft": autograd.numpy.fft,
}
FLAT_IN_AUTOGRAD = (
    *("around", "ceil", "fix", "floor", "floor_divide", "heaviside"),
    *("rint", "round", "sign", "trunc"),
)


def of_autograd(module: str, name: str) -> bool:
    """A primitive with a gradient (its steps are marked as having none), or Python made of them."""
    function = getattr(AUTOGRAD[module], name, None)
    if function is None or isinstance(function, type):
        return False
    if function in primitive_vjps or name in FLAT_IN_AUTOGRAD:
        return True
    wrapped = hasattr(function, "_is_autograd_primitive") or hasattr(function, "_is_primitive")
    return inspect.isfunction(function) and not wrapped and "autograd" in function.__module__


def of_mygrad(module: str, name: str) -> bool:
    """A function of tensors, of the same name in the same place."""
    home = {"numpy": mygrad, "numpy.linalg": getattr(mygrad, "linalg", None)}.get(module)
    function = getattr(home, name, None)
    if not callable(function):
        return False
    parts = function.__module__.split(".")
    return parts[0] == "mygrad" and not {
        "_io",
        "tensor_creation",
        "tensor_base",
        "nondifferentiable",
    } & {*parts}


def main() -> None:
    ours = table()
    counted: dict[str, set[str]] = {"tensorgrad": set(), "autograd": set(), "MyGrad": set()}
    for module in MODULES:
        home = module.__name__
        for name, _ in functions(module):
            where = f"{home}.{name}"
            if ours[home][name][0] in (DIFFERENTIABLE, FLAT):
                counted["tensorgrad"].add(where)
            if of_autograd(home, name):
                counted["autograd"].add(where)
            if of_mygrad(home, name):
                counted["MyGrad"].add(where)
    counted["autograd and MyGrad together"] = counted["autograd"] | counted["MyGrad"]
    for library, names in counted.items():
        print(f"{library:30} {len(names)}")
    missing = sorted(counted["autograd and MyGrad together"] - counted["tensorgrad"])
    print("there, not here:", ", ".join(missing) or "none")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()

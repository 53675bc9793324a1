"""What happens where an object of another library stands beside a Value: writes the table of
docs/other-libraries.md from the libraries that are installed.

    python benchmarks/other_libraries.py docs/other-libraries.md

Each expression runs on a Value `v` of shape (3,). Where its result holds a Value, the gradient of
the sum is compared with a central difference of the same expression on arrays, which is the other
library's own answer: "works" says that they agree.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.nn import functional as F
from tensorgrad.ops.sparse import todense

A, B = np.array([1.0, 2.0, 3.0]), np.array([2.0, -1.0, 0.5])
SQUARE = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 0.0, 4.0]])
WRONG = "WRONG"

OPERATORS = ["v * x", "x * v", "v - x", "v @ x", "x @ v", "v > x"]
FUNCTIONS = ["np.multiply(v, x)", "np.dot(v, x)", "np.where(x > 0, v, 0)", "np.stack([v, x])"]
OURS = ["F.mse_loss(v, x)", "Value(x)", "tg.grad(np.sum)(x)"]
ALL = OPERATORS + FUNCTIONS + OURS
PLOTS = ["plt.plot(v)", "plt.scatter(v, v)", "plt.plot(v.data)", "plt.plot(v.detach())"]

Objects = dict[str, Any]
LIBRARIES: dict[str, tuple[str, Callable[[Any], Objects], list[str]]] = {
    "pandas": (
        "`x = pd.Series(...)`, labelled a, b, c; `df`, a DataFrame",
        lambda pd: {
            "x": pd.Series(B, index=list("abc")),
            "df": pd.DataFrame(SQUARE),
        },
        [*ALL, "df @ v", "v * df", "v * x.to_numpy()", "df.to_numpy() @ v"],
    ),
    "polars": (
        "`x = pl.Series(...)`; `df`, a DataFrame",
        lambda pl: {"x": pl.Series(B), "df": pl.DataFrame(SQUARE)},
        [*ALL, "v[0] * x", "x * v[0]", "v * df", "v * x.to_numpy()"],
    ),
    "xarray": (
        "`x = xr.DataArray(...)` along i; `y`, the same labels in another order",
        lambda xr: {
            "x": xr.DataArray(B, dims="i", coords={"i": [0, 1, 2]}),
            "y": xr.DataArray(A, dims="i", coords={"i": [2, 1, 0]}),
        },
        [*ALL, "v * x * y", "(v * x).sum()", "np.sin(v * x)", "v * x.to_numpy()"],
    ),
    "pint": (
        "`x = array * ureg.metre`",
        lambda pint: {"x": B * pint.UnitRegistry().metre},
        [*ALL, "(v * x) ** 2", "np.sum(v * x)", "v * x.units", "v * x.magnitude"],
    ),
    "scipy": (
        "`x = scipy.sparse.csr_array(...)`: a kind of array, which Values hold",
        lambda scipy: {"x": import_module("scipy.sparse").csr_array(SQUARE)},
        [*ALL, "x.multiply(v)", "v + x", "v + x.toarray()"],
    ),
    "sparse": (
        "`x = sparse.COO(...)`: a kind of array, which Values hold",
        lambda sparse: {"x": sparse.COO.from_numpy(SQUARE)},
        [*ALL, "v + x", "v + x.todense()"],
    ),
    "uncertainties": (
        "`x = ufloat(2.0, 0.1)`",
        lambda un: {"x": un.ufloat(2.0, 0.1)},
        [*ALL, "v * x.nominal_value"],
    ),
    "dask": (
        "`x = da.from_array(...)`: a kind of array, which Values hold",
        lambda dask: {"x": import_module("dask.array").from_array(B, chunks=2)},
        ALL,
    ),
    "matplotlib": (
        "`plt`, the pyplot interface",
        lambda matplotlib: {"plt": import_module("matplotlib.pyplot")},
        PLOTS,
    ),
}


def held(result: Any) -> Any:
    """The Value that a result is or holds; else None."""
    for name in ("", "data", "magnitude"):
        found = getattr(result, name, None) if name else result
        if isinstance(found, Value):
            return found
    return None


def numbers(result: Any) -> Any:
    """The sum of a result of arrays, without units."""
    result = getattr(result, "magnitude", result)
    result = result.compute() if hasattr(result, "compute") else result
    array = np.asarray(todense(result))
    if array.dtype == object:  # NumPy's functions make one of a sparse matrix of SciPy
        raise TypeError("no numbers")
    return np.sum(array)


def outcome(expression: str, objects: Objects) -> str:
    """What becomes of `expression`, in a few words."""
    names = {"np": np, "tg": tg, "F": F, "Value": Value, **objects}
    v = Value(A)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = eval(expression, names, {"v": v})
        except Exception as error:
            words = [str(error), *getattr(error, "__notes__", [])]
            said = " ".join(words[-1].split())
            return f"refuses: {said if len(said) < 220 else said[:219] + '…'}"
        y = held(result)
        called = type(result).__name__
        if y is None:
            return f"{'works' if 'tg.grad' in expression else 'no gradient'}: {called}"
        if "v" not in expression:
            return "works: a Value of its numbers"
        np.sum(y).backward()
        slope = v.grad.compute() if hasattr(v.grad, "compute") else v.grad
        h = 1e-6
        differences = [
            (value_at(expression, names, A + h * e) - value_at(expression, names, A - h * e))
            / (2 * h)
            for e in np.eye(3)
        ]
    right = np.allclose(slope, differences, atol=1e-6)
    kind = "" if y is result else f": {called} that holds a Value"
    return f"works{kind}" if right else f"{WRONG}: {slope}, not {differences}"


def value_at(expression: str, names: Objects, a: Any) -> Any:
    """The sum of the same expression on an array, where that can be had without a Value."""
    if "F." not in expression:
        with suppress(TypeError):
            return numbers(eval(expression, names, {"v": a}))
    return numbers(held(eval(expression, names, {"v": Value(a)})).data)


def table(library: str) -> Iterator[tuple[str, str]]:
    """Each expression of a library, and what becomes of it."""
    _, make, expressions = LIBRARIES[library]
    objects = make(import_module(library))
    yield from ((expression, outcome(expression, objects)) for expression in expressions)


def document() -> str:
    """docs/other-libraries.md."""
    lines = [
        "# Beside other libraries",
        "",
        "What happens where an object `x` of another library stands beside a Value `v` that",
        "requires grad. Written by `python benchmarks/other_libraries.py docs/other-libraries.md`",
        "from the libraries themselves.",
        "",
        "The rule: who defines an operation is asked, as Python and NumPy do it. What xarray and",
        "pint answer holds a Value (`.data`, `.magnitude`), with a gradient; others are refused,",
        "with what to write. NumPy's functions (not its ufuncs) take a table's numbers, as",
        "they do beside arrays. Where the other library is asked first and takes",
        "`float(v)`, as polars does, the result has no gradient; in `tg.grad` that is an error.",
        "",
        "PyTorch's and JAX's functions and models cross the border by `tg.interop`, both ways:",
        "[interop.md](interop.md).",
    ]
    for library, (what, _, _) in LIBRARIES.items():
        lines += ["", f"## {library} {version(library)}", "", what[0].upper() + what[1:] + ".", ""]
        lines += ["| expression | what happens |", "|---|---|"]
        lines += [f"| `{e}` | {said.replace('|', chr(92) + '|')} |" for e, said in table(library)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")

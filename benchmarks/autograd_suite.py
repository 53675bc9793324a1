"""autograd's own tests, run on tensorgrad.

    python benchmarks/autograd_suite.py [FOLDER OF AUTOGRAD'S TESTS] [arguments of pytest]

Wanted are autograd, SciPy and pytest. The folder is `tests/` of autograd's source, which its wheel
does not bring; without it a folder beside the installed package is tried. Nothing is fetched.

What the tests import of autograd is here NumPy (`autograd.numpy`), `tg.grad` and its like. Theirs
remains the check (`autograd.test_util`), which compares our vjp and jvp with differences, at two
orders. Each failure is a line; so is each reason to leave tests out.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # measure this checkout
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import autograd.differential_operators as operators  # noqa: E402
import autograd.scipy  # noqa: E402
import autograd.test_util  # noqa: E402
import autograd.tracer  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from autograd.extend import VSpace, vspace  # noqa: E402
from autograd.wrap_util import unary_to_nary  # noqa: E402

import tensorgrad as tg  # noqa: E402
import tensorgrad.scipy.linalg  # noqa: E402
import tensorgrad.scipy.special  # noqa: E402

LEFT_OUT = {
    "autograd's internals, and names of its own": (
        *("test_vspaces.py", "test_tests.py", "test_misc.py::test_const", "test_misc.py::test_fl"),
        *("test_logic.py::test_no_", "test_logic.py::test_unimplemented_falseyness"),
        *("test_wrappers.py::test_deprecated", "test_wrappers.py::test_wrapped_name_and_docs"),
        *("test_wrappers.py::test_custom_where", "test_numpy.py::test_make_diagonal"),
        "test_numpy.py::test_diagonal",
    ),
    "scipy.stats, signal and odeint: not there yet": (
        *("test_scipy.py::test_convolve", "test_scipy.py::test_odeint"),
        *(f"test_scipy.py::test_{name}_" for name in ("beta", "chi2", "gamma", "norm", "poisson")),
        *(f"test_scipy.py::test_{name}_" for name in ("t", "mvn", "dirichlet")),
    ),
    "NumPy asks no item of a list, np.r_ or np.int64: an error says what to write": (
        *(f"test_numpy.py::test_{name}_list_of_boxes" for name in ("mean", "std", "var")),
        *("test_linalg.py::test_norm_list_of_boxes", "test_numpy.py::test_simple_append_list"),
        *(f"test_numpy.py::test_r_{name}" for name in ("basic", "double", "node", "mixed", "slic")),
        *("test_numpy.py::test_c_", "test_numpy.py::test_cast_to_int"),
    ),
    "a stated choice: a comparison has no derivative (there 0)": tuple(
        f"test_core.py::test_{name}" for name in ("eq", "neq", "leq", "geq", "lt", "gt")
    ),
    "raises there and works here, or raises the other type of error": (
        "test_fft.py::test_rfftn_odd_not_implemented",
        "test_graphs.py::test_assignment_raises_error",
    ),
}
"""What is not asked of tensorgrad, and why: how the tests' names begin."""


def by_argument(transform: Callable[..., Any]) -> Callable[..., Any]:
    """A transform of ours in autograd's spelling: `argnum`, a number or a sequence of them."""

    def spelled(f: Any, argnum: Any = 0) -> Any:
        return transform(f, argnum if isinstance(argnum, int) else tuple(argnum))

    return spelled


def of_one_number(transform: Callable[..., Any]) -> Callable[..., Any]:
    """The same; autograd takes an array of one entry for a number."""

    def number(out: Any) -> Any:
        return np.reshape(out, ()) if np.size(out) == 1 else out

    def numbers(f: Any) -> Any:
        return lambda *args, **kwargs: number(f(*args, **kwargs))

    return by_argument(lambda f, argnums: transform(numbers(f), argnums))


def make_vjp(f: Any, x: Any) -> Any:
    y, pullback = tg.vjp(f, x)
    return lambda g: pullback(g)[0], y


def make_jvp(f: Any, x: Any) -> Any:
    return lambda v: tg.jvp(f, (x,), (v,))


def array(x: Any, *args: Any, **kwargs: Any) -> Any:
    """`np.array`, which cannot know of Values in lists."""
    if isinstance(x, tg.Value):
        return x.copy()
    listed = isinstance(x, (list, tuple)) and tg.value.holds_a_value(x)
    return np.stack([array(item) for item in x]) if listed else np.array(x, *args, **kwargs)


def eigh(a: Any, UPLO: str = "L") -> Any:
    """`np.linalg.eigh` by the triangle that it reads; here the other one shares the gradient."""
    half = np.tril(a) if UPLO == "L" else np.triu(a)
    diagonal = np.real(half) * np.eye(a.shape[-1])
    return np.linalg.eigh(half + np.conj(np.swapaxes(half, -1, -2)) - diagonal, UPLO)


def module(name: str, home: Any, **own: Any) -> ModuleType:
    """A module `name` with the names of `home`, and its own."""
    made = sys.modules[name] = ModuleType(name)
    vars(made).update(own, __getattr__=lambda attribute: getattr(home, attribute))
    return made


def install() -> None:
    """Put tensorgrad where the tests look for autograd."""
    ours = {
        **{name: of_one_number(getattr(tg, name)) for name in ("grad", "value_and_grad")},
        **{name: by_argument(getattr(tg, name)) for name in ("jacobian", "hessian")},
        "elementwise_grad": by_argument(tg.elementwise_grad),
        "grad_and_aux": by_argument(lambda f, argnum: tg.grad(f, argnum, has_aux=True)),
        "checkpoint": tg.checkpoint,
        "make_vjp": unary_to_nary(make_vjp),
        "make_jvp": unary_to_nary(make_jvp),
        **{kind.__name__: kind for kind in (tuple, list, dict)},
        "isinstance": lambda x, kinds: isinstance(x.data if isinstance(x, tg.Value) else x, kinds),
    }
    for home in (autograd, operators, autograd.builtins):
        vars(home).update({name: f for name, f in ours.items() if hasattr(home, name)})
    operators._make_vjp, operators._make_jvp, operators.np = make_vjp, make_jvp, np
    for home in (autograd.core, autograd.test_util):
        home.make_vjp, home.make_jvp = make_vjp, make_jvp
    autograd.tracer.isbox = lambda x: isinstance(x, tg.Value)
    VSpace.register(tg.Value, lambda x: vspace(x.data))
    matrices = {"eigh": eigh, "_dot": np.matmul, "T": lambda x: np.swapaxes(x, -1, -2)}
    autograd.numpy = module(
        "autograd.numpy",
        np,
        array=array,
        numpy_boxes=autograd.numpy.numpy_boxes,
        random=module("autograd.numpy.random", np.random),
        linalg=module("autograd.numpy.linalg", np.linalg, **matrices),
        fft=module("autograd.numpy.fft", np.fft),
    )
    for name in ("linalg", "special"):
        rooms = module(f"autograd.scipy.{name}", getattr(tg.scipy, name))
        setattr(autograd.scipy, name, rooms)


class Tally:
    """A plugin of pytest that leaves out, counts, and keeps a line of each failure."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in list(items):
            test = f"{item.path.name}::{item.name}"
            reason = next((why for why, them in LEFT_OUT.items() if test.startswith(them)), None)
            if reason:
                self.counts[f"left out: {reason}"] += 1
                items.remove(item)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.skipped:
            self.counts[report.outcome] += 1
        if report.failed:
            self.keep(report, getattr(report.longrepr, "reprcrash", report.longrepr))

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.keep(report, report.longrepr)

    def keep(self, report: Any, crash: Any) -> None:
        said = " ".join(str(getattr(crash, "message", crash)).split())
        self.failures.append(f"{report.nodeid.split('/')[-1]}: {said[:150]}")


def main() -> int:
    beside = Path(autograd.__file__).parent.parent / "tests"
    given = sys.argv[1:] if sys.argv[1:] and Path(sys.argv[1]).is_dir() else [beside, *sys.argv[1:]]
    if not (Path(given[0]) / "test_systematic.py").exists():
        print(f"no tests of autograd in {given[0]}: give the folder `tests` of its source")
        return 2
    install()
    tally = Tally()
    quiet = ["-q", "--no-header", "--no-summary", "--tb=short", "-p", "no:cacheprovider"]
    alone = ["--rootdir", given[0], "--confcutdir", given[0], "-c", os.devnull]
    pytest.main([*map(str, [*given, *quiet, *alone])], plugins=[tally])
    print(*(f"FAILED {line}" for line in tally.failures), sep="\n")
    print(*(f"{n:5} {what}" for what, n in sorted(tally.counts.items())), sep="\n")
    return bool(tally.failures)


if __name__ == "__main__":
    sys.exit(main())

"""A subject at one point: its function and its gradient as functions of real vectors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from tensorgrad.engine.dtypes import is_floating, is_short
from tensorgrad.testing.report import Failure, GradientError, Report, described
from tensorgrad.testing.subject import Subject, is_float
from tensorgrad.testing.vectors import Layout, Vector, listed, several
from tensorgrad.transforms.call import positions
from tensorgrad.value import Value

Array = Any
SHORT = (np.float32, np.complex64)
POOR = 1e-4
OUTSIDE = (ArithmeticError, ValueError)  # what functions raise where they are not defined


class Point:
    """`subject` at `args`, to be differentiated by the arguments `wrt`.

    `inputs`, `outputs`: the layouts of these arguments and of the results; `x`, `y`: their vectors.
    `smooth`: the numbers of the input that no kink was found at.
    GradientError where the function cannot be checked here at all.
    """

    def __init__(self, subject: Subject, args: Sequence[Any], argnums: Any, report: Report) -> None:
        self.subject, self.report = subject, report
        args = [a.data if isinstance(a, Value) else a for a in args]
        self.args = [np.asarray(a) if isinstance(a, list) else a for a in args]
        self.names = [subject.argument(k) for k in range(len(args))]
        report.inputs = described(self.names, self.args)
        self.wrt = self.differentiable(argnums)
        self.inputs = Layout([self.args[k] for k in self.wrt])
        self.x = self.inputs.vector([self.args[k] for k in self.wrt])
        if not np.isfinite(self.x).all():
            self.fail("not finite", "an argument holds NaN or infinity: pass finite numbers")
        results = self.results(self.call(self.own(self.x)))
        self.outputs = Layout(results)
        self.y = self.outputs.vector(results)
        self.smooth = np.ones(self.x.size, bool)
        self.eps_of_inputs = Layout([a for a in self.args if is_float(a)]).eps()
        self.eps = max(self.eps_of_inputs, self.outputs.eps())
        self.exact = True
        try:
            exactly = self.results(self.subject.f(*self.own(self.x, exact=True)))
            off = np.max(np.abs(self.outputs.vector(exactly) - self.y), initial=0.0)
        except GradientError:
            raise
        except Exception:  # it takes its own dtype only, as networks of float32 weights do
            self.exact, exactly, off = False, results, 0.0
        self.eps_of_f = Layout(exactly).eps()
        if off:  # some functions compute in float32 with less than its precision
            self.eps = max(self.eps, min(off / np.max(np.abs(self.y)), POOR))
        self.complex = any(d.kind == "c" for d in self.inputs.dtypes + self.outputs.dtypes)

    def differentiable(self, argnums: Any) -> list[int]:
        """The arguments to differentiate by: those of `argnums`, or all that hold floats."""
        for name, a in zip(self.names, self.args):
            if type(a).__module__.startswith("numpy.ma"):
                self.fail("no differentiable input", f"{name} is masked: pass {name}.filled(...)")
        floats = [k for k, a in enumerate(self.args) if is_float(a)]
        if argnums is None and floats:
            return floats
        if argnums is None or (not isinstance(argnums, (int, np.integer)) and not len(argnums)):
            kinds = ", ".join(f"{n} is {shown_type(a)}" for n, a in zip(self.names, self.args))
            detail = (
                f"there is no float and no array of floats to differentiate by: {kinds or '()'}"
            )
            detail += "; integers carry no gradient, pass 1.0 instead of 1"
            self.fail("no differentiable input", detail)
        given = (argnums,) if isinstance(argnums, (int, np.integer)) else tuple(argnums)
        wrt = positions("check", given, len(self.args))
        for k in wrt:
            if k not in floats:
                kind = shown_type(self.args[k])
                self.fail("no differentiable input", f"{self.names[k]} is {kind}, no floats")
        return wrt

    def fail(self, kind: str, detail: str, **more: Any) -> None:
        """Give up: there is nothing to compare."""
        self.report.failures.append(Failure(kind, detail, **more))
        raise GradientError(self.report)

    # Calls. Every one gets arrays of its own, so that nobody's changes reach anybody.

    def own(self, x: Array, exact: bool = False) -> list[Any]:
        """Fresh arguments that hold the vector `x`; if `exact`, in none less than float64."""
        args = [copy.copy(a) if isinstance(a, np.ndarray) else a for a in self.args]
        if exact:
            args = [a.astype(np.result_type(a, np.float64)) if is_less(a) else a for a in args]
        for k, a in zip(self.wrt, self.inputs.arrays(x, exact)):
            args[k] = a.copy() if isinstance(a, np.ndarray) else a
        return args

    def raised(self, what: str, error: Exception) -> NoReturn:
        """Tell what an error was raised in."""
        detail = f"{what}: {type(error).__name__}: {error}"
        self.report.failures.append(Failure("raises", detail))
        raise GradientError(self.report) from error

    def call(self, args: list[Any]) -> Any:
        """The function; what it raises is told with the arguments."""
        try:
            return self.subject.f(*args)
        except Exception as error:
            self.raised("the function itself", error)

    def results(self, result: Any) -> list[Array]:
        """The arrays that the function returned."""
        self.several = several(result)
        arrays = listed(result)
        for y in arrays:
            kind = getattr(getattr(y, "dtype", None), "kind", "f" if type(y) is float else "O")
            kind = "f" if hasattr(y, "dtype") and is_floating(y.dtype) else kind
            kind = "c" if type(y) is complex else "i" if type(y) in (int, bool) else kind
            if kind in "biu":
                self.fail(
                    "integers",
                    f"the function returned {shown_type(y)}: what is counted or compared has no "
                    "gradient; return floats",
                )
            if isinstance(y, Value):
                self.fail("no array", "the function returned a Value: use check_grads")
            if kind not in "fc":
                self.fail(
                    "no array",
                    f"the function returned {shown_type(y)}: return a float, an array of floats, "
                    "or a tuple of them",
                )
            bad = ~np.isfinite(np.asarray(y))
            if bad.any():
                index = tuple(int(i) for i in np.argwhere(bad)[0])
                self.fail(
                    "not finite",
                    f"the function returned {np.asarray(y)[index]} at output entry {list(index)}: "
                    "check it where it is defined",
                )
        if not arrays:
            self.fail("no array", "the function returned nothing: return a float or an array")
        return arrays

    def f(self, x: Array) -> Vector:
        """The results at `x`, computed in float64 at least; NaN where it is not defined.

        A complex `x` gives the complex results of the complex step.
        """
        nothing = np.full(self.outputs.size, np.nan)
        try:
            result = self.subject.f(*self.own(x, exact=self.exact))
            arrays = listed(result)
            if [np.shape(a) for a in arrays] != self.outputs.shapes:
                return nothing
            if np.iscomplexobj(x):
                return np.concatenate([np.ravel(a) for a in arrays])
            return self.outputs.vector(arrays)
        except OUTSIDE:
            return nothing
        except Exception as error:
            if np.iscomplexobj(x):
                raise
            self.raised("the function itself, beside the point", error)

    def cotangent(self, g: Vector) -> Any:
        """The vector `g` as the cotangents of what the function returned."""
        gs = [a.copy() if isinstance(a, np.ndarray) else a for a in self.outputs.coarrays(g)]
        return tuple(gs) if self.several else gs[0]

    def gradients(self, g: Any, args: list[Any]) -> list[Array]:
        """What the vjp returns for the arguments to differentiate by."""
        try:
            result = self.subject.vjp(g, *args)
        except Exception as error:
            self.raised("the gradient", error)
        return self.chosen(result)

    def chosen(self, result: Any) -> list[Array]:
        """Of what a vjp returned, the gradients by the arguments to differentiate by."""
        if not several(result):
            self.fail(
                "wrong shape",
                f"the gradient is {shown_type(result)}: return a tuple, one gradient for each "
                "argument, as in `return (dx,)`",
            )
        if len(result) != len(self.args):
            self.fail(
                "wrong shape",
                f"{len(result)} gradients for {len(self.args)} arguments: return one for each "
                "(None for those without)",
            )
        return [result[k] for k in self.wrt]

    def pullback(self, g: Vector, x: Vector | None = None) -> Vector:
        """The gradient of g · f by every number of the input."""
        args = self.own(self.x if x is None else x)
        return self.inputs.covector(self.gradients(self.cotangent(g), args))

    def pushforward(self, v: Vector, x: Vector | None = None) -> Vector:
        """The derivative of f along `v`, as the subject's forward mode has it."""
        assert self.subject.jvp
        args = self.own(self.x if x is None else x)
        tangents: list[Any] = [np.zeros(np.shape(a)) for a in args]
        for k, t in zip(self.wrt, self.inputs.arrays(v)):
            tangents[k] = t
        try:
            result = self.subject.jvp(tangents, *args)
        except NotImplementedError:  # there is no forward mode
            raise
        except Exception as error:
            self.raised("forward mode", error)
        arrays = listed(result)
        shapes = [np.shape(a) for a in arrays]
        if shapes != self.outputs.shapes:
            found, expected = (
                str(a[0] if len(a) == 1 else a) for a in (shapes, self.outputs.shapes)
            )
            self.fail("wrong in forward mode", "its shape", found=found, expected=expected)
        return self.outputs.vector(arrays)

    def scale(self, wide: bool = False) -> Vector:
        """How far to step in each coordinate: as large as its array is; 1 where that is 0.

        Unless `wide`, an entry that is a thousand times smaller than the others takes its own size:
        it may stand near the edge of a domain. Powers of two, so that steps are exact.
        """
        sizes = np.ones(self.x.size)
        for k in range(len(self.wrt)):
            part = self.x[self.inputs.part(k)]
            largest = np.max(np.abs(part), initial=0.0)
            typical = largest * np.sqrt(np.mean((part / largest) ** 2)) if largest else 1.0
            own = np.abs(part)
            own = np.where((own > 0) & (own < typical / 1000) & (not wide), own, typical)
            sizes[self.inputs.part(k)] = 2.0 ** np.round(np.log2(own))
        return sizes


def is_less(a: Any) -> bool:
    """Whether it is of floats that float64 has more digits than."""
    dtype = getattr(a, "dtype", None)
    return isinstance(dtype, np.dtype) and (dtype in SHORT or is_short(dtype))


def shown_type(y: Any) -> str:
    if hasattr(y, "dtype"):
        return f"an array of {y.dtype}" if np.ndim(y) else f"a {y.dtype}"
    name = type(y).__name__
    return "None" if y is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"

"""Gradient checks as properties: at drawn points, with failures shrunk by Hypothesis."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial, wraps
from typing import Any

import numpy as np
from hypothesis import Phase, given, reject, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from tensorgrad.testing.check import MODES, check
from tensorgrad.testing.report import Failure, GradientError, Report, reports
from tensorgrad.testing.strategies import arrays, mutually_broadcastable_shapes
from tensorgrad.testing.subject import Function, Subject, from_values, name_of, signature_of

Array = Any
PROFILES = {"quick": 20, "standard": 100, "thorough": 1000}
"""How many points a property tries, by the name of a profile."""
profile: str | None = None
"""The profile in force; without one, as many points as Hypothesis's own profile says."""


def examples_of(wanted: int | None) -> int:
    """How many points to try."""
    if wanted is not None:
        return wanted
    return PROFILES[profile] if profile else settings().max_examples


class Tally:
    """Counts over many points: what was checked, and what was rejected and drawn anew."""

    def __init__(self, name: str) -> None:
        self.report = Report(name, points=0)

    def count(self, case: Callable[[], Report]) -> None:
        """Check one drawn point. One where nothing can be compared (a kink, say) is drawn anew."""
        try:
            found = case()
        except GradientError as error:
            if {f.kind for f in error.failures} != {"nothing checked"}:
                raise
            if not error.report.rejected:
                self.report.rejected["empty array"] += 1
                return
            self.report.rejected["whole point"] += 1
            reject()
        self.report.points += 1
        self.report.add(found)

    def run(self, property: Callable[[], None]) -> Report:
        """The report on all points. GradientError if there were none."""
        reports.append(self.report)
        with suppress(Unsatisfiable):
            property()
        if not self.report.points:
            why = ", ".join(f"{n} for: {why}" for why, n in self.report.rejected.items())
            detail = f"every drawn point was rejected ({why or 'none fits'}): draw others"
            self.report.failures.append(Failure("nothing checked", detail))
            raise GradientError(self.report)
        return self.report


def property_gradcheck(
    f: Function | None = None,
    /,
    *strategies: st.SearchStrategy[Any],
    vjp: Function | None = None,
    adapter: Callable[[Function], Subject] = from_values,
    order: int | None = None,
    modes: Sequence[str] = MODES,
    argnums: int | Sequence[int] | None = None,
    examples: int | None = None,
    **named: st.SearchStrategy[Any],
) -> Any:
    """Make a Hypothesis test of a function of arrays: its gradient is right wherever it is drawn.

    `strategies`, `named`: what to draw for the arguments, in order or by name, as for
    `hypothesis.given`; by default arrays of real numbers whose shapes broadcast. A keyword-only
    argument is a param, drawn but not differentiated by. The gradient is the one of `vjp`, else of
    what `adapter` makes of the function: tensorgrad's, for a function of Values. `order`: 2 where
    there are second derivatives to check, else 1. `examples`: by default what the profile
    says, ours or else that of Hypothesis.

    The test takes no arguments. A failure is shrunk to the smallest shapes and simplest numbers;
    its traceback ends with a regression test to paste. `.run()` is the test that returns a
    `Report`; `.check(*args)` checks one point.

    >>> from tensorgrad.testing import strategies as sts
    >>> import numpy as np
    >>> @property_gradcheck(x=sts.arrays(3), axis=st.sampled_from([None, 0]), examples=20)
    ... def test_norm(x, *, axis):
    ...     return np.sqrt(np.sum(x * x, axis=axis))
    >>> test_norm.run().points
    20
    """
    if isinstance(f, st.SearchStrategy):
        strategies, f = (f, *strategies), None

    def decorate(f: Function) -> Function:
        def subject_at(params: dict[str, Any]) -> Subject:
            """The function as one of its positional arguments."""
            if not params:
                return Subject(f, vjp) if vjp else adapter(f)
            fixed = wraps(f)(partial(f, **params))
            return Subject(fixed, partial(vjp, **params)) if vjp else adapter(fixed)

        subject = subject_at({})
        deep = (2 if subject.second else 1) if order is None else order
        params = keyword_only(f)
        drawn = arguments(f, strategies, named)

        def check_point(*args: Any, rng: Any = None, **fixed: Any) -> Report:
            whole = subject_at(fixed)
            return check(whole, *args, order=deep, modes=modes, argnums=argnums, rng=rng)

        def run() -> Report:
            tally = Tally(str(subject))

            @settings(max_examples=examples_of(examples), deadline=None, phases=phases())
            @given(args=drawn, seed=st.integers(0, 2**16))
            def property(args: dict[str, Any], seed: int) -> None:
                fixed = {name: args[name] for name in params if name in args}
                values = [x for name, x in args.items() if name not in fixed]
                try:
                    tally.count(lambda: check_point(*values, rng=seed, **fixed))
                except GradientError as error:
                    error.add_note(regression_test(test, values, fixed, seed))
                    raise

            return tally.run(property)

        def test() -> None:
            run()

        test.__name__ = test.__qualname__ = name_of(f)
        test.__module__ = getattr(f, "__module__", __name__)  # ufuncs before NumPy 2.2 have none
        test.__doc__ = f.__doc__
        test.check, test.run = check_point, run  # type: ignore[attr-defined]
        return test

    return decorate if f is None else decorate(f)


def phases() -> list[Phase]:
    """Those of the profile, without the explanations: they take as long as the rest."""
    return [phase for phase in settings().phases if phase is not Phase.explain]


def keyword_only(f: Function) -> list[str]:
    parameters = signature_of(f).parameters.values()
    return [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]


def arguments(
    f: Function, strategies: Sequence[Any], named: dict[str, Any]
) -> st.SearchStrategy[dict[str, Any]]:
    """What to draw for each argument of `f`, by name."""
    kinds = inspect.Parameter
    parameters = signature_of(f).parameters
    positional = [
        p.name for p in parameters.values() if p.kind not in (kinds.KEYWORD_ONLY, kinds.VAR_KEYWORD)
    ]
    if any(p.kind is kinds.VAR_POSITIONAL for p in parameters.values()):
        positional = [f"argument {i}" for i in range(len(strategies))]
        if not strategies:
            raise TypeError(f"{name_of(f)} takes any number of arguments: pass a strategy for each")
    given_for = {**dict(zip(positional, strategies)), **named}
    if "self" in parameters:
        raise TypeError(f"{name_of(f)} is a method: a property is a function of arrays alone")
    unknown = [name for name in named if name not in parameters]
    if unknown or len(strategies) > len(positional):
        what = ", ".join(unknown) or f"{len(strategies)} of them"
        raise TypeError(f"{name_of(f)} has the arguments {', '.join(parameters)}, not {what}")
    free = [
        p.name
        for p in parameters.values()
        if p.name in positional and p.name not in given_for and p.default is kinds.empty
    ]
    missing = [
        name
        for name in keyword_only(f)
        if name not in given_for and parameters[name].default is kinds.empty
    ]
    if missing:
        raise TypeError(f"{name_of(f)}: pass a strategy for {', '.join(missing)}")
    order = [name for name in positional if name in given_for or name in free]
    order += [name for name in given_for if name not in order]

    @st.composite
    def draw_all(draw: st.DrawFn) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if free:
            shapes = draw(
                mutually_broadcastable_shapes(num_shapes=len(free), max_dims=3, max_side=3)
            )
            result = {n: draw(arrays(s)) for n, s in zip(free, shapes.input_shapes)}
        return {n: result[n] if n in result else draw(given_for[n]) for n in order}

    return draw_all()


def regression_test(
    test: Callable[[], None], args: list[Any], params: dict[str, Any], seed: int
) -> str:
    """A test to paste that checks one point of `test`, which is written as its `__qualname__`."""
    values = [as_source(x) for x in args] + [f"{n}={as_source(x)}" for n, x in params.items()]
    call = ", ".join([*values, f"rng={seed}"])
    bare = test.__name__.removeprefix("test_")
    body = f"{test.__qualname__}.check({call})"
    return f"To keep this case:\n\ndef test_{bare}_again():\n    {body}\n"


def as_source(x: Any) -> str:
    """Python source of a number, an array or a param, exact."""
    if isinstance(x, np.ndarray):
        dtype = "" if x.dtype in (np.float64, np.int64) and x.size else f", np.{x.dtype.name}"
        return f"np.array({x.tolist()}{dtype})" if x.size else f"np.zeros({x.shape}{dtype})"
    if isinstance(x, np.generic):
        return f"np.{x.dtype.name}({x.item()!r})"
    if isinstance(x, (tuple, list)):
        parts = [as_source(part) for part in x]
        if isinstance(x, list):
            return f"[{', '.join(parts)}]"
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    if x is Ellipsis:
        return "..."
    if isinstance(x, np.dtype):
        return f"np.dtype({x.name!r})"
    if isinstance(x, type) and issubclass(x, np.generic):
        return f"np.{x.__name__}"
    return repr(x)

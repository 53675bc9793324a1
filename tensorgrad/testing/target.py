"""What `tensorgrad check` is given: a function in a file, or all primitives."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from tensorgrad.engine.primitive import Primitive, registry
from tensorgrad.testing.adapters import from_autograd, from_jax, from_torch
from tensorgrad.testing.primitives import check_rule, checkable
from tensorgrad.testing.properties import property_gradcheck
from tensorgrad.testing.report import Failure, GradientError, Report
from tensorgrad.testing.strategies import arrays
from tensorgrad.testing.subject import Subject, from_values


def check_target(
    target: str, vjp: str, shapes: Sequence[str], examples: int, order: int | None
) -> Report:
    """Check `PATH::FUNCTION` at drawn points.

    OSError, ImportError or ValueError where there is no such function; GradientError.
    """
    path, _, name = target.partition("::")
    module = load(Path(path))
    f = look_up(module, name, path)
    gradient = look_up(module, vjp, path) if vjp else None
    known = isinstance(f, (Primitive, Subject)) or hasattr(f, "run")
    if known and (gradient or shapes):
        raise ValueError(f"{name} has its own gradient and operands: no --vjp, no --shape")
    if gradient and order not in (None, 1):
        raise ValueError("--vjp is a gradient, and nothing more: --order 1")
    if isinstance(f, Primitive):
        return check_rule(f, examples, 2 if order is None else order)
    if not hasattr(f, "run"):
        adapter = (lambda _: f) if isinstance(f, Subject) else adapter_of(f)
        function = f.f if isinstance(f, Subject) else f
        drawn = dict(map(shape_of, shapes))
        written = f"{name}, vjp={vjp}" if vjp else name  # in the test to paste
        if isinstance(f, Subject):
            written = f"{name}.f, adapter=lambda _: {name}"
        elif adapter is not from_values:
            written += f", adapter=testing.{adapter.__name__}"
        options: dict[str, Any] = {"order": order, "examples": examples, "adapter": adapter}
        try:
            f = property_gradcheck(function, vjp=gradient, **options, **drawn)
        except (TypeError, ValueError) as error:
            raise ValueError(f"cannot draw arguments for {name}: {error}") from None
        f.__qualname__ = f"testing.property_gradcheck({written})"
    report: Report = f.run()
    return report


def load(path: Path) -> ModuleType:
    """The Python file as a module; what it imports may lie beside it."""
    if not path.is_file():
        raise FileNotFoundError(2, "no such file (PATH::FUNCTION)", str(path))
    spec = importlib.util.spec_from_file_location(f"checked_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ImportError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def look_up(module: ModuleType, name: str, path: str) -> Any:
    found = getattr(module, name, None)
    if not callable(found) and not isinstance(found, Subject):
        own = [n for n, x in vars(module).items() if callable(x) and not n.startswith("_")]
        there = ", ".join(own) or "none"
        what = f"{path} has no function {name!r}" if name else f"which function of {path}?"
        raise ValueError(f"{what}; it has: {there} (PATH::FUNCTION)")
    return found


def shape_of(text: str) -> tuple[str, Any]:
    """The argument and the strategy that `x=3,2` asks for."""
    name, equals, sides = text.partition("=")
    with suppress(ValueError):
        if equals and name:
            return name, arrays(tuple(int(n) for n in sides.split(",") if n.strip()))
    raise ValueError(f"--shape {text!r}: write NAME=3,2, or NAME= for a number")


def adapter_of(f: Any) -> Any:
    """Whose function `f` is, as far as it shows."""
    kinds = f.__mro__ if isinstance(f, type) else type(f).__mro__
    libraries = {kind.__module__.partition(".")[0] for kind in kinds}
    if "torch" in libraries:
        return from_torch
    if libraries & {"jax", "jaxlib"}:
        return from_jax
    return from_autograd if hasattr(f, "fun") and hasattr(f, "_autograd_primitive") else from_values


def check_all(examples: int) -> Iterator[str]:
    """Check each primitive, those of SciPy too where it is installed; say how it went."""
    with suppress(ImportError):
        import tensorgrad.scipy.linalg
        import tensorgrad.scipy.special  # noqa: F401
    wrong = []
    names = [name for name in sorted(registry) if checkable(registry[name])]
    for name in names:
        try:
            report = check_rule(registry[name], examples)
            yield f"{name:24} {report.points} points, worst error / bar {report.worst:.2g}"
        except GradientError as error:
            wrong.append(name)
            yield str(error)
    if wrong:
        failure = Failure("wrong value", f"of {len(names)} primitives: {', '.join(wrong)}")
        raise GradientError(Report("the registry", failures=[failure]))
    yield f"{len(names)} primitives: right"

"""Strangers beside a Value: what other libraries compute with in ways of their own.

Labels, units: a stranger would lose them if it were taken for its numbers. So Python's and NumPy's
protocols hold: who defines an operation is asked, and answers with what it makes of a Value; where
nobody answers, the error says what to write. A stranger to the left of a Value has been asked
already, and has declined.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.engine.arrays import is_known, kinds
from tensorgrad.engine.node import Array, Handle, differentiating, within

if TYPE_CHECKING:
    from tensorgrad.engine.primitive import Primitive

REFLECTED = {
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "power": "__rpow__",
    "floor_divide": "__rfloordiv__",
    "remainder": "__rmod__",
    "matmul": "__rmatmul__",
}
"""How Python asks the right operand, by the names that the operators have in NumPy."""

NUMBERS = ("to_numpy()", "toarray()", "todense()", "magnitude", "nominal_value", "numpy()")
"""Where other libraries keep the numbers of their objects."""


def is_stranger(op: Primitive, x: Any) -> bool:
    """Whether `x` defines the operation `op` itself, and is in no row of the table of kinds."""
    if is_known(x) or isinstance(x, (Sequence, int, float, complex)):
        return False
    operator = REFLECTED.get(op.name)
    if speaks(type(x), "__array_ufunc__"):
        return operator is not None or isinstance(op.forward, np.ufunc)
    return operator is not None and not isinstance(x, np.ndarray) and hasattr(x, operator)


def speaks(made: type, protocol: str) -> bool:
    """Whether a class has the method `protocol`, and not NumPy's own."""
    method = getattr(made, protocol, NotImplemented)
    return method is not NotImplemented and method is not getattr(np.ndarray, protocol)


def asked(op: Primitive, operands: Sequence[Array], by_operator: bool) -> Any:
    """What the stranger among `operands` makes of `op`.

    TypeError where it declined, or asked for a number without its gradient.
    """
    stranger = next(x for x in operands if not isinstance(x, Handle) and is_stranger(op, x))
    made: Any = type(stranger)
    refusal = f"{op.name}: {called(stranger)} does not compute with a Value; {way_out(stranger)}"
    if stranger is not operands[-1]:
        raise TypeError(refusal)
    reflected = getattr(made, REFLECTED[op.name], None) if by_operator else None
    answer = NotImplemented
    ask: Any = None
    if reflected is not None:
        ask = partial(reflected, stranger, operands[0])
    elif getattr(made, "__array_ufunc__", None) is not None:
        ufunc = getattr(np, op.name, op.forward)
        ask = partial(made.__array_ufunc__, stranger, ufunc, "__call__", *operands)
    try:
        if ask is not None:
            answer = within(differentiating, -1, ask, (), {})  # of every Value
    except TypeError as error:  # it does not know Values, or takes their numbers
        raise TypeError(refusal) from error
    except Exception as error:
        error.add_note(refusal)
        raise
    if answer is NotImplemented:
        raise TypeError(refusal)
    return answer


def is_foreign(types: Sequence[type]) -> bool:
    """Whether a class among `types` has NumPy's functions for itself."""
    return any(
        speaks(made, "__array_function__")
        and not (made in kinds or issubclass(made, Handle) or hasattr(made, "__primitive__"))
        and f"{made.__module__}.{made.__qualname__}" not in kinds
        for made in types
    )


def called(x: Any) -> str:
    """A stranger by its library and class."""
    library, name = type(x).__module__.partition(".")[0], type(x).__name__
    return name if library in ("builtins", "numpy") else f"{library}.{name}"


def way_out(x: Any) -> str:
    """What to write in place of a stranger."""
    held = held_as(x)
    if held:
        return f"it holds one itself: use its .{held}"
    made = type(x)
    numbers = next((f"x.{n}" for n in NUMBERS if hasattr(made, n.removesuffix("()"))), None)
    if numbers is None and hasattr(made, "__float__") and not hasattr(x, "dtype"):
        numbers = "float(x)"
    if numbers is None and called(x).startswith("jaxlib."):
        numbers = "np.asarray(x)"
    if numbers is None:
        return "pass numbers or an array"
    return f"write {numbers} for its numbers, or v.data where no gradient is wanted"


def note(error: Exception, name: str, x: Any) -> None:
    """Says what PyTorch or JAX refused to make an array of, and what takes it."""
    library = called(x).partition(".")[0]
    border = {"torch": "torch_function", "jax": "jax_function"}.get(library)
    if border:
        error.add_note(
            f"{name} was given {called(x)}: tg.interop.{border} makes functions of such, with "
            "gradients; without them pass numbers, as an array of NumPy's"
        )


def held_as(x: Any) -> str | None:
    """The attribute by which a stranger holds a Value: what xarray and pint answer has one."""
    names = (name for name in ("data", "magnitude") if hasattr(type(x), name))
    for name in names:
        try:
            found = getattr(x, name)
        except (TypeError, ValueError):  # the buffer of an array of a type that NumPy has not
            continue
        if isinstance(found, Handle):
            return name
    return None


def is_asked_by_dask(frame: FrameType) -> bool:
    """Whether Dask makes an array of its own, which would compute with a Value as with numbers."""
    asking: FrameType | None = frame
    while asking and str(asking.f_globals.get("__name__", "")).startswith("dask."):
        if asking.f_code.co_name == "from_array":
            return True
        asking = asking.f_back
    return False

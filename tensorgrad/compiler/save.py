"""A program as a file that needs NumPy alone."""

from __future__ import annotations

import inspect
import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.compiler import blas, program, threads
from tensorgrad.compiler.capture import Argument, parts
from tensorgrad.files import check_writable, write

if TYPE_CHECKING:
    from tensorgrad.compiler.version import Version


def save(version: Version, path: str | os.PathLike[str]) -> None:
    """Write the program, and beside it the arrays that it starts with."""
    target = Path(path)
    if target.suffix != ".py":
        raise ValueError(f"{target}: a program is saved as a .py file")
    if "'bfloat16'" in version.code.source:
        raise ValueError("a program that computes in bfloat16 is not for NumPy alone")
    check_writable(target)
    check_writable(target.with_suffix(".npz"))
    code = version.code
    arguments: dict[str, str] = {}  # by name, what the file makes of them
    parameters = []
    arrays: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    names, read = iter(code.inputs), iter(version.late.program.inputs)
    for place, x in version.reads:
        if isinstance(place, Argument):
            name, i = next(names), next(read)
            dtype = i.dtype.__name__ if isinstance(i.dtype, type) else str(np.dtype(i.dtype))
            parameters.append(name + "_" * (name in ("given", "run", "state")))  # the file's own
            arguments[name] = f"given({parameters[-1]}, {name!r}, {i.shape}, {dtype!r})"
            if place.key or isinstance(x, np.random.Generator):
                raise ValueError("a program is saved that takes arrays and numbers, no Values")
            continue
        for part in parts(place.read(())):
            next(read)
            keep(next(names), part, arrays, numbers)
    helpers, constants = [], []
    for name, x in code.constants.items():
        if x is blas.adder or x is threads.both:
            helpers += [alone(blas)] + [alone(threads)] * (x is threads.both)
            constants.append(name)
        elif inspect.isfunction(x) and x.__module__ == program.__name__:
            helpers.append(inspect.getsource(x).rstrip())
            constants.append(name)
        elif isinstance(x, np.random.Generator):
            constants.append(f"drawing({literal(x.bit_generator.state)})")
        elif isinstance(x, (np.ndarray, np.generic)):
            arrays[f"constant_{name}"] = x
            constants.append(f"arrays.pop('constant_{name}')")
        elif x is None or type(x) in (bool, int, float, str, complex):
            constants.append(literal(x))
        else:
            called = getattr(x, "__name__", x)
            instead = ': backend="numpy" makes one that is' if called == "kernel" else ""
            raise ValueError(f"a program that calls {called!r:.60} is not for NumPy alone{instead}")
    written = []
    n = version.results
    for place, count, *_ in version.writes:
        inputs = version.names_at(place)
        if len(inputs) != count:
            raise ValueError(
                f"{place.name} has no value before this program runs: call the function once more"
            )
        written += [f"    state[{name!r}] = out[{n + k}]" for k, name in enumerate(inputs)]
        n += count
    given = [arguments.get(name, f"state[{name!r}]") for name in code.inputs]
    result = "out[0]" if version.results == 1 else f"out[:{version.results}]"
    text = TEMPLATE.format(
        name=version.name,
        arrays=target.with_suffix(".npz").name,
        helpers="\n\n\n".join(dict.fromkeys(helpers)) + "\n\n\n" * bool(helpers),
        code=code.source.removeprefix("import math\n\nimport numpy as np\n\n\n"),
        numbers=literal(numbers),
        constants=", ".join(constants),
        parameters=", ".join(parameters),
        given="".join(f"        {x},\n" for x in given),
        written="".join(f"{x}\n" for x in written),
        result=result,
    )
    packed = BytesIO()
    np.savez(packed, **arrays)
    write(target.with_suffix(".npz"), packed.getvalue())
    write(target, text)


def keep(name: str, x: Any, arrays: dict[str, Any], numbers: dict[str, Any]) -> None:
    """Put a part of the state where the file has it."""
    if isinstance(x, (np.ndarray, np.generic)):
        arrays[name] = x
    else:
        numbers[name] = x


def alone(module: Any) -> str:
    """The code of a file, for another one that has what it imports of ours."""
    _, _, code = inspect.getsource(module).partition('"""\n\n')
    lines = code.rstrip().splitlines()
    return "\n".join(x for x in lines if not x.startswith("from tensorgrad"))


def literal(x: Any) -> str:
    """What Python, with NumPy, reads as x: `repr(inf)` is a name that it does not know."""
    if type(x) is dict:
        return f"{{{', '.join([f'{key!r}: {literal(y)}' for key, y in x.items()])}}}"
    if type(x) is complex and not np.isfinite(x):
        return f"complex({literal(x.real)}, {literal(x.imag)})"
    if type(x) is float and not np.isfinite(x):
        return f"float('{x}')"
    if isinstance(x, np.ndarray):
        return f"np.array({x.tolist()}, '{x.dtype}')"
    return repr(x)


TEMPLATE = '''"""{name}(), compiled: NumPy alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

arrays = dict(np.load(Path(__file__).with_name("{arrays}")))


def drawing(state):
    rng = np.random.Generator(getattr(np.random, state["bit_generator"])())
    rng.bit_generator.state = state
    return rng


def given(x, name, shape, dtype):
    array = np.asarray(x)
    if array.shape != shape or not np.can_cast(array.dtype, dtype, "same_kind"):
        raise ValueError(
            f"{{name}} has shape {{array.shape}} and dtype {{array.dtype}}: this program is for "
            f"{{shape}} and {{dtype}}"
        )
    return array.astype(dtype, copy=False) if array.ndim else x


{helpers}{code}

run = make(np, {constants})
state = {{**arrays, **{numbers}}}


def step({parameters}):
    out = run(
{given}    )
    if out is None:
        raise FloatingPointError(
            "a gradient is not finite, or an argument is none that this program takes, such as the "
            "number of a class that there is not"
        )
{written}    return {result}
'''

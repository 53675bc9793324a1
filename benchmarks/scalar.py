"""Scalar operations, forward and backward, against micrograd.

An operation is one call of an operator or of `relu` in the source, whatever a library makes of it
(micrograd's `a - b` is three nodes).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from result import Result, ratio_text, time_text
from timing import Here, alternate, quartiles

import tensorgrad as tg

README = """
a = Value(-4.0)
b = Value(2.0)
c = a + b
d = a * b + b**3
c += c + 1
c += 1 + c + (-a)
d += d * 2 + (b + a).relu()
d += 3 * d + (b - a).relu()
e = c - d
f = e**2
out = f / 2.0
out += 10.0 / f
"""


def random_expression(operations: int, seed: int = 0) -> str:
    """Straight-line code of `+ * ** relu` on recent variables, its values kept within ±2."""
    rng = np.random.default_rng(seed)
    values = list(rng.uniform(-1, 1, 8))
    lines = [f"v{i} = Value({v!r})" for i, v in enumerate(map(float, values))]

    def add(code: str, value: float) -> None:
        lines.append(f"v{len(values)} = {code}")
        values.append(value)

    while len(values) < operations + 8:
        i, j = (len(values) - 1 - int(k) for k in rng.integers(8, size=2))
        x, y = values[i], values[j]
        if max(abs(x), abs(values[-1])) > 2:
            add(f"v{len(values) - 1} * 0.25", values[-1] * 0.25)
            continue
        match int(rng.integers(8)):
            case 0 | 1 | 2:
                add(f"v{i} + v{j}", x + y)
            case 3 | 4 | 5:
                add(f"v{i} * v{j}", x * y)
            case 6:
                add(f"v{i} ** 2", x**2)
            case 7:
                add(f"v{i}.relu()", max(x, 0))
    return "\n".join([*lines, "out = " + " + ".join(f"v{i}" for i in range(len(values)))])


class Counter(float):
    """A number that counts the operations on it and its descendants."""

    calls = 0


def _counted(name: str) -> Callable[..., Counter]:
    def method(*args: float) -> Counter:
        Counter.calls += 1
        return Counter(getattr(float, name)(*args))

    return method


for _name in ("add", "radd", "mul", "rmul", "sub", "rsub", "truediv", "rtruediv", "pow", "neg"):
    setattr(Counter, f"__{_name}__", _counted(f"__{_name}__"))
Counter.relu = lambda self: _counted("__add__")(max(self, Counter(0)), 0)  # type: ignore


def make(source: str, value: Any) -> Callable[[], Any]:
    """A function that runs `source` with this Value, sweeps, and returns its first leaf."""
    first = source.split()[0]
    body = source.strip().replace("\n", "\n    ")
    scope = {"Value": value}
    exec(f"def step():\n    {body}\n    out.backward()\n    return {first}.grad", scope)
    return scope["step"]


def run(rounds: int) -> Iterator[Result]:
    try:
        from micrograd.engine import Value as Micrograd
    except ImportError as error:
        print(f"skipped: micrograd ({error})", file=sys.stderr)
        return
    for name, source in {
        "micrograd's README": README,
        "random expression": random_expression(200),
    }.items():
        Counter.calls = 0
        exec(source, {"Value": Counter})
        runners = {
            "tensorgrad": Here(make(source, tg.Value)),
            "micrograd": Here(make(source, Micrograd)),
        }
        ours, theirs = (runner.answers(1) for runner in runners.values())
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
        times = alternate(runners, rounds)
        ratio = quartiles(times["tensorgrad"] / times["micrograd"])
        for what, seconds in times.items():
            each = quartiles(seconds)[1] / Counter.calls
            yield Result(
                f"scalars: {name}, {Counter.calls} operations",
                what,
                f"{time_text(each)} per operation",
                ratio=ratio_text(*ratio) + " of micrograd" if what == "tensorgrad" else "",
                target="< 1x" if what == "tensorgrad" else "",
                met=ratio[1] < 1 if what == "tensorgrad" else None,
                numbers={"seconds_per_operation": each, "ratio": ratio[1]},
            )

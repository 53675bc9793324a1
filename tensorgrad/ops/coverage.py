"""What becomes of each function of NumPy that meets a Value: one class for every public name.

`python -m tensorgrad.ops.coverage` writes docs/coverage.md from here; a test fails when NumPy has a
function that is in no class, or the document is not what this module writes.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tensorgrad import __version__
from tensorgrad.engine.primitive import Primitive, implementations
from tensorgrad.ops.constant import APART, CONSTANTS

MODULES = (np, np.linalg, np.fft)
NUMPY = ".".join(np.__version__.split(".")[:2])
DIFFERENTIABLE, FLAT = "differentiable", "piecewise constant"
NONE, UNSUPPORTED = "no gradient by nature", "not supported"
KINDS = (DIFFERENTIABLE, FLAT, NONE, UNSUPPORTED)

CALLS = {  # NumPy does not ask a Value, or only one that it is told of
    "row_stack": "calls vstack",
    **dict.fromkeys(("array", "asarray", "asanyarray"), "with like= a Value; else use tg.array"),
    "full": "with like= a Value; else it raises",
}
WITHOUT_RULES = {  # these make an array of a Value, which raises; NumPy does not ask it
    "asarray_chkfinite": "use tg.array",
    **dict.fromkeys(("ascontiguousarray", "asfortranarray", "require"), "keep the Value as it is"),
    **dict.fromkeys(("asmatrix", "bmat"), "use np.block: matrices compute in their own way"),
    "fromiter": "use tg.array",
    "fromfunction": "call the function on np.indices",
    "frompyfunc": "NumPy cannot see into a Python function: tg.primitive declares it",
    "kaiser": "write it with np.i0, which has a rule",
}


def functions(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public functions and ufuncs of a module by name, aliases too."""
    for name in sorted(dir(module)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some names warn that they will go
            function = getattr(module, name)
        if not name.startswith("_") and callable(function) and not isinstance(function, type):
            yield name, function


def classify(name: str, function: Callable[..., Any]) -> tuple[str, str]:
    """The class of a function, and how it is done or why not. LookupError if it is in none.

    >>> classify("tanh", np.tanh)
    ('differentiable', 'primitive')
    >>> classify("argmax", np.argmax)[0]
    'no gradient by nature'
    """
    if function in CONSTANTS:
        return NONE, CONSTANTS[function]
    found = implementations.get(function)
    if isinstance(found, Primitive):
        note = f"primitive; {found.choice}" if found.choice else "primitive"
        return (FLAT if is_flat(found) else DIFFERENTIABLE), note
    if found is not None or name in CALLS:
        return DIFFERENTIABLE, CALLS.get(name, "made of primitives")
    if name in WITHOUT_RULES:
        return UNSUPPORTED, WITHOUT_RULES[name]
    for why, names in APART.items():
        if name in names.split():
            return NONE, why
    raise LookupError(f"nobody has classified {function.__module__}.{name}")


def is_flat(op: Primitive) -> bool:
    """Whether every rule is `primitive.flat`, or one like it, which its name tells."""
    rules = op.formulas
    return all(rule.__name__.startswith("flat") for rule in rules)


def table() -> dict[str, dict[str, tuple[str, str]]]:
    """`classify` of every function, by module and name."""
    return {
        module.__name__: {name: classify(name, f) for name, f in functions(module)}
        for module in MODULES
    }


def document() -> str:
    """docs/coverage.md."""
    rows = table()
    lines = [
        "# Coverage of NumPy",
        "",
        "What becomes of each public function of NumPy when a Value is among its arguments.",
        "Written by `python -m tensorgrad.ops.coverage` from the declarations themselves.",
        "",
        "- **differentiable**: the result is a Value with a gradient, of any order;",
        "- **piecewise constant**: a Value with gradient 0;",
        "- **no gradient by nature**: indices, truth values, counts, new arrays; computed from the",
        "  data;",
        "- **not supported**: a TypeError.",
        "",
        f"| NumPy {NUMPY} | {' | '.join(KINDS)} |",
        "|---|---|---|---|---|",
    ]
    for module, by_name in rows.items():
        counts = Counter(kind for kind, _ in by_name.values())
        lines.append(f"| `{module}` | {' | '.join(str(counts[kind]) for kind in KINDS)} |")
    for module, by_name in rows.items():
        lines += ["", f"## {module}", "", "| function | class | how, or why not |", "|---|---|---|"]
        for name, (kind, how) in by_name.items():
            escaped = how.replace("|", r"\|")
            lines.append(f"| `{name}` | {kind} | {escaped} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table to the file named on the command line."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/coverage.md")
    path.write_text(document(), encoding="utf-8")
    print(f"wrote {path} with tensorgrad {__version__}")


if __name__ == "__main__":
    main()

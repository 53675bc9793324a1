"""Functions of containers (tuples, dicts, dataclasses, Modules) as functions of their arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.testing.subject import Function, Subject, from_values, is_float, name_of, names_of
from tensorgrad.transforms.call import is_static, positions
from tensorgrad.transforms.tree import flatten, paths_of
from tensorgrad.value import Value

Array = Any


def opened(
    f: Function, args: Sequence[Any], argnums: int | Sequence[int] | None
) -> tuple[Subject, list[Any], list[int] | None]:
    """A Subject of the numbers in `args`, these, and which of them to differentiate by."""
    chosen = list(range(len(args)))
    if argnums is not None:
        given = (argnums,) if isinstance(argnums, (int, np.integer)) else tuple(argnums)
        chosen = positions("check_grads", given, len(args))
    leaves: list[Any] = []
    names: list[str] = []
    wrt: list[int] = []
    parts = []
    for i, (arg, name) in enumerate(zip(args, names_of(f, len(args)))):
        found, rebuild = flatten(arg)
        parts.append((len(found), rebuild))
        for path, x in zip(paths_of(arg), found):
            x = x.data if isinstance(x, Value) else x
            asked = argnums is not None and found[0] is arg  # an integer, say: to be complained of
            if i in chosen and (is_float(x) or asked):
                wrt.append(len(leaves))
            names.append(name + "".join(f"[{key!r}]" for key in path))
            leaves.append(x)

    def flat(*xs: Array) -> Any:
        rest = iter(xs)
        result = f(*(rebuild([next(rest) for _ in range(n)]) for n, rebuild in parts))
        ys = flatten(result)[0]
        lone = len(ys) == 1 and ys[0] is result
        return result if lone else tuple(y for y in ys if not is_static(y))

    return (
        from_values(flat, name_of(f), wrt, names),
        leaves,
        wrt if wrt or argnums is not None else None,
    )

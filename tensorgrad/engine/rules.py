"""Rules that are not one formula for one operand: the same for each, for all together, 0, none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tensorgrad.engine.node import Array

Rule = Callable[..., Array]


class Each:
    """The rules of a primitive of any number of operands, as one: `rule(i, g, out, *operands)`."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __getitem__(self, i: int) -> Rule:
        return partial(self.rule, i)


class Together(Each):
    """The rules of all operands as one: `rule(g, out, *operands)` returns a cotangent for each."""

    def __getitem__(self, i: int) -> Rule:
        return lambda *args: self.rule(*args)[i]

    def computed(self, args: tuple[Array, ...]) -> list[Rule]:
        """Rules that answer with what `rule` returns for `args`, which it is asked once."""
        return [lambda *args, c=c: c for c in self.rule(*args)]


def flat(g: Array, out: Array, *operands: Array) -> Array:
    """The rule of an operand that a function does not vary with, or only in steps: slope 0."""
    return 0.0


class Refused:
    """The rule of an operand that nobody has a formula for: to ask for it is a TypeError."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, g: Array, out: Array, *operands: Array) -> Array:
        raise TypeError(
            f"{self.what} has no closed form; .detach() what stands there to keep it constant"
        )

"""Rules that are not one formula for one operand: `Each`, one for any number of operands;
`Together`, one that answers for all at once; `flat`, a slope of 0; `Refused`, no formula at all.

And the ways to read them: a `Reading` stands between the sweep and the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tensorgrad.engine.node import Array, Node

if TYPE_CHECKING:
    from tensorgrad.engine.backprop import Sweep

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
        return lambda *args, **params: self.rule(*args, **params)[i]

    def asked_once(self, args: tuple[Array, ...], params: Mapping[str, Array]) -> Sequence[Rule]:
        """Rules that answer with what `rule` returns for `args`."""
        return [lambda *args, c=c, **params: c for c in self.rule(*args, **params)]


def flat(g: Array, out: Array, *operands: Array) -> Array:
    """The rule of an operand that a function does not vary with, or only in steps: slope 0."""
    return 0.0


def flat_with_params(g: Array, out: Array, *operands: Array, **params: object) -> Array:
    """The same, of a function that takes any params."""
    return 0.0


class Refused:
    """The rule of an operand that nobody has a formula for: to ask for it is a TypeError."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, g: Array, out: Array, *operands: Array) -> Array:
        raise TypeError(
            f"{self.what} has no closed form; .detach() what stands there to keep it constant"
        )


class Reading:
    """A hook around every rule of a sweep, or around those of one node; this one changes nothing.

    What records, checks, watches or takes care is a reading, and the sweep knows none of them.
    `given` may replace what the rules are called with, `answered` what they return. `looks`:
    whether it only looks on, and may raise; an explanation does without it. `reads`: whether an
    observer is a reading of the rules too, or is only told which node is `reached`, and what is
    `completed`.
    """

    looks = False
    reads = True

    def given(self, node: Node, args: tuple[Array, ...], sweep: Sweep) -> tuple[Array, ...]:
        """What the rules of `node` are given for `args`, the cotangent, result and operands."""
        return args

    def answered(self, node: Node, i: int, c: Array, sweep: Sweep) -> Array:
        """What operand `i` receives where the rule answered `c`."""
        return c

    def reached(self, node: Node, g: Array, sweep: Sweep) -> None:
        """Told of an observer: the cotangent `g` of `node` is complete, its rules come next."""

    def completed(self, node: Node, g: Array, sweep: Sweep) -> None:
        """Told of an observer: the cotangent `g` of `node`, where the sweep ends, is complete."""


class Once(Reading):
    """Of rules that answer together: who reads them asks them once."""


ONCE = Once()

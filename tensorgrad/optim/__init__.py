"""Optimisers. Each is one pure function, the update rule on paper, and a class that applies it.

A rule is given a parameter `p`, its gradient `g` and the state that it returned last time, and
returns the new parameter and state. `rules/` has them, `optimizer.py` what they share.
"""

from tensorgrad.optim.optimizer import Optimizer
from tensorgrad.optim.rules import *  # noqa: F403
from tensorgrad.optim.rules import __all__ as _rules

__all__ = ["Optimizer", *_rules]

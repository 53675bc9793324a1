"""Optimisers. Each is one pure function, the update rule on paper, and a class that applies it.

A rule is given a parameter `p`, its gradient `g` and the state that it returned last time, and
returns the new parameter and state. `rules/` has them, `optimizer.py` what they share. Those that
look at several points for a step are in `search.py`.
"""

from inspect import isfunction

from tensorgrad.nn.module import only as _only
from tensorgrad.optim import lr_scheduler as lr_scheduler
from tensorgrad.optim import swa_utils as swa_utils
from tensorgrad.optim.optimizer import Optimizer as Optimizer
from tensorgrad.optim.rules.adam import *  # noqa: F403
from tensorgrad.optim.rules.descent import *  # noqa: F403
from tensorgrad.optim.rules.scale import *  # noqa: F403
from tensorgrad.optim.scipy import SciPy as SciPy
from tensorgrad.optim.scipy import minimize as minimize
from tensorgrad.optim.search import LBFGS as LBFGS
from tensorgrad.optim.search import NewtonCG as NewtonCG


def _public(x: object) -> bool:
    return x in (lr_scheduler, swa_utils, minimize) or (
        issubclass(x, Optimizer)
        if isinstance(x, type)
        else isfunction(x) and x.__module__.startswith("tensorgrad.optim.rules.")
    )


__all__ = _only(globals(), _public)

"""Optimisers. Each is one pure function, the update rule on paper, and a class that applies it.

A rule is given a parameter `p`, its gradient `g` and the state that it returned last time, and
returns the new parameter and state. `rules/` has them, `optimizer.py` what they share. Those that
look at several points for a step are in `search.py`.
"""

from tensorgrad.optim import lr_scheduler, swa_utils
from tensorgrad.optim.optimizer import Optimizer
from tensorgrad.optim.rules import (
    ASGD,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    Muon,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
    adadelta,
    adafactor,
    adagrad,
    adam,
    adamax,
    adamw,
    asgd,
    lion,
    muon,
    nadam,
    radam,
    rmsprop,
    rprop,
    sgd,
)
from tensorgrad.optim.scipy import SciPy, minimize
from tensorgrad.optim.search import LBFGS, NewtonCG

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Muon",
    "NAdam",
    "NewtonCG",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SciPy",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "asgd",
    "lion",
    "lr_scheduler",
    "minimize",
    "muon",
    "nadam",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
    "swa_utils",
]

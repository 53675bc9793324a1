"""Optimisers. Each is one pure function, the update rule on paper, and a class that applies it.

A rule is given a parameter `p`, its gradient `g` and the state that it returned last time, and
returns the new parameter and state. `rules.py` has them, `optimizer.py` what they share.
"""

from tensorgrad.optim.optimizer import Optimizer
from tensorgrad.optim.rules import SGD, Adam, AdamW, adam, adamw, sgd

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "adam", "adamw", "sgd"]

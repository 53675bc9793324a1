"""Optimisers. Each is one pure function, the update rule on paper, and a class that applies it.

A rule is given a parameter `p`, its gradient `g` and the state that it returned last time (zeros at
first), and returns the new parameter and state.
"""

from tensorgrad.optim.optimizer import SGD, Adam, AdamW, Optimizer, adam, adamw, sgd

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "adam", "adamw", "sgd"]

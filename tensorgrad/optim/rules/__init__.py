"""The update rules: `descent` along the gradient, `scale` by its squares, `adam` by both.

A rule is the update on paper: a pure function of a parameter `p`, its gradient `g`, the state that
it returned last time (`()` at first) and settings, to the new parameter and state. It is written
for real numbers; nothing in it depends on what the arrays hold.
"""

from tensorgrad.optim.rules.adam import (
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    adam,
    adamax,
    adamw,
    nadam,
    radam,
)
from tensorgrad.optim.rules.descent import (
    ASGD,
    SGD,
    Lion,
    Muon,
    Rprop,
    asgd,
    lion,
    muon,
    rprop,
    sgd,
)
from tensorgrad.optim.rules.scale import (
    Adadelta,
    Adafactor,
    Adagrad,
    RMSprop,
    adadelta,
    adafactor,
    adagrad,
    rmsprop,
)

__all__ = [
    "ASGD",
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
    "RAdam",
    "RMSprop",
    "Rprop",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "asgd",
    "lion",
    "muon",
    "nadam",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
]

"""Training: `Step`, one step as an object, and `fit`, which takes it for each batch."""

from tensorgrad.train.fit import Epoch, accuracy, fit, predict
from tensorgrad.train.step import Step

__all__ = ["Epoch", "Step", "accuracy", "fit", "predict"]

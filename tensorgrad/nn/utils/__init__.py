"""What belongs to networks and is no layer: `rnn`, sequences of different lengths."""

from tensorgrad.nn.utils import rnn as rnn

__all__ = ["rnn"]

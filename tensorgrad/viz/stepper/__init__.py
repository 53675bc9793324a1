"""`stepper`: backpropagation as a page to step through."""

from tensorgrad.viz.stepper.stepper import stepper

__all__ = ["stepper"]

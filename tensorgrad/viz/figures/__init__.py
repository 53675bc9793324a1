"""What a network learned, drawn: each function returns a matplotlib Figure.

The pictures are those of M. Nielsen's book, 3Blue1Brown's series and C. Olah's blog. matplotlib
(extra `viz`) is loaded when the first is drawn.
"""

from tensorgrad.viz.figures.animation import Animation
from tensorgrad.viz.figures.bending import bend
from tensorgrad.viz.figures.digits import (
    activations,
    confusion,
    confusion_matrix,
    mistakes,
    pictures,
)
from tensorgrad.viz.figures.plane import boundary_by_layer, decision_boundary
from tensorgrad.viz.figures.stepwise import bumps, universality
from tensorgrad.viz.figures.surface import directions, loss_surface
from tensorgrad.viz.figures.training import GradientNorms, Monitor, gradient_norms, learning_curves
from tensorgrad.viz.figures.weights import filters, first_layer, maximise, maximising_inputs
from tensorgrad.viz.figures.wishes import nudges

__all__ = [
    "Animation",
    "GradientNorms",
    "Monitor",
    "activations",
    "bend",
    "boundary_by_layer",
    "bumps",
    "confusion",
    "confusion_matrix",
    "decision_boundary",
    "directions",
    "filters",
    "first_layer",
    "gradient_norms",
    "learning_curves",
    "loss_surface",
    "maximise",
    "maximising_inputs",
    "mistakes",
    "nudges",
    "pictures",
    "universality",
]

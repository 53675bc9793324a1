"""Losses as objects, as in PyTorch: `nn.CrossEntropyLoss()(answers, targets)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.nn import functional
from tensorgrad.nn.module import Module


class _Loss(Module):
    function: Callable[..., Any]

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, answers: Any, targets: Any) -> Any:
        return type(self).function(answers, targets, self.reduction)


class MSELoss(_Loss):
    """`functional.mse_loss`."""

    function = functional.mse_loss


class CrossEntropyLoss(_Loss):
    """`functional.cross_entropy`: softmax and log-likelihood in one, from logits."""

    function = functional.cross_entropy


class BCELoss(_Loss):
    """`functional.binary_cross_entropy`, from probabilities."""

    function = functional.binary_cross_entropy


class BCEWithLogitsLoss(_Loss):
    """`functional.binary_cross_entropy_with_logits`."""

    function = functional.binary_cross_entropy_with_logits


class QuadraticLoss(Module):
    """½‖a - y‖², the mean over the examples: Nielsen's quadratic cost (eq. 6)."""

    forward = staticmethod(functional.quadratic)

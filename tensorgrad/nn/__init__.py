"""Networks: Modules, layers, losses and initialisers, on the engine."""

from tensorgrad.nn import functional, init
from tensorgrad.nn.layers import (
    Identity,
    Linear,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from tensorgrad.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    MSELoss,
    QuadraticLoss,
)
from tensorgrad.nn.module import Module, Sequential
from tensorgrad.nn.scalar import MLP, Layer, Neuron

__all__ = [
    "MLP",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Identity",
    "Layer",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "Neuron",
    "QuadraticLoss",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "functional",
    "init",
]

"""Homework: five students wrote backpropagation by hand. Their teacher wrote the forward pass.

    python examples/homework.py [student ...]

The network is that of M. Nielsen, Neural Networks and Deep Learning, chapter 2, with a softmax on
top: z1 = W1 x + b1, a1 = σ(z1), z2 = W2 a1 + b2, a2 = softmax(z2), each column of x an example, and
the cost is the mean of -Σ y ln a2. With δ for the gradient by z:

    BP1  δ2 = (a2 - y) / n              BP3  ∂C/∂b = δ, summed over the examples
    BP2  δ1 = W2ᵀ δ2 ⊙ σ'(z1)           BP4  ∂C/∂W = δ aᵀ, a from the layer below
"""

import sys

import numpy as np
from hypothesis import strategies as st

from tensorgrad.nn.functional import sigmoid, softmax
from tensorgrad.testing import strategies as sts
from tensorgrad.testing.grading import grade


def lesson(x, y, W1, b1, W2, b2):
    """The cost, and the quantities whose gradients are homework."""
    z1 = W1 @ x + b1
    a1 = sigmoid(z1)
    z2 = W2 @ a1 + b2
    a2 = softmax(z2, dim=0)
    cost = -np.sum(y * np.log(a2)) / y.shape[1]
    return cost, {"z2": z2, "b2": b2, "W2": W2, "a1": a1, "z1": z1, "b1": b1, "W1": W1}


@st.composite
def networks(draw):
    """Networks of all sizes, each with a batch of examples."""
    n, inputs, hidden, classes = (draw(sts.sides()) for _ in range(4))
    x, y = draw(sts.arrays((inputs, n))), draw(sts.probability_vectors((classes, n), axis=0))
    W1, b1 = draw(sts.arrays((hidden, inputs), start=1)), draw(sts.arrays((hidden, 1), start=2))
    W2, b2 = draw(sts.arrays((classes, hidden), start=3)), draw(sts.arrays((classes, 1), start=4))
    return x, y, W1, b1, W2, b2


# What was handed in, in plain NumPy. The first is right; what is wrong with the others?


def forward(x, W1, b1, W2, b2):
    a1 = 1 / (1 + np.exp(-(W1 @ x + b1)))
    e = np.exp(W2 @ a1 + b2)
    return a1, e / e.sum(axis=0)


def ada(x, y, W1, b1, W2, b2):
    a1, a2 = forward(x, W1, b1, W2, b2)
    d = {"z2": (a2 - y) / y.shape[1]}
    d["b2"] = d["z2"].sum(axis=1, keepdims=True)
    d["W2"] = d["z2"] @ a1.T
    d["a1"] = W2.T @ d["z2"]
    d["z1"] = d["a1"] * a1 * (1 - a1)
    d["b1"] = d["z1"].sum(axis=1, keepdims=True)
    d["W1"] = d["z1"] @ x.T
    return d


def ben(x, y, W1, b1, W2, b2):
    a1, a2 = forward(x, W1, b1, W2, b2)
    d = {"z2": (a2 - y) / y.shape[1]}
    d["b2"] = d["z2"].sum(axis=1, keepdims=True)
    d["W2"] = d["z2"] @ a1.T
    d["a1"] = W2.T @ d["z2"]
    d["z1"] = d["a1"]
    d["b1"] = d["z1"].sum(axis=1, keepdims=True)
    d["W1"] = d["z1"] @ x.T
    return d


def cleo(x, y, W1, b1, W2, b2):
    a1, a2 = forward(x, W1, b1, W2, b2)
    d = {"z2": (a2 - y) / y.shape[1]}
    d["b2"] = d["z2"].sum(axis=1, keepdims=True)
    d["W2"] = d["z2"] @ a1.T
    d["a1"] = W2 @ d["z2"]
    d["z1"] = d["a1"] * a1 * (1 - a1)
    d["b1"] = d["z1"].sum(axis=1, keepdims=True)
    d["W1"] = d["z1"] @ x.T
    return d


def dan(x, y, W1, b1, W2, b2):
    a1, a2 = forward(x, W1, b1, W2, b2)
    d = {"z2": (a2 - y) / y.shape[1]}
    d["b2"] = d["z2"]
    d["W2"] = d["z2"] @ a1.T
    d["a1"] = W2.T @ d["z2"]
    d["z1"] = d["a1"] * a1 * (1 - a1)
    d["b1"] = d["z1"]
    d["W1"] = d["z1"] @ x.T
    return d


def eve(x, y, W1, b1, W2, b2):
    a1, a2 = forward(x, W1, b1, W2, b2)
    d = {"z2": (a2 - y) / y.shape[1]}
    d["b2"] = d["z2"].sum(axis=1, keepdims=True)
    d["W2"] = d["z2"] @ a1.T / y.shape[1]
    d["a1"] = W2.T @ d["z2"]
    d["z1"] = d["a1"] * a1 * (1 - a1)
    d["b1"] = d["z1"].sum(axis=1, keepdims=True)
    d["W1"] = d["z1"] @ x.T / y.shape[1]
    return d


students = {student.__name__: student for student in (ada, ben, cleo, dan, eve)}
for name in sys.argv[1:] or students:
    print(grade(students[name], lesson, networks()))

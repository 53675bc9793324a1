"""Why one hidden layer is enough for any function, and why many of them learn slowly.

    python examples/universal.py [folder]

Nielsen's chapters 4 and 5 on one page each: networks whose weights are set by hand to make steps,
two of which make a bump (universality.png); and the gradient in a deep network of sigmoids, five
times shorter with each layer towards the input (vanishing.png). Needs tensorgrad-engine[viz].
"""

import sys
from pathlib import Path

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim
from tensorgrad.nn.functional import sigmoid_cross_entropy
from tensorgrad.viz import figures

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

figures.universality().savefig(folder / "universality.png")

x, y, *_ = data.digits()
x, y = x[:1000], np.eye(10, dtype=np.float32)[y[:1000]]
rng = np.random.default_rng(0)
layers = []
for inputs in (64, 30, 30, 30):
    layers += [nn.Linear(inputs, 30, init="lecun", rng=rng), nn.Sigmoid()]
model = nn.Sequential(*layers, nn.Linear(30, 10, init="lecun", rng=rng))
norms = figures.GradientNorms(model, sigmoid_cross_entropy, x, y)
print("Length of the gradient by the biases, first layer to last:")
print(" ", *(f"{norm[0]:.4f}" for norm in norms.by_layer().values()))
tg.fit(
    model,
    [(x, y)],  # all of them at once, as in the book
    sigmoid_cross_entropy,
    optim.SGD(model.parameters(), lr=0.1),
    epochs=30,
    on_epoch=norms,
)
figures.gradient_norms(norms).savefig(folder / "vanishing.png")
print(f"The pictures are in {folder}.")

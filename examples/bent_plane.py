"""A network untangles two spirals, and a disk from the ring around it, by bending the plane.

    python examples/bent_plane.py [folder [frames]]

After Christopher Olah's "Neural Networks, Manifolds, and Topology". Each layer multiplies the plane
by W, moves it by b and squashes it by tanh, until a straight line tells the classes apart: layer by
layer in spirals.png, moving in spirals.gif, each of these in 12 frames or as many as you say. Two
neurons in each layer can never free the disk from its ring, for they only bend the plane
(disk_flat.png); three lift it into space (disk.png, disk.html).
Needs tensorgrad-engine[viz].
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from tensorgrad import data, nn, optim
from tensorgrad.train import accuracy, fit, predict
from tensorgrad.viz import figures

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
frames = int(sys.argv[2]) if len(sys.argv) > 2 else 12


def spirals(n):
    """Two arms of n points each, (2n, 2), one the other turned by half a circle; labels 0, 1."""
    t = np.linspace(0.2, 1.0, n)[:, None]
    arm = t * np.concatenate([np.cos(6 * t), np.sin(6 * t)], axis=1)
    return np.concatenate([arm, -arm]).astype(np.float32), np.repeat([0, 1], n)


def disk_and_annulus(n, rng):
    """n points within 1/3 of the middle, and n from 2/3 to 1."""
    radius = np.concatenate([np.sqrt(rng.uniform(0, 1 / 9, n)), np.sqrt(rng.uniform(4 / 9, 1, n))])
    angle = rng.uniform(0, 2 * np.pi, 2 * n)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x.astype(np.float32), np.repeat([0, 1], n)


def trained(sizes, x, y, seed):
    rng, layers = np.random.default_rng(seed), []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after, init="xavier", rng=rng), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(sizes[-1], 2, init="xavier", rng=rng))
    batches = data.DataLoader(x, y, batch_size=50, shuffle=True, rng=rng)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    fit(model, batches, nn.functional.cross_entropy, optimizer, epochs=250)
    print(f"layers of {sizes[1:]} neurons: {accuracy(predict(model, x), y):.1%} told apart")
    return model


x, y = spirals(150)
print("Two spirals,", end=" ")
model = trained([2, 2, 2], x, y, seed=6)
figures.boundary_by_layer(model, x, y).savefig(folder / "spirals.png")
figures.bend(model, x, y, frames=frames).save(folder / "spirals.gif")

x, y = disk_and_annulus(100, np.random.default_rng(0))
print("Disk and ring,", end=" ")
flat = trained([2, 2, 2], x, y, seed=0)
figures.boundary_by_layer(flat, x, y).savefig(folder / "disk_flat.png")
print("Disk and ring,", end=" ")
model = trained([2, 3], x, y, seed=0)
figures.decision_boundary(model, x, y).savefig(folder / "disk.png")
figures.bend(model, x, y, frames=frames).save(folder / "disk.html")
print(f"The pictures are in {folder}.")

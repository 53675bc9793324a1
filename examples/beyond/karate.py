"""A graph convolution: who went with whom when the karate club split, from two members' choices.

W. Zachary, "An information flow model for conflict and fission in small groups" (1977): 34 members,
78 friendships; his minimum cut is right about 33. T. Kipf and M. Welling, "Semi-supervised
classification with graph convolutional networks" (2017): each layer is Â H W, a mean over friends
and a linear map; of who a member is nothing is known (H = 1 to begin with), only whom they know.
"""

import numpy as np

import tensorgrad as tg
from examples.by_hand import karate as by_hand
from examples.experiment import Claim, Reached, experiment
from tensorgrad import nn, optim
from tensorgrad.viz.figures import canvas

F = nn.functional
FRIENDS = """1: 2 3 4 5 6 7 8 9 11 12 13 14 18 20 22 32; 2: 3 4 8 14 18 20 22 31;
3: 4 8 9 10 14 28 29 33; 4: 8 13 14; 5: 7 11; 6: 7 11 17; 7: 17; 9: 31 33 34; 10: 34; 14: 34;
15: 33 34; 16: 33 34; 19: 33 34; 20: 34; 21: 33 34; 23: 33 34; 24: 26 28 30 33 34; 25: 26 28 32;
26: 32; 27: 30 34; 28: 34; 29: 32 34; 30: 33 34; 31: 33 34; 32: 33 34; 33: 34"""
STAYED = [10, 15, 16, 19, 21, *range(23, 35)]  # with the officers (34); the others left with 1
MEMBERS = 34
CLUB = np.isin(np.arange(1, MEMBERS + 1), STAYED).astype(int)
ONE = np.eye(MEMBERS, dtype=np.float32)  # all that is known of each: who it is
FIRST = [0, 33]  # the teacher and the president, whose choices are told


def edges():
    """Pairs of members, counted from 0, (78, 2)."""
    lines = [line.split(": ") for line in FRIENDS.split(";")]
    return np.array([(int(a), int(b)) for a, friends in lines for b in friends.split()]) - 1


def propagation():
    """Â = D^-1/2 (A + I) D^-1/2, where D counts each row of A + I."""
    a = np.eye(MEMBERS, dtype=np.float32)
    i, j = edges().T
    a[i, j] = a[j, i] = 1
    root = np.sqrt(a.sum(axis=1))
    return a / root / root[:, None]


class GraphConvolution(nn.Module):
    """Â H W, of what each node holds: (nodes, inputs) to (nodes, outputs)."""

    def __init__(self, mean, inputs, outputs, rng):
        self.mean = mean
        self.linear = nn.Linear(inputs, outputs, bias=False, init="xavier", rng=rng)

    def forward(self, h):
        return self.mean @ self.linear(h)


def network(seed, hidden=16):
    """Â relu(Â H W1) W2, their eq. 9; the softmax of it is part of the loss."""
    rng, mean = np.random.default_rng(seed), propagation()
    first = GraphConvolution(mean, MEMBERS, hidden, rng)
    return nn.Sequential(first, nn.ReLU(), GraphConvolution(mean, hidden, 2, rng))


def train(model, epochs, lr=0.01):
    """Told two choices: how likely it thinks that each stays, before each epoch and at the end."""
    adam = optim.Adam(model.parameters(), lr=lr)
    logits, thought = model(ONE), []
    for _ in range(epochs):
        thought.append(logits.data)
        adam.zero_grad()
        F.cross_entropy(logits[FIRST], CLUB[FIRST]).backward()
        adam.step()
        logits = model(ONE)
    return F.softmax(np.array([*thought, logits.data]))[..., 1]


def places():
    """Where to draw the members, (34, 2): as far from each other as there are steps between."""
    hops = sum(np.linalg.matrix_power(propagation(), k) == 0 for k in range(6)) + np.eye(MEMBERS)
    at = tg.Value(np.random.default_rng(0).normal(size=(MEMBERS, 2)))
    adam = optim.Adam([at], lr=0.1)
    for _ in range(200):
        apart = np.linalg.norm(at[:, None] - at, axis=-1)
        adam.zero_grad()
        np.sum((apart / hops - 1) ** 2).backward()
        adam.step()
    return at.data


def draw(thought, right):
    figure = canvas.sheet(14, 4.5)
    *graphs, curves = figure.subplots(1, 3)
    at = places()
    for axes, epoch in zip(graphs, (10, len(thought) - 1)):
        axes.plot(*at[edges()].transpose(2, 1, 0), color="black", linewidth=0.6, alpha=0.4)
        axes.plot(*at[FIRST].T, "ko", markersize=23)
        for who, marker in enumerate("os"):
            look = {"c": thought[epoch, who == CLUB], "cmap": "coolwarm", "vmin": 0, "vmax": 1}
            axes.scatter(*at[who == CLUB].T, 230, marker=marker, zorder=3, **look)
        for member, (x, y) in enumerate(at):
            ink = "white" if abs(thought[epoch, member] - 0.5) > 0.3 else "black"
            axes.text(x, y, member + 1, fontsize=9, color=ink, ha="center", va="center", zorder=4)
        axes.axis("off")
        canvas.caption(axes, f"After {epoch} epochs: {right[epoch]} of 34")
    for who, colour in enumerate(("#3B4CC0", "#B40426")):
        curves.plot(thought[:, who == CLUB], color=colour, alpha=0.6)
    canvas.caption(curves, "Who stayed (squares, red) and left", "epoch", "probability to stay")
    return figure


@experiment(
    Claim("the club's members told apart from two, of 34", 33, at_least=33, quick=33, form=".0f"),
    quick={"epochs": 100},
    by_hand=lambda seed, **of: by_hand.train(network(seed), propagation(), FIRST, CLUB, **of),
    timed={"epochs": 200},
)
def karate(seed=0, epochs=200):
    thought = train(network(seed), epochs)
    right = np.sum((thought > 0.5) == CLUB, axis=1)
    print("\n".join(f"  epoch {i}: {right[i]} of 34" for i in range(0, epochs + 1, 50)))
    return Reached(right[-1], lambda: draw(thought, right))

"""Understanding LSTM Networks: his formulas, forwards and backwards, and the variants he shows."""

import numpy as np

import tensorgrad as tg
from examples import mnist
from examples.by_hand import lstm as by_hand
from examples.by_hand.adam import Adam
from examples.experiment import Claim, Reached, experiment, show
from tensorgrad import data, nn, optim


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def olah(W, b, x):
    """h and C at each time, and all that the steps made: his equations, with [h, x] side by side.

    `W`: of f, i, C and o, (n, n + inputs); `x`: (times, batch, inputs).
    """
    h = C = np.zeros((x.shape[1], len(W["f"])))
    steps = []
    for x_t in x:
        hx, C_before = np.concatenate([h, x_t], axis=1), C
        f = sigmoid(hx @ W["f"].T + b["f"])
        i = sigmoid(hx @ W["i"].T + b["i"])
        new = np.tanh(hx @ W["C"].T + b["C"])  # C̃
        C = f * C_before + i * new
        o = sigmoid(hx @ W["o"].T + b["o"])
        h = o * np.tanh(C)
        steps.append((hx, C_before, f, i, new, C, o, h))
    return steps


def olah_backwards(W, steps, dhs):
    """∂L/∂W and ∂L/∂b of each gate and ∂L/∂x, from L's direct derivatives by each h."""
    n = len(W["f"])
    dW, db, dx = dict.fromkeys(W, 0.0), dict.fromkeys(W, 0.0), []
    dh_later = dC_later = 0.0
    for (hx, C_before, f, i, new, C, o, _), dh in zip(reversed(steps), reversed(dhs)):
        dh = dh + dh_later
        dC = dh * o * (1 - np.tanh(C) ** 2) + dC_later
        dz = {
            "f": dC * C_before * f * (1 - f),
            "i": dC * new * i * (1 - i),
            "C": dC * i * (1 - new**2),
            "o": dh * np.tanh(C) * o * (1 - o),
        }
        for gate in W:
            dW[gate] += dz[gate].T @ hx
            db[gate] += dz[gate].sum(axis=0)
        dhx = sum(dz[gate] @ W[gate] for gate in W)
        dh_later, dC_later = dhx[:, :n], dC * f
        dx.append(dhx[:, n:])
    return dW, db, np.stack(dx[::-1])


@experiment(
    Claim("LSTM, his equations: largest difference of an h or C", None, at_most=1e-12,
          quick=1e-12, form=".0e"),
    Claim("LSTM, his derivatives: largest relative difference of a gradient", None, at_most=1e-12,
          quick=1e-12, form=".0e"),
    quick={"images": 20},
    note="nn.LSTM in float64, on the rows of digits, 28 pixels at each of 28 times, with an error"
    " at every h.",
)  # fmt: skip
def formulas(seed=0, images=100, n=32):
    rng = np.random.default_rng(seed)
    rows = mnist.split().test.x[:images].reshape(-1, 28, 28).swapaxes(0, 1)
    x = tg.Value(rows.astype(np.float64))
    lstm = nn.LSTM(28, n, dtype=np.float64, rng=rng)
    h, (_, C) = lstm(x)
    dhs = rng.normal(size=h.shape)
    np.sum(h * dhs).backward()

    # nn.LSTM has the rows of i, f, C, o one below the other, and h and x apart.
    def gates(ih, hh, along):
        return dict(zip("ifCo", np.split(np.concatenate([hh, ih], axis=along), 4)))

    W = gates(lstm.weight_ih_l0.data, lstm.weight_hh_l0.data, 1)
    b = dict(zip("ifCo", np.split(lstm.bias_ih_l0.data + lstm.bias_hh_l0.data, 4)))
    steps = olah(W, b, x.data)
    made = np.stack([step[-1] for step in steps]), steps[-1][5]
    forwards = max(np.abs(h.data - made[0]).max(), np.abs(C.data[0] - made[1]).max())

    dW, db, dx = olah_backwards(W, steps, dhs)
    ours = gates(lstm.weight_ih_l0.grad, lstm.weight_hh_l0.grad, 1)
    pairs = [(ours[gate], dW[gate]) for gate in W] + [(x.grad, dx)]
    pairs += list(zip(np.split(lstm.bias_ih_l0.grad, 4), (db[gate] for gate in "ifCo")))
    return forwards, max(np.abs(g - his).max() / np.abs(his).max() for g, his in pairs)


KINDS = {
    "LSTM": nn.LSTM,
    "peephole": lambda *sizes, **rest: nn.LSTM(*sizes, peephole=True, **rest),
    "coupled": lambda *sizes, **rest: nn.LSTM(*sizes, coupled=True, **rest),
    "GRU": nn.GRU,
    "RNN": nn.RNN,
}


class Reader(nn.Module):
    """Reads the rows of an image, one at a time, and answers after the last."""

    def __init__(self, kind, rng, n=64):
        self.memory = KINDS[kind](28, n, batch_first=True, rng=rng)
        self.answer = nn.Linear(n, 10, rng=rng)

    def forward(self, images):
        h, _ = self.memory(images)
        return self.answer(h[:, -1])


def reader(kind, seed, images):
    """It, what it learns from, and a rate for Adam."""
    rng = np.random.default_rng(seed)
    first = mnist.split().training.first(images)
    model = Reader(kind, rng)
    rows = first.x.reshape(-1, 28, 28)
    return model, data.DataLoader(rows, first.y, batch_size=50, shuffle=True, rng=rng), 3e-3


def train(kind, seed, images, epochs):
    model, batches, lr = reader(kind, seed, images)
    test = mnist.split().test
    print(f" {kind}")
    return tg.fit(
        model,
        batches,
        nn.functional.cross_entropy,
        optim.Adam(model.parameters(), lr=lr),
        epochs=epochs,
        validation=(test.x.reshape(-1, 28, 28), test.y),
        on_epoch=show,
    )


def by_hand_epochs(seed, images=10_000, epochs=5):
    model, batches, lr = reader("LSTM", seed, images)
    p = [q.data.copy() for q in model.parameters()]
    adam = Adam(p, lr)
    test = mnist.split().test
    for _ in range(epochs):
        for batch in batches:
            adam.step(by_hand.gradients(p, *batch))
        answers = by_hand.answers(p, test.x.reshape(-1, 28, 28))
        print(f"  by hand: {np.mean(answers == test.y):.2%}", flush=True)
    return p


def of_rows(kind, at_least, quick=0.55):
    what = f"{kind}, rows of 10,000 digits, 5 epochs"
    return Claim(what, None, at_least=at_least, quick=quick)


@experiment(
    of_rows("LSTM", 0.92),
    quick={"images": 5000, "epochs": 1},
    by_hand=by_hand_epochs,
    timed={"images": 5000, "epochs": 1},
)
def rows(seed=0, images=10_000, epochs=5):
    return max(train("LSTM", seed, images, epochs).column("accuracy"))


@experiment(
    of_rows("with peepholes", 0.94, 0.65),
    of_rows("coupled gates", 0.92, 0.45),
    of_rows("GRU", 0.94, 0.60),
    of_rows("RNN, without gates", 0.75, 0.40),
    quick={"images": 5000, "epochs": 1},
    note="64 units, Adam at .003, batches of 50, the same for all; peepholes are full matrices, and"
    " so have more weights. nn.GRU is PyTorch's, which has r behind the product with h, and z where"
    " he has 1 - z.",
)
def variants(seed=0, images=10_000, epochs=5):
    histories = {kind: train(kind, seed, images, epochs) for kind in KINDS if kind != "LSTM"}
    reached = [max(history.column("accuracy")) for history in histories.values()]
    return Reached(
        reached, lambda: races({"LSTM": train("LSTM", seed, images, epochs)} | histories)
    )


def races(histories):
    from tensorgrad.viz.figures.canvas import COLOURS, LABEL, MARKERS, caption, sheet

    figure = sheet(7, 4.6)
    axes = figure.subplots()
    for colour, marker, (kind, history) in zip(COLOURS, MARKERS, histories.items()):
        errors = 100 * (1 - np.array(history.column("accuracy")))
        epochs = history.column("epoch")
        axes.plot(epochs, errors, marker=marker, color=colour, label=kind)
    caption(axes, "Rows of digits, read with a memory", "epoch", "% misread")
    axes.set(yscale="log", xticks=epochs)
    axes.set_yticks(ticks := [3, 5, 10, 20, 40], labels=map(str, ticks))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(fontsize=LABEL, loc="outside right center")
    return figure

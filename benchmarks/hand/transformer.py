"""A character transformer in NumPy by hand: 4 layers of 4 heads, pre-norm, gelu (tanh), AdamW.

Rows are one matrix, and what can be in place is.
"""

import math
from itertools import cycle

import numpy as np

LAYERS, HEADS = 4, 4
LR, BETAS, EPS, DECAY = 1e-3, (0.9, 0.99), 1e-8, 0.1
INNER, CUBIC = math.sqrt(2 / math.pi), 0.044715


def plain(weights, batches):
    P = {name: w.copy() for name, w in weights.items()}
    state = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in P.items()}
    (examples, context), channels = batches[0][0].shape, P["letter"].shape[1]
    rows, size = examples * context, channels // HEADS
    scale, batches = 1 / math.sqrt(size), cycle(batches)
    mask = np.where(np.tri(context, dtype=bool), 0, -np.inf).astype(np.float32)
    ones, mean = np.ones(rows, np.float32), np.full(channels, 1 / channels, np.float32)
    steps = 0

    def norm(h, w, b):
        unit = h - (h @ mean)[:, None]
        deviation = 1 / np.sqrt(np.einsum("ij,ij->i", unit, unit) / channels + 1e-5)[:, None]
        unit *= deviation
        out = unit * w
        out += b
        return out, (unit, deviation)

    def norm_back(g, w, saved):
        unit, deviation = saved
        by_w, by_b = np.einsum("ij,ij->j", g, unit), ones @ g
        g = g * w
        along = np.einsum("ij,ij->i", g, unit)[:, None] / channels * unit
        along += (g @ mean)[:, None]
        g -= along
        g *= deviation
        return g, by_w, by_b

    def gelu(u):
        t = u * u
        t *= INNER * CUBIC
        t += INNER
        t *= u
        np.tanh(t, out=t)
        out = t + 1
        out *= u
        out *= 0.5
        return out, (u, t)

    def gelu_back(g, saved):
        u, t = saved
        slope = u * u
        slope *= 3 * INNER * CUBIC
        slope += INNER
        slope *= u
        slope *= 1 - t * t
        slope += t
        slope += 1
        slope *= 0.5
        slope *= g
        return slope

    def layer(i):
        return lambda name: P[f"{i}.{name}"]

    def heads(a, i):
        return a.reshape(examples, context, 3, HEADS, size)[:, :, i].transpose(0, 2, 1, 3)

    def together(a):
        return a.transpose(0, 2, 1, 3).reshape(rows, channels)

    def step():
        nonlocal steps
        x, y = next(batches)
        y = y.ravel()
        h = (P["letter"][x] + P["place"]).reshape(rows, channels)
        saved, G = [], {}
        for i in range(LAYERS):
            p = layer(i)
            a1, n1 = norm(h, p("norm1.w"), p("norm1.b"))
            qkv = a1 @ p("qkv.w")
            qkv += p("qkv.b")
            q, k, v = (heads(qkv, j) for j in range(3))
            s = q @ k.swapaxes(-1, -2)
            s *= scale
            s += mask
            s -= s.max(-1, keepdims=True)
            np.exp(s, out=s)
            s /= s.sum(-1, keepdims=True)
            z = together(s @ v)
            o = z @ p("out.w")
            o += p("out.b")
            h = h + o
            a2, n2 = norm(h, p("norm2.w"), p("norm2.b"))
            u = a2 @ p("up.w")
            u += p("up.b")
            f, kept = gelu(u)
            d = f @ p("down.w")
            d += p("down.b")
            h = h + d
            saved.append((a1, n1, q, k, v, s, z, a2, n2, kept, f))
        a, n = norm(h, P["norm.w"], P["norm.b"])
        logits = a @ P["head.w"]
        logits -= logits.max(1, keepdims=True)
        e = np.exp(logits)
        total = e.sum(1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - logits[np.arange(rows), y])

        e /= total
        e[np.arange(rows), y] -= 1
        e /= rows
        G["head.w"] = a.T @ e
        g, G["norm.w"], G["norm.b"] = norm_back(e @ P["head.w"].T, P["norm.w"], n)
        for i in reversed(range(LAYERS)):
            p = layer(i)
            a1, n1, q, k, v, s, z, a2, n2, kept, f = saved.pop()
            G[f"{i}.down.w"], G[f"{i}.down.b"] = f.T @ g, ones @ g
            du = gelu_back(g @ p("down.w").T, kept)
            G[f"{i}.up.w"], G[f"{i}.up.b"] = a2.T @ du, ones @ du
            more, by_w, by_b = norm_back(du @ p("up.w").T, p("norm2.w"), n2)
            G[f"{i}.norm2.w"], G[f"{i}.norm2.b"] = by_w, by_b
            g = g + more
            G[f"{i}.out.w"], G[f"{i}.out.b"] = z.T @ g, ones @ g
            dz = (g @ p("out.w").T).reshape(examples, context, HEADS, size).transpose(0, 2, 1, 3)
            ds = dz @ v.swapaxes(-1, -2)
            ds -= np.einsum("abij,abij->abi", ds, s)[..., None]
            ds *= s
            ds *= scale
            dqkv = np.empty((examples, context, 3, HEADS, size), np.float32)
            heads(dqkv, 0)[...] = ds @ k
            heads(dqkv, 1)[...] = ds.swapaxes(-1, -2) @ q
            heads(dqkv, 2)[...] = s.swapaxes(-1, -2) @ dz
            dqkv = dqkv.reshape(rows, 3 * channels)
            G[f"{i}.qkv.w"], G[f"{i}.qkv.b"] = a1.T @ dqkv, ones @ dqkv
            more, by_w, by_b = norm_back(dqkv @ p("qkv.w").T, p("norm1.w"), n1)
            G[f"{i}.norm1.w"], G[f"{i}.norm1.b"] = by_w, by_b
            g = g + more
        G["place"] = g.reshape(examples, context, channels).sum(0)
        onehot = np.zeros((len(P["letter"]), rows), np.float32)
        onehot[x.ravel(), np.arange(rows)] = 1
        G["letter"] = onehot @ g

        steps += 1
        rate, root = LR / (1 - BETAS[0] ** steps), 1 / math.sqrt(1 - BETAS[1] ** steps)
        for name, w in P.items():
            (m, v), g = state[name], G[name]
            m += (1 - BETAS[0]) * (g - m)
            v += (1 - BETAS[1]) * (g * g - v)
            w *= 1 - LR * DECAY
            w -= rate * m / (np.sqrt(v) * root + EPS)
        return loss

    return step

"""Recurrent networks, against their formulas written out step by step."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)
from tensorgrad.viz import explain

Array = Any
rng = np.random.default_rng(0)
close = {"rtol": 1e-10, "atol": 1e-12}


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def double(kind: Any, *args: Any, **kwargs: Any) -> Any:
    return kind(*args, dtype=np.float64, rng=1, **kwargs)


def arrays(model: nn.Module) -> dict[str, Array]:
    return {name: p.data for name, p in model.named_parameters()}


# Steps on paper, by what PyTorch calls the parameters.


def rnn(p: Any, x: Array, h: Array, squash: Any = np.tanh) -> Array:
    return squash(p["weight_ih"] @ x + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"])


def lstm(p: Any, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    i, f, g, o = np.split(p["weight_ih"] @ x + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(p: Any, x: Array, h: Array) -> Array:
    ir, iz, i_n = np.split(p["weight_ih"] @ x + p["bias_ih"], 3)
    hr, hz, hn = np.split(p["weight_hh"] @ h + p["bias_hh"], 3)
    r, z = sigmoid(ir + hr), sigmoid(iz + hz)
    return (1 - z) * np.tanh(i_n + r * hn) + z * h


CELLS: dict[str, tuple[Any, Any, Callable[..., Any]]] = {
    "RNN": (nn.RNN, nn.RNNCell, rnn),
    "LSTM": (nn.LSTM, nn.LSTMCell, lstm),
    "GRU": (nn.GRU, nn.GRUCell, gru),
}


def layers(kind: str, model: Any, x: Array) -> tuple[Array, list[Array]]:
    """All layers of `model` on one sequence `x` (times, features), one step after the other."""
    p, last = arrays(model), []
    for layer in range(model.num_layers):
        outs = []
        for suffix in (f"_l{layer}", f"_l{layer}_reverse")[: 1 + model.bidirectional]:
            own = {k.removesuffix(suffix): v for k, v in p.items() if k.endswith(suffix)}
            states = [np.zeros(model.hidden_size)] * (2 if kind == "LSTM" else 1)
            order = x[::-1] if suffix.endswith("e") else x
            hs = []
            for row in order:
                made = CELLS[kind][2](own, row, *states)
                states = list(made) if kind == "LSTM" else [made]
                hs.append(states[0])
            outs.append(hs[::-1] if suffix.endswith("e") else hs)
            last.append(states)
        x = np.concatenate(outs, axis=-1)
    return x, [np.stack(states) for states in zip(*last)]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("kind", CELLS)
def test_layers_are_the_formulas_at_each_step(
    kind: str, num_layers: int, bidirectional: bool
) -> None:
    model = double(CELLS[kind][0], 3, 4, num_layers=num_layers, bidirectional=bidirectional)
    x = rng.normal(size=(5, 2, 3))
    out, last = model(x)
    last = last if kind == "LSTM" else (last,)
    for i in range(2):
        expected, states = layers(kind, model, x[:, i])
        np.testing.assert_allclose(out.data[:, i], expected, **close)
        for found, state in zip(last, states, strict=True):
            np.testing.assert_allclose(found.data[:, i], state, **close)


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_is_one_step(kind: str) -> None:
    cell, step = double(CELLS[kind][1], 3, 4), CELLS[kind][2]
    x, states = rng.normal(size=3), [rng.normal(size=4)] * (2 if kind == "LSTM" else 1)
    expected = np.stack(step(arrays(cell), x, *states))
    hx = tuple(states) if kind == "LSTM" else states[0]
    found = cell(x, hx)
    np.testing.assert_allclose(np.stack(found).data if kind == "LSTM" else found.data, expected)
    batch = cell(x[None], tuple(s[None] for s in states) if kind == "LSTM" else states[0][None])
    np.testing.assert_allclose(
        np.stack(batch).data[:, 0] if kind == "LSTM" else batch.data[0], expected
    )


def test_relu_is_the_other_nonlinearity() -> None:
    cell, x, h = double(nn.RNNCell, 3, 4, nonlinearity="relu"), np.ones(3), np.ones(4)
    expected = rnn(arrays(cell), x, h, lambda z: np.maximum(z, 0))
    np.testing.assert_allclose(cell(x, h).data, expected)
    model = nn.RNN(3, 4, nonlinearity="relu")
    assert np.min(model(rng.normal(size=(5, 2, 3)))[0].data) == 0
    with pytest.raises(ValueError, match="'tanh' and 'relu'"):
        nn.RNN(3, 4, nonlinearity="sigmoid")


# Olah's formulas, of one step after the other, and their derivatives by hand: SEEDS, section 2.


def by_hand(
    model: Any, x: Array, dh: Array, peephole: bool, coupled: bool
) -> tuple[Array, dict[str, Array], Array]:
    """h at the end, the gradients of `dh` · h by the parameters and by x."""
    p, n = arrays(model), model.hidden_size
    W, U = p["weight_ih_l0"], p["weight_hh_l0"]
    P = p["weight_ch_l0"] if peephole else np.zeros(((2 if coupled else 3) * n, n))
    rows = lambda A, k: A[k * n : (k + 1) * n]
    h = C = np.zeros(n)
    trace = []
    for row in x:
        before = h, C
        a = W @ row + p["bias_ih_l0"] + U @ h + p["bias_hh_l0"]
        z_f, z_C, z_o = (rows(a, k - coupled) for k in (1, 2, 3))
        f = sigmoid(z_f + rows(P, 1 - coupled) @ C)
        i = 1 - f if coupled else sigmoid(rows(a, 0) + rows(P, 0) @ C)
        new = np.tanh(z_C)
        C = f * C + i * new
        o = sigmoid(z_o + P[-n:] @ C)
        h = o * np.tanh(C)
        trace.append((*before, i, f, new, o, C))
    end = h
    dW, dU, dP, db = (np.zeros_like(A) for A in (W, U, P, p["bias_ih_l0"]))
    dx, dC = np.zeros_like(x), np.zeros(n)
    for t in reversed(range(len(x))):
        h, C_before, i, f, new, o, C = trace[t]
        dz_o = dh * np.tanh(C) * o * (1 - o)
        dC = dC + dh * o * (1 - np.tanh(C) ** 2) + P[-n:].T @ dz_o
        dz_f = dC * (C_before - new if coupled else C_before) * f * (1 - f)
        dz_i = dC * new * i * (1 - i)
        dz_C = dC * i * (1 - new**2)
        dz = np.concatenate([*([] if coupled else [dz_i]), dz_f, dz_C, dz_o])
        gates = np.concatenate([dz_f] if coupled else [dz_i, dz_f])
        dW, dU, db = dW + np.outer(dz, x[t]), dU + np.outer(dz, h), db + dz
        dP[:-n] += np.outer(gates, C_before)
        dP[-n:] += np.outer(dz_o, C)
        dx[t], dh = W.T @ dz, U.T @ dz
        dC = dC * f + P[:-n].T @ gates
    found = {"weight_ih_l0": dW, "weight_hh_l0": dU, "bias_ih_l0": db, "bias_hh_l0": db}
    return end, found | ({"weight_ch_l0": dP} if peephole else {}), dx


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("peephole", [False, True])
def test_an_lstm_is_olahs_and_its_gradient_the_one_by_hand(peephole: bool, coupled: bool) -> None:
    model = double(nn.LSTM, 3, 4, peephole=peephole, coupled=coupled)
    x, dh = rng.normal(size=(5, 3)), rng.normal(size=4)
    expected, gradients, dx = by_hand(model, x, dh, peephole, coupled)
    v = Value(x)
    out, _ = model(v)
    np.testing.assert_allclose(out.data[-1], expected, **close)
    np.dot(dh, out[-1]).backward()
    assert gradients.keys() == arrays(model).keys()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad, gradients[name], **close, err_msg=name)
    np.testing.assert_allclose(v.grad, dx, **close)


@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_without_peepholes_the_steps_are_the_one_node_to_second_order(lengths: Any) -> None:
    """The composed variant has rules of its own for each operation."""
    plain = double(nn.LSTM, 3, 4)
    variant = double(nn.LSTM, 3, 4, peephole=True)
    variant.load_state_dict(arrays(plain) | {"weight_ch_l0": np.zeros((12, 4))})
    x, hx = rng.normal(size=(4, 2, 3)), tuple(rng.normal(size=(2, 1, 2, 4)))

    def curvature(model: Any) -> list[Array]:
        v, h, c = Value(x), Value(hx[0]), Value(hx[1])
        given = pack_padded_sequence(v, lengths) if lengths else v
        out, (h_n, c_n) = model(given, (h, c))
        out = out.data if lengths else out
        parts = [v, h, c, *(getattr(model, name) for name in arrays(plain))]
        (np.sum(out**3) + np.sum(h_n * c_n)).backward(create_graph=True)
        first = [p.grad for p in parts]
        for p in parts:
            p.grad = None
        sum(np.sum(g * g) for g in first).backward()
        return [*(g.data for g in first), *(p.grad for p in parts)]

    for found, expected in zip(curvature(plain), curvature(variant), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def test_projections_shrink_what_goes_back_into_the_layer() -> None:
    model = double(nn.LSTM, 3, 4, proj_size=2)
    p = {name.removesuffix("_l0"): a for name, a in arrays(model).items()}
    assert {name: a.shape for name, a in p.items()} == {
        **{"weight_ih": (16, 3), "weight_hh": (16, 2), "bias_ih": (16,), "bias_hh": (16,)},
        "weight_hr": (2, 4),
    }
    x, h, c = rng.normal(size=(5, 3)), np.zeros(2), np.zeros(4)
    for row in x:
        h, c = lstm(p, row, h, c)
        h = p["weight_hr"] @ h
    out, (h_n, c_n) = model(x)
    np.testing.assert_allclose(out.data[-1], h, **close)
    np.testing.assert_allclose(h_n.data, h[None], **close)
    np.testing.assert_allclose(c_n.data, c[None], **close)


def test_gru_by_hand_and_where_it_differs_from_olahs() -> None:
    """Without biases: h' = (1 - z) h + z h̃, h̃ = tanh(W [r h, x]), his; with r before the product.

    A diagonal matrix lets r through; and z and 1 - z have changed places: σ(-a) = 1 - σ(a).
    """
    cell = double(nn.GRUCell, 3, 4, bias=False)
    diagonal = np.diag(rng.normal(size=4))
    cell.weight_hh.data = np.concatenate([cell.weight_hh.data[:8], diagonal])
    (W_r, W_z, W), (U_r, U_z, U) = (np.split(w.data, 3) for w in cell.parameters())
    x, h = rng.normal(size=3), rng.normal(size=4)
    z, r = sigmoid(-(W_z @ x + U_z @ h)), sigmoid(W_r @ x + U_r @ h)
    candidate = np.tanh(W @ x + U @ (r * h))
    np.testing.assert_allclose(cell(x, h).data, (1 - z) * h + z * candidate, **close)
    z = 1 - z
    dh, v = rng.normal(size=4), Value(h)
    np.dot(dh, cell(x, v)).backward()
    dn = dh * (1 - z) * (1 - candidate**2)
    dz, dr = dh * (h - candidate) * z * (1 - z), dn * (U @ h) * r * (1 - r)
    np.testing.assert_allclose(v.grad, dh * z + U.T @ (dn * r) + U_z.T @ dz + U_r.T @ dr, **close)
    rows = np.concatenate([dr, dz, dn * r])
    np.testing.assert_allclose(cell.weight_hh.grad, np.outer(rows, h), **close)
    rows = np.concatenate([dr, dz, dn])
    np.testing.assert_allclose(cell.weight_ih.grad, np.outer(rows, x), **close)


# Sequences of different lengths.

KINDS = {
    "RNN": lambda **more: double(nn.RNN, 3, 4, **more),
    "LSTM": lambda **more: double(nn.LSTM, 3, 4, **more),
    "GRU": lambda **more: double(nn.GRU, 3, 4, **more),
    "peepholes": lambda **more: double(nn.LSTM, 3, 4, peephole=True, proj_size=2, **more),
}


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_are_each_by_itself(kind: str) -> None:
    """Outputs, last states, and the gradients by inputs, first states and parameters."""
    model = KINDS[kind](num_layers=2, bidirectional=True)
    xs = [Value(rng.normal(size=(n, 3))) for n in (2, 4, 1, 4)]
    features = [2 if kind == "peepholes" else 4, 4][: model.states]
    hx = [Value(rng.normal(size=(4, 4, n))) for n in features]
    of = lambda i: model.as_given([s[:, i] for s in hx])
    together, last = model(pack_sequence(xs, enforce_sorted=False), model.as_given(hx))
    ends = last if isinstance(last, tuple) else (last,)
    cost = np.sum(np.sin(together.data)) + sum(np.sum(s**3) for s in ends)
    cost.backward()
    leaves = [*xs, *hx, *model.parameters()]
    found = [p.grad for p in leaves]
    for p in leaves:
        p.grad = None
    cost = 0
    for i, (x, out) in enumerate(zip(xs, unpack_sequence(together), strict=True)):
        alone, own = model(x, of(i))
        np.testing.assert_allclose(out.data, alone.data, **close)
        for all_of_them, s in zip(ends, own if isinstance(own, tuple) else (own,), strict=True):
            np.testing.assert_allclose(all_of_them.data[:, i], s.data, **close)
            cost = cost + np.sum(s**3)
        cost = cost + np.sum(np.sin(alone))
    cost.backward()
    for p, g in zip(leaves, found, strict=True):
        np.testing.assert_allclose(g, p.grad, **close)


@pytest.mark.parametrize("batch_first", [False, True])
def test_what_is_packed_is_padded_again(batch_first: bool) -> None:
    x, lengths = Value(rng.normal(size=(3, 4, 2))), [2, 3, 1] if batch_first else [1, 2, 3, 1]
    packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
    assert sum(packed.batch_sizes) == len(packed.data) == sum(lengths)
    padded, found = pad_packed_sequence(packed, batch_first, padding_value=7.0, total_length=5)
    assert found.tolist() == lengths
    by_sequence = lambda a: a if batch_first else np.swapaxes(a, 0, 1)
    for row, own, n in zip(by_sequence(padded.data), by_sequence(x.data), lengths, strict=True):
        assert len(row) == 5
        np.testing.assert_array_equal(row[:n], own[:n])
        assert np.all(row[n:] == 7)
    np.sum(padded**2).backward()
    for g, own, n in zip(by_sequence(x.grad), by_sequence(x.data), lengths, strict=True):
        np.testing.assert_allclose(g[:n], 2 * own[:n])
        assert np.all(g[n:] == 0)


def test_sequences_are_padded_on_either_side_and_unpadded() -> None:
    xs = [Value([[1.0], [2.0]]), Value([[3.0]])]
    right = pad_sequence(xs, batch_first=True, padding_value=-1.0)
    left = pad_sequence(xs, batch_first=True, padding_side="left")
    assert right.data[..., 0].tolist() == [[1, 2], [3, -1]]
    assert left.data[..., 0].tolist() == [[1, 2], [0, 3]]
    np.sum(left * right).backward()
    assert xs[0].grad[:, 0].tolist() == [2, 4]
    assert xs[1].grad[:, 0].tolist() == [-1]
    again = unpad_sequence(right, [2, 1], batch_first=True)
    assert [x.tolist() for x in again] == [[[1], [2]], [[3]]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: pack_padded_sequence(x, [3, 0]), "leave out sequences of length 0"),
        (lambda x: pack_padded_sequence(x, [4, 1]), "between 1 and 3"),
        (lambda x: pack_padded_sequence(x, [1, 2]), "enforce_sorted=False"),
        (lambda x: pack_padded_sequence(x, [2]), "2 integers"),
        (lambda x: pack_padded_sequence(x, [2.0, 1.0]), "integers"),
        (lambda x: pack_padded_sequence(x[:, 0, 0], [2]), "times, n"),
        (lambda x: pad_sequence([]), "one sequence or more"),
        (lambda x: pad_sequence([x, x[:, :1]]), "all but the first axis"),
        (lambda x: pack_sequence([x[:0], x]), "leave out"),
        (lambda x: pad_packed_sequence(pack_sequence([x]), total_length=2), "has 3 steps"),
        (lambda x: pad_packed_sequence(x), "PackedSequence, not"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call(np.ones((3, 2, 1)))


# Shapes, names, settings.


def test_parameters_have_pytorchs_names_order_and_range() -> None:
    model = nn.GRU(3, 16, num_layers=2, bidirectional=True)
    names = [*("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")]
    names += [f"{name}_reverse" for name in names]
    names += [name.replace("l0", "l1") for name in names]
    assert [*arrays(model)] == names
    assert model.weight_ih_l1.shape == (48, 32)
    drawn = np.concatenate([a.ravel() for a in arrays(model).values()])
    assert 0.2 < np.max(np.abs(drawn)) < 0.25
    assert abs(np.mean(drawn)) < 0.02
    assert drawn.dtype == np.float32
    assert [*arrays(nn.LSTMCell(2, 3, bias=False))] == ["weight_ih", "weight_hh"]


def test_outputs_have_the_layout_of_the_inputs() -> None:
    model, first = double(nn.LSTM, 3, 4, num_layers=2), double(nn.LSTM, 3, 4, 2, batch_first=True)
    x = rng.normal(size=(5, 2, 3))
    out, (h, c) = model(x)
    assert (out.shape, h.shape, c.shape) == ((5, 2, 4), (2, 2, 4), (2, 2, 4))
    other, (h_first, _) = first(np.swapaxes(x, 0, 1))
    np.testing.assert_array_equal(np.swapaxes(other.data, 0, 1), out.data)
    np.testing.assert_array_equal(h_first.data, h.data)
    alone, (h, c) = first(x[:, 0], (np.zeros((2, 4)), np.zeros((2, 4))))
    assert (alone.shape, h.shape, c.shape) == ((5, 4), (2, 4), (2, 4))
    np.testing.assert_allclose(alone.data, out.data[:, 0], **close)
    empty, (h, _) = model(x[:, :0])
    assert (empty.shape, h.shape) == ((5, 0, 4), (2, 0, 4))
    assert nn.GRU(3, 4)(x.astype(np.float32))[0].dtype == np.float32
    assert model(x.tolist())[0].shape == out.shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.LSTM(3, 4)(np.ones((5, 2, 7))), r"\(times, n, 3\).* shape \(5, 2, 7\)"),
        (lambda: nn.LSTM(3, 4, batch_first=True)(np.ones(3)), r"\(n, times, 3\)"),
        (lambda: nn.LSTM(3, 4)(np.ones((0, 2, 3))), "sequences of length 0"),
        (lambda: nn.GRU(3, 4)(np.ones((5, 2, 3)), np.ones((1, 3, 4))), r"\(1, 2, 4\)"),
        (lambda: nn.LSTM(3, 4)(np.ones((5, 2, 3)), (np.ones((1, 2, 4)),)), "and"),
        (lambda: nn.RNN(3, 4)(PackedSequence(np.ones((5, 2)), (5,))), r"\(rows, 3\)"),
        (lambda: nn.RNN(3, 4)(PackedSequence(np.ones((0, 3)), ())), "one step at least"),
        (lambda: nn.GRUCell(3, 4)(np.ones((2, 4))), r"\(n, 3\)"),
        (lambda: nn.GRUCell(3, 4)(np.ones((2, 3)), np.ones(4)), r"\(4,\), expected \(2, 4\)"),
        (lambda: nn.RNN(0, 4), "positive"),
        (lambda: nn.RNN(3, 4, num_layers=0), "positive"),
        (lambda: nn.LSTM(3, 4, proj_size=4), "less than hidden_size"),
        (lambda: nn.LSTM(3, 4, 2, dropout=1.5), "between 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_dropout_is_between_layers_in_training() -> None:
    x = rng.normal(size=(5, 2, 3))
    model = nn.LSTM(3, 8, num_layers=2, dropout=1.0, dtype=np.float64, rng=0)
    unlike, _ = model(x)
    second = nn.LSTM(8, 8, dtype=np.float64)
    state = {k.replace("l1", "l0"): a for k, a in arrays(model).items() if "l1" in k}
    second.load_state_dict(state)
    np.testing.assert_allclose(unlike.data, second(np.zeros((5, 2, 8)))[0].data, **close)
    _, (h, _) = model(x)
    np.testing.assert_array_equal(h.data[0], model.eval()(x)[1][0].data[0])  # of the inputs none
    model.train()
    model.dropout = 0.5
    a, b = model(x)[0].data, model(x)[0].data
    assert not np.allclose(a, b)
    model.eval()
    whole = model(x)[0].data
    np.testing.assert_array_equal(whole, model(x)[0].data)
    np.testing.assert_allclose(whole[:, 0], layers("LSTM", model, x[:, 0])[0], **close)
    tg.manual_seed(3)
    model = nn.GRU(3, 8, num_layers=2, dropout=0.5)
    first = model(x)[0].data
    tg.manual_seed(3)
    np.testing.assert_array_equal(nn.GRU(3, 8, num_layers=2, dropout=0.5)(x)[0].data, first)
    with pytest.warns(UserWarning, match="between layers"):
        nn.GRU(3, 8, dropout=0.5)


# As Modules.

MODULES = {
    "RNN": lambda: nn.RNN(3, 4, num_layers=2, nonlinearity="relu", rng=0),
    "LSTM": lambda: nn.LSTM(3, 4, bidirectional=True, rng=0),
    "variant": lambda: nn.LSTM(3, 4, proj_size=2, peephole=True, coupled=True, rng=0),
    "GRU": lambda: nn.GRU(3, 4, bias=False, batch_first=True, rng=0),
    "RNNCell": lambda: nn.RNNCell(3, 4, rng=0),
    "LSTMCell": lambda: nn.LSTMCell(3, 4, coupled=True, rng=0),
    "GRUCell": lambda: nn.GRUCell(3, 4, rng=0),
}


def answer(model: Any, x: Array) -> Any:
    out = model(x)
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("kind", MODULES)
def test_saved_copied_and_pickled_they_answer_the_same(kind: str, tmp_path: Any) -> None:
    model = MODULES[kind]()
    x = rng.normal(size=(2, 3) if kind.endswith("Cell") else (5, 2, 3)).astype(np.float32)
    expected = answer(model, x).data
    tg.io.save(model, tmp_path / "model.safetensors")
    fresh = type(model)(*model._made_with[0], **{**model._made_with[1], "rng": 5})
    fresh.load_state_dict(model.state_dict())
    copies = [tg.io.load(tmp_path / "model.safetensors"), copy.deepcopy(model), fresh]
    for other in [*copies, pickle.loads(pickle.dumps(model))]:
        np.testing.assert_array_equal(answer(other, x).data, expected)


@pytest.mark.parametrize("kind", MODULES)
def test_an_ensemble_and_gradients_of_each_example_are_a_loop(kind: str) -> None:
    model = MODULES[kind]().to(np.float64)
    shape = (2, 3) if kind.endswith("Cell") else (4, 2, 3)
    x = rng.normal(size=(3, *shape))
    states = [{k: a * s for k, a in arrays(model).items()} for s in (1.0, 0.5, -1.0)]
    stacked = {k: np.stack([s[k] for s in states]) for k in states[0]}
    run = lambda state, x: np.sum(np.sin(answer(lambda x: nn.functional_call(model, state, x), x)))
    found = tg.vmap(tg.grad(run))(stacked, x)
    for i, state in enumerate(states):
        for name, g in tg.grad(run)(state, x[i]).items():
            np.testing.assert_allclose(found[name][i], g, **close)
    grads = tg.grad(lambda model: np.sum(np.sin(answer(model, x[0]))))(model)
    for name, g in tg.grad(run)(states[0], x[0]).items():
        np.testing.assert_allclose(dict(grads.named_parameters())[name].data, g, **close)


def test_a_frozen_network_and_constant_inputs_record_nothing() -> None:
    model = nn.LSTM(3, 4).requires_grad_(False)
    assert not model(np.ones((5, 2, 3)))[0].requires_grad


# Long sequences.


def test_the_gradient_through_two_thousand_steps_is_the_geometric_sum() -> None:
    """h = w h + x, all positive: h at the end is Σ w^(T-t) x_t, and its derivative by w known."""
    times, w = 2000, 0.999
    model = nn.RNN(1, 1, nonlinearity="relu", bias=False, dtype=np.float64)
    model.load_state_dict({"weight_ih_l0": np.ones((1, 1)), "weight_hh_l0": np.full((1, 1), w)})
    x = Value(rng.uniform(size=(times, 1)))
    out, _ = model(x)
    out[-1, 0].backward()
    ago = np.arange(times)[::-1]
    np.testing.assert_allclose(out.data[-1], w**ago @ x.data)
    np.testing.assert_allclose(x.grad[:, 0], w**ago)
    np.testing.assert_allclose(
        model.weight_hh_l0.grad[0, 0], (ago * w ** (ago - 1.0)) @ x.data[:, 0]
    )


@pytest.mark.parametrize("model", [nn.LSTM(4, 16), nn.LSTM(4, 16, coupled=True), nn.GRU(4, 16)])
def test_memory_grows_with_the_number_of_steps_no_faster(model: Any) -> None:
    def peak(times: int) -> int:
        x = np.ones((times, 8, 4), np.float32)
        tracemalloc.start()
        np.sum(model(x)[0]).backward()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        model.zero_grad()
        return most

    peak(10)
    assert peak(600) < 2.3 * peak(300)


def test_the_formula_of_a_step_is_shown() -> None:
    model, x = nn.LSTM(2, 2), Value(np.ones((2, 1, 2), np.float32), name="x")
    explanation = explain(np.sum(model(x)[0]), x)
    assert "lstm(v8, c1, c2, v4, sizes=(1, 1))" in str(explanation)
    assert r"h_t = o_t \odot \tanh c_t" in explanation.latex()
    assert r"c_t = f_t \odot c_{t-1} + i_t \odot g_t" in explanation.latex()


def test_the_last_time_of_a_sequence_is_what_a_sequential_goes_on_with():
    lstm, linear = nn.LSTM(3, 5, batch_first=True, rng=0), nn.Linear(5, 2, rng=1)
    x = np.random.default_rng(0).normal(size=(4, 6, 3))
    out, (h, _) = lstm(x)
    assert np.array_equal(nn.Last()(out).data, h[0].data)
    (one, (h_one, _)) = lstm(x[0])
    assert np.array_equal(nn.Last()(one).data, h_one[0].data)
    assert np.array_equal(nn.Sequential(lstm, nn.Last(), linear)(x).data, linear(h[0]).data)

"""Checkpoints on disk: nested state comes back exactly; what is damaged is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tensorgrad import io, nn, optim
from tensorgrad.io.tensors import to_bytes

STATE = {
    "numbers": [1, 1.5, True, None, "text", 2**120, float("inf"), -0.0, 0.1 + 0.2],
    "arrays": {
        dtype: np.arange(6).reshape(2, 3).astype(dtype)
        for dtype in ("bool", "int8", "uint64", "float16", "float32", "complex64", "complex128")
    },
    "kinds": (np.float32(0.1), np.float64(0.1), np.complex128(1 + 2j), np.int64(7), np.bool_(True)),
    0: {"an int": [(), {}, [], ((1,),)], (1, "tuple"): "as key"},
    "array": {"array": "a name that means something"},
    "empty": np.empty((0, 3)),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "0-d": np.array(3.0),
}


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert [*a] == [*b]
        assert all(map(same, a.values(), b.values()))
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        assert all(map(same, a, b))
    elif isinstance(a, (np.ndarray, np.generic)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()
    else:
        assert repr(a) == repr(b)
    return True


def test_nested_state_comes_back_exactly(tmp_path):
    path = tmp_path / "x.safetensors"
    io.save_checkpoint(STATE, path)
    same(STATE, io.load_checkpoint(path))
    before = path.read_bytes()
    io.save_checkpoint(STATE, path)
    assert path.read_bytes() == before


def test_a_loop_of_ones_own_keeps_its_model_and_optimiser(tmp_path):
    path = tmp_path / "x.safetensors"

    def made():
        model = nn.Linear(3, 2, rng=0)
        return model, optim.Adam(model.parameters(), lr=0.1)

    def train(model, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            np.sum(model(np.ones((1, 3))) ** 2).backward()
            optimizer.step()

    expected, optimizer = made()
    train(expected, optimizer, 5)
    model, optimizer = made()
    train(model, optimizer, 3)
    io.save_checkpoint({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    model, optimizer = made()
    state = io.load_checkpoint(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    train(model, optimizer, 2)
    np.testing.assert_array_equal(model.weight.data, expected.weight.data)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.exp, "cannot save a.0 = <ufunc 'exp'>"),
        (np.array(["text"]), "cannot save a.0 = "),
        (np.array([None]), "cannot save a.0 = "),
        (np.longdouble(1), "cannot save a.0: safetensors has no"),
        (nn.Linear(1, 1), "cannot save a.0 = Linear"),
    ],
)
def test_what_is_no_state_is_refused_and_the_old_file_stays(x, message, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_text("old")
    with pytest.raises(TypeError, match=message):
        io.save_checkpoint({"a": [x]}, path)
    assert path.read_text() == "old"


def test_a_list_that_contains_itself_is_refused(tmp_path):
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        io.save_checkpoint({"a": endless}, tmp_path / "x")


DAMAGED = [
    ({"array": "none"}, "none"),
    ({"dict": [[1]]}, "unpack"),
    ({"dict": [[[], 1]]}, "unhashable"),
    ({"class": "Linear"}, "damaged at"),
]


@pytest.mark.parametrize(("state", "message"), DAMAGED)
def test_a_damaged_checkpoint_is_told_so(state, message, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(to_bytes({}, json.dumps({"checkpoint": 1, "state": state})))
    with pytest.raises(io.ModelFileError, match=f"x.safetensors: the checkpoint is .*{message}"):
        io.load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(io.ModelFileError, match="damaged"):
        io.load_checkpoint(path)


def test_a_model_is_no_checkpoint_and_a_checkpoint_no_model(tmp_path):
    path = tmp_path / "x.safetensors"
    io.save(nn.Linear(1, 1), path)
    with pytest.raises(io.ModelFileError, match=r"a model is read by load\(path\)"):
        io.load_checkpoint(path)
    io.save_checkpoint({"model": {}}, path)
    with pytest.raises(io.ModelFileError, match=r'load_checkpoint\(path\)\["model"\]'):
        io.load(path)


def test_files_that_are_damaged_anywhere_are_read_or_refused(tmp_path):
    path, rng = tmp_path / "x.safetensors", np.random.default_rng(0)
    io.save_checkpoint(STATE, path)
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        for i in rng.integers(0, 8 + header, rng.integers(1, 4)):
            damaged[i] = rng.choice([*b'{}[]",:019ae', rng.integers(256)])
        path.write_bytes(damaged)
        try:
            io.load_checkpoint(path)
        except io.ModelFileError:
            refused += 1
    assert refused > 60

"""read_idx returns what was written, and refuses whatever was not written whole."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tensorgrad.data import read_idx

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}

any_array = st.sampled_from(sorted(CODES)).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
packings = st.sampled_from([bytes, gzip.compress])


def as_idx(array):
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">4B{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


@settings(deadline=None)
@given(array=any_array, pack=packings)
def test_an_array_comes_back_as_it_was_written(path, array, pack):
    path.write_bytes(pack(as_idx(array)))
    back = read_idx(path)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.dtype.isnative
    assert back.flags.writeable
    assert back.tobytes() == array.tobytes()


@settings(deadline=None)
@given(array=any_array, pack=packings, data=st.data())
def test_every_truncation_is_refused(path, array, pack, data):
    whole = pack(as_idx(array))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match=r"truncated|not an IDX file") as error:
        read_idx(path)
    assert str(path) in str(error.value)


@settings(deadline=None)
@given(array=any_array, pack=packings, extra=st.binary(min_size=1, max_size=9))
def test_every_surplus_is_refused(path, array, pack, extra):
    path.write_bytes(pack(as_idx(array) + extra))
    with pytest.raises(ValueError, match="oversized"):
        read_idx(path)


def test_a_damaged_gzip_file_is_refused(path):
    packed = bytearray(gzip.compress(as_idx(np.arange(1000, dtype="i4"))))
    packed[-6] ^= 1  # in its checksum
    path.write_bytes(packed)
    with pytest.raises(ValueError, match="damaged or truncated gzip"):
        read_idx(path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\0\0\x08", id="cut short"),
        pytest.param(b"<!DOCTYPE html>", id="HTML"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="PNG"),
        pytest.param(b"\0\1\x08\0!", id="no zeros"),
        pytest.param(b"\0\0\x0a\0!", id="no such type"),
        pytest.param(b"\0\0\x08\x41" + b"\0\0\0\1" * 65 + b"!", id="65 axes"),
    ],
)
def test_other_files_are_not_idx(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not an IDX file: it starts with"):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


@pytest.mark.parametrize("sides", [(2**32 - 1,), (2**32 - 1,) * 3, (2**32 - 1,) * 64])
def test_a_header_that_promises_the_world_allocates_nothing(path, sides):
    path.write_bytes(struct.pack(f">4B{len(sides)}I", 0, 0, 14, len(sides), *sides) + b"data")
    assert "truncated" in refusal_within_megabytes(4, path)


def test_a_gzip_bomb_is_not_unpacked(path):
    bomb = as_idx(np.zeros(3, dtype="u1")) + bytes(1 << 26)
    path.write_bytes(gzip.compress(bomb))
    assert "oversized" in refusal_within_megabytes(4, path)


def refusal_within_megabytes(limit, path):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="read_idx") as error:
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < limit << 20
    finally:
        tracemalloc.stop()
    return str(error.value)


def test_a_shape_beyond_numpy_is_an_error_that_names_the_file(path):
    path.write_bytes(struct.pack(">4B4I", 0, 0, 8, 4, 0, *(2**32 - 1,) * 3))
    with pytest.raises(ValueError, match="NumPy cannot hold") as error:
        read_idx(path)
    assert str(path) in str(error.value)


def test_a_gzip_bomb_that_keeps_its_promise_is_not_unpacked(path):
    header = struct.pack(">4B1I", 0, 0, 8, 1, 1 << 26)
    path.write_bytes(gzip.compress(header + bytes(1 << 26)))
    assert "67,108,864 bytes in its header" in refusal_within_megabytes(4, path)
    path.write_bytes(gzip.compress(as_idx(np.zeros(1 << 20, dtype="u1"))))  # white, but small
    assert read_idx(path).shape == (1 << 20,)

"""IDX, the format of MNIST's files: a magic number, the shape, then the numbers, big-endian.

The magic number is 00 00, a byte that names the type, and a byte that counts the axes (Y. LeCun,
C. Cortes, C. Burges, The MNIST database of handwritten digits, 1998). `mnist` reads four of them.
"""

import gzip
import math
import os
import struct
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# A gzip file may unpack to a thousand times its size; MNIST's to 5 times, plain white to SMALL.
RATIO, SMALL = 100, 1 << 24


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in an IDX file, plain or gzipped (told by content, not by name).

    Its shape and type are the header's, in native byte order; the caller may write to it.

    Raises `FileNotFoundError`, and `ValueError` for a file that is not IDX, is truncated or
    oversized against its own header, or is gzip that is damaged or a bomb.

    >>> import pathlib, tempfile
    >>> from tensorgrad.data import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels.idx")
    ...     _ = path.write_bytes(b"\\0\\0\\x08\\x01" + b"\\0\\0\\0\\x03" + bytes([7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    with open(path, "rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not gzipped:
            return _parse(raw, path)
        most = SMALL + RATIO * os.fstat(raw.fileno()).st_size
        try:
            with gzip.open(raw) as unpacked:
                return _parse(unpacked, path, most)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"read_idx: {path} is damaged or truncated gzip ({error}): fetch it again"
            ) from error


def _parse(
    f: IO[bytes] | gzip.GzipFile, path: str | os.PathLike[str], most: float = math.inf
) -> NDArray[Any]:
    magic = f.read(4)
    if magic[:2] != b"\0\0" or len(magic) < 4 or magic[2] not in _DTYPES or magic[3] > 64:
        raise ValueError(
            f"read_idx: {path} is not an IDX file: it starts with [{magic.hex(' ')}], not with "
            "00 00, a type 08 09 0b 0c 0d or 0e, and at most 64 axes: is it the right file?"
        )
    dtype, ndim = np.dtype(_DTYPES[magic[2]]), magic[3]
    header = f.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise ValueError(
            f"read_idx: {path} is truncated within its header of {ndim} axes: fetch it again"
        )
    shape = struct.unpack(f">{ndim}I", header)
    size = math.prod(shape) * dtype.itemsize
    if size > most:
        raise ValueError(
            f"read_idx: {path} promises {size:,} bytes in its header, over {RATIO} times its own: "
            "unpack it with gunzip, if you trust it"
        )
    data = bytearray()
    # In blocks, so that neither a lying header nor a gzip bomb makes us allocate what is not there.
    while len(data) <= size and (block := f.read(1 << 20)):
        data += block
    if len(data) != size:
        fault = "truncated" if len(data) < size else "oversized"
        found = "more" if len(data) > size else f"{len(data):,}"
        raise ValueError(
            f"read_idx: {path} is {fault}: its header promises {dtype.name} of shape {shape}, "
            f"{size:,} bytes, and {found} follow: fetch it again"
        )
    try:
        array = np.ndarray(shape, dtype, buffer=data)
    except ValueError as error:
        raise ValueError(
            f"read_idx: {path}: NumPy cannot hold its shape {shape} ({error}): is it data?"
        ) from error
    return array.astype(dtype.newbyteorder("="), copy=False)

"""Checkpoints on disk: nested state, such as `state_dict()`s, in a safetensors file.

What a training is made of besides arrays is dicts, lists, tuples and numbers; they are written as
JSON in the file's header, exactly, and the arrays beside it. A file cannot run code. `fit` writes
such files by `train.Checkpoint`, and goes on from one by `fit(..., resume=path)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorgrad.engine.dtypes import is_numeric
from tensorgrad.files import PathLike, write
from tensorgrad.io.tensors import LONGEST, ModelFileError, read_tensors, to_bytes

FORMAT = 1
DEEPEST = 100
PLAIN = (bool, int, float, str, type(None))


def save_checkpoint(state: Mapping[str, Any], path: PathLike) -> None:
    """Write nested dicts, lists and tuples of arrays, numbers and strings, whole or not at all.

    TypeError, with the place, for anything else, ValueError for what is nested too deeply or too
    large for a header, OSError if the file cannot be written; what was there before then stays.

    >>> import tempfile
    >>> from tensorgrad import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> optimizer = optim.Adam(model.parameters())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/checkpoint.safetensors"
    ...     state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    ...     save_checkpoint(state, path)
    ...     load_checkpoint(path)["epoch"]
    3
    """
    write(path, bytes_of(state))


def bytes_of(state: Mapping[str, Any]) -> bytes:
    """What `save_checkpoint` writes."""
    from tensorgrad import __version__

    arrays: dict[str, Any] = {}
    header = {"version": __version__, "checkpoint": FORMAT, "state": written(state, "", arrays)}
    content = to_bytes(arrays, json.dumps(header))
    if (length := int.from_bytes(content[:8], "little")) > LONGEST:
        raise ValueError(f"cannot save: besides arrays there are {length:,} bytes")
    return content


def load_checkpoint(path: PathLike) -> Any:
    """What `save_checkpoint` was given, the numbers exactly.

    ModelFileError, a ValueError, naming the file, if it is damaged or no checkpoint. OSError if it
    cannot be read.
    """
    header, arrays = read_tensors(path, LONGEST)
    if header.get("checkpoint") != FORMAT:
        raise ModelFileError(path, "it is no checkpoint; a model is read by load(path)")
    try:
        return read(header["state"], arrays)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(path, f"the checkpoint is damaged: {error}") from error


def written(x: Any, where: str, arrays: dict[str, Any], depth: int = 0) -> Any:
    """`x` as JSON; what JSON lacks is an object with one key. Arrays go into `arrays`, by place."""
    if type(x) in PLAIN:
        return x
    if depth > DEEPEST:
        raise ValueError(f"cannot save {where[:60]}...: it is nested more than {DEEPEST} deep")
    if isinstance(x, Mapping):
        parts = [
            [written(k, where, arrays, depth + 1), written(v, f"{where}.{k}", arrays, depth + 1)]
            for k, v in x.items()
        ]
        return {"dict": parts}
    if isinstance(x, (list, tuple)):
        parts = [written(v, f"{where}.{i}", arrays, depth + 1) for i, v in enumerate(x)]
        return {"tuple": parts} if isinstance(x, tuple) else parts
    if not isinstance(x, (np.ndarray, np.generic)) or not is_numeric(x.dtype):
        raise TypeError(
            f"cannot save {where.lstrip('.')} = {x!r:.60}: a checkpoint is made of dicts, lists, "
            "tuples, arrays, numbers and strings"
        )
    name = f"{len(arrays)}{where}"  # two keys may read alike
    array, kind = np.array(x, order="C"), "array" if isinstance(x, np.ndarray) else "number"
    if x.dtype == np.complex128:  # safetensors has no such numbers
        array, kind = array.reshape(*array.shape, 1).view(np.float64), f"complex {kind}"
    elif x.dtype.itemsize > 8:
        raise TypeError(f"cannot save {where.lstrip('.')}: safetensors has no {x.dtype}")
    arrays[name] = array
    return {kind: name}


def read(x: Any, arrays: Mapping[str, Any]) -> Any:
    """What was `written`."""
    if isinstance(x, list):
        return [read(part, arrays) for part in x]
    match x:
        case {"dict": list(parts)}:
            return {read(k, arrays): read(v, arrays) for k, v in parts}
        case {"tuple": list(parts)}:
            return tuple(read(part, arrays) for part in parts)
        case {"array": str(name)}:
            return arrays[name]
        case {"number": str(name)}:
            return arrays[name][()]
        case {"complex array": str(name)}:
            return arrays[name].view(np.complex128)[..., 0]
        case {"complex number": str(name)}:
            return arrays[name].view(np.complex128)[..., 0][()]
        case dict():
            raise ValueError(f"damaged at {x!r:.60}")
    return x

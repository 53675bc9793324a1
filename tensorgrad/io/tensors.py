"""safetensors files with a header of JSON: what models and checkpoints on disk have in common."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from typing import Any

from tensorgrad.extras import missing, printable
from tensorgrad.files import PathLike

LONGEST = 16 << 20  # bytes of a file's header: the names of 200,000 tensors


class ModelFileError(ValueError):
    """Why the file at `path` gives no model, and where in it, as one printable line."""

    def __init__(self, path: PathLike, reason: object) -> None:
        super().__init__(printable(f"{os.fspath(path)}: {reason}", 600))


def to_bytes(state: Mapping[str, Any], header: str) -> bytes:
    """Arrays by name, and JSON about them, as a file."""
    # One key, for safetensors writes several in random order: the same model, the same bytes.
    content: bytes = _safetensors().numpy.save(dict(state), {"tensorgrad": header})
    return content


def read_tensors(path: PathLike, longest: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header, of at most `longest` characters, and the arrays by name."""
    safetensors = _safetensors()
    if not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode):
        raise ModelFileError(path, "it is a device, not a file")
    with open(path, "rb") as raw:  # a missing or forbidden file is an OSError, not a damaged one
        if (length := int.from_bytes(raw.read(8), "little")) > LONGEST:
            raise ModelFileError(
                path, f"no safetensors file, or a damaged one: a header of {length:,} bytes"
            )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("tensorgrad")
            state = {name: file.get_tensor(name) for name in file.keys() if text}  # noqa: SIM118
    except Exception as error:  # whatever safetensors and NumPy say of odd headers
        raise ModelFileError(path, f"no safetensors file, or a damaged one: {error}") from error
    if text is None:
        raise ModelFileError(
            path,
            "it holds tensors but no architecture: tensorgrad did not write it; build the model "
            "yourself and call load_state_dict",
        )
    if len(text) > longest:
        raise ModelFileError(path, f"its architecture has {len(text):,} characters")
    try:
        header = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(path, f"its architecture is damaged: {error}") from error
    if not isinstance(header, dict):
        raise ModelFileError(path, f"its architecture is damaged: {text:.60}")
    return header, state


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, which has each key once: two readers could take another one each."""
    found: dict[str, Any] = {}
    for name, x in pairs:
        if name in found:
            raise ValueError(f"twice the key {name!r:.60}")
        found[name] = x
    return found


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise missing("models on disk need safetensors", "io") from None
    return safetensors

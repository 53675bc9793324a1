"""Save and load models: their state as safetensors, the architecture in the file's metadata.

Loading calls only classes of `tensorgrad.nn` and those it is given: a file cannot run code. Nor can
it ask for more memory or time than what it holds is worth, see `architecture.py` and SECURITY.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tensorgrad.files import PathLike, write
from tensorgrad.io.architecture import build, describe
from tensorgrad.io.tensors import LONGEST, ModelFileError, read_tensors, to_bytes
from tensorgrad.nn.module import Module

FORMAT = 2  # 1 had no buffers, and did not say so
LONGEST_TEXT = 2 << 20  # of the architecture and the metadata


def save(model: Module, path: PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Write `model` to `path`, whole or not at all; `metadata` is yours, `read_metadata` reads it.

    The model is built once more, for a file that is written is a file that loads: ValueError if
    it was changed since it was constructed, TypeError for an argument that is no data and for
    complex128, which safetensors lacks (`.to(np.complex64)` converts), OSError if the file cannot
    be written; what was there before then stays.

    >>> import tempfile
    >>> from tensorgrad import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, f"{folder}/model.safetensors")
    ...     load(f"{folder}/model.safetensors")
    Sequential(Linear(2, 3), ReLU(), Linear(3, 1))
    """
    from tensorgrad import __version__

    if not isinstance(model, Module):
        raise TypeError(
            f"save(model, path) writes a Module, not {type(model).__name__}; a state_dict, or any "
            "dict of arrays, is written by tg.io.save_checkpoint(state, path)"
        )
    architecture, state = describe(model), model.state_dict()
    for name, x in state.items():
        if x.dtype.itemsize > 8:
            lesser = "complex64" if x.dtype.kind == "c" else "float64"
            raise TypeError(f"cannot save {name}: safetensors has no {x.dtype}; .to(np.{lesser})")
    classes = _known()
    for cls in (type(m) for _, m in model.named_modules()):
        if classes.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(f"cannot save: there are two classes {cls.__name__}; rename yours")
    try:
        _fill(build(architecture, classes, _size(state)), state)
    except ValueError as error:
        raise ValueError(
            f"cannot save: the arguments of {type(model).__name__} do not rebuild it ({error}); "
            "make every change to a model in __init__, or save_checkpoint its state_dict()"
        ) from error
    header = {
        "version": __version__,
        "format": FORMAT,
        "architecture": architecture,
        "metadata": dict(metadata or {}),
    }
    text = json.dumps(header)
    content = to_bytes(state, text)
    if len(text) > LONGEST_TEXT or int.from_bytes(content[:8], "little") > LONGEST:
        raise ValueError(
            f"cannot save: the architecture and metadata have {len(text):,} characters, at most "
            f"{LONGEST_TEXT:,}, and with the names of {len(state):,} tensors at most {LONGEST:,}"
        )
    write(path, content)


def load(path: PathLike, classes: Iterable[type[Module]] = ()) -> Module:
    """The model in the file at `path`. `classes`: your own Modules that it is made of.

    It is in training mode, as a new one is, whatever the saved one was in: `.eval()` to use it.

    ModelFileError, a ValueError, naming the file, if it is damaged, has no architecture, needs a
    class that is not given, or holds parameters that do not fit its architecture. OSError if it
    cannot be read. A file from a stranger is safe to load, as long as `classes` are.
    """
    known = {cls.__name__: cls for cls in classes}
    header, state = _read(path)
    try:
        model = build(header["architecture"], _known() | known, _size(state))
        if "format" not in header:  # before there were buffers
            state = dict(model.named_buffers()) | state
        _fill(model, state)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(path, error) from error
    return model


def read_metadata(path: PathLike) -> dict[str, str]:
    """The `metadata` that the model at `path` was saved with. Raises as `load`."""
    metadata: dict[str, str] = _read(path)[0]["metadata"]
    return metadata


def _size(state: Mapping[str, Any]) -> int:
    return sum(1 + x.size for x in state.values())


def _fill(model: Module, state: Mapping[str, Any]) -> None:
    names = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    if len(state) > len(names):
        unknown = next(name for name in state if name not in names)
        raise ValueError(f"unexpected {unknown!r:.60}; {len(state):,} tensors for {len(names):,}")
    model.load_state_dict(state, assign=True)


def _known() -> dict[str, type[Module]]:
    """The Modules that tensorgrad.nn exports."""
    from tensorgrad import nn

    found = {name: x for name, x in vars(nn).items() if isinstance(x, type)}
    return {name: x for name, x in found.items() if issubclass(x, Module)}


def _read(path: PathLike) -> tuple[dict[str, Any], dict[str, Any]]:
    header, state = read_tensors(path, LONGEST_TEXT)
    if "checkpoint" in header:
        raise ModelFileError(
            path,
            "it is a checkpoint: build the model, and take its state from "
            'load_checkpoint(path)["model"]',
        )
    if not header.keys() >= {"architecture", "metadata"}:
        raise ModelFileError(path, f"its architecture is damaged: {header!s:.60}")
    metadata = header["metadata"]
    if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
        raise ModelFileError(path, f"its metadata is damaged: {metadata!r:.60}")
    return header, state

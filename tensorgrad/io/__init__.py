"""Models on disk: safetensors files that say how the model was built, and nothing that can run."""

from tensorgrad.files import check_writable, write
from tensorgrad.io.checkpoint import load_checkpoint, save_checkpoint
from tensorgrad.io.model import load, read_metadata, save
from tensorgrad.io.nielsen import load_json, save_json
from tensorgrad.io.tensors import ModelFileError

__all__ = [
    "ModelFileError",
    "check_writable",
    "load",
    "load_checkpoint",
    "load_json",
    "read_metadata",
    "save",
    "save_checkpoint",
    "save_json",
    "write",
]

"""Models on disk: safetensors files that say how the model was built, and nothing that can run."""

from tensorgrad.io.files import check_writable, write
from tensorgrad.io.model import ModelFileError, load, read_metadata, save

__all__ = ["ModelFileError", "check_writable", "load", "read_metadata", "save", "write"]

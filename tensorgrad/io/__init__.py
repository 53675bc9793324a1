"""Models on disk: safetensors files that say how the model was built, and nothing that can run."""

from tensorgrad.io.model import check_writable, load, read_metadata, save

__all__ = ["check_writable", "load", "read_metadata", "save"]

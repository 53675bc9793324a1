"""What the figures were measured on."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import tensorgrad

PEERS = ("torch", "autograd", "mygrad", "jax", "micrograd")


def describe() -> dict[str, Any]:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        **blas_in_use(),
        "tensorgrad": tensorgrad.__version__,
        "peers": {name: installed(name) for name in PEERS},
    }


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def blas_in_use() -> dict[str, Any]:
    """The kernel that BLAS chose for this processor, and its threads; nothing where threadpoolctl,
    which can tell, is not installed.
    """
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return {}
    found = next((p for p in threadpool_info() if p["user_api"] == "blas"), {})
    return {"kernel": found.get("architecture"), "blas_threads": found.get("num_threads")}


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

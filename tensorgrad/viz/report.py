"""A training run on one page of HTML: `report(history, model, ...)`.

The page is `report.html`, its looks `page.css`; the pictures come from `figures/`. It is one file that
asks the network for nothing and runs no script, and whatever the user named is escaped.
"""

from __future__ import annotations

import base64
import html
import io
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

import tensorgrad
from tensorgrad.nn.module import Module
from tensorgrad.train import Epoch, predict
from tensorgrad.value import Value


@dataclass(frozen=True)
class Report:
    """A page about a training run; notebooks show it."""

    html: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to `path`. OSError, before anything is written, if that cannot be."""
        from tensorgrad.io import check_writable

        # A path given on the command line may hold what is no text: such letters come out as �.
        check_writable(path).write_text(self.html, "utf-8", errors="xmlcharrefreplace")

    def _repr_html_(self) -> str:
        page = html.escape(self.html)
        return f'<iframe title="Report" srcdoc="{page}" width="100%" height="700"></iframe>'

    def __repr__(self) -> str:
        return f"<Report of {len(self.html):,} characters: .save('report.html')>"

"""A page of HTML in one file: notebooks show it, `save` writes it."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Page:
    """A page of HTML that asks the network for nothing."""

    html: str
    title: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to `path`. OSError, before anything is written, if that cannot be."""
        from tensorgrad.io import check_writable

        # A name may hold bytes that are no text: a browser shows them as �.
        check_writable(path).write_text(self.html, "utf-8", errors="xmlcharrefreplace")

    def _repr_html_(self) -> str:
        page, title = html.escape(self.html), html.escape(self.title)
        return f'<iframe title="{title}" srcdoc="{page}" width="100%" height="720"></iframe>'

    def __repr__(self) -> str:
        return f"<Page of {len(self.html):,} characters: write it with .save('page.html')>"


def asset(name: str) -> str:
    """The text of a file beside this one."""
    return files("tensorgrad.viz").joinpath(name).read_text("utf-8")

"""A page of HTML in one file: notebooks show it, `save` writes it."""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
from dataclasses import dataclass
from importlib.resources import files
from string import Template

from tensorgrad import __version__

NO_TEXT = "[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"


@dataclass(frozen=True)
class Page:
    """A page of HTML that asks the network for nothing."""

    html: str
    title: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to `path`. OSError, before anything is written, if that cannot be."""
        from tensorgrad.io import write

        write(path, self.html)

    def _repr_html_(self) -> str:
        page, title = html.escape(self.html), html.escape(self.title)
        frame = f'<iframe title="{title}" sandbox="allow-scripts" width="100%" height="720"'
        return f'{frame} srcdoc="{page}"></iframe>'

    def __repr__(self) -> str:
        return f"<Page of {len(self.html):,} characters: write it with .save('page.html')>"


def shell(title: str, style: str, body: str, policy: str = "") -> Page:
    """A page with the head and the looks that all have: `page.html` and `page.css`.

    `title`: any text. `style`: CSS of its own; `body`: its body element, in HTML; in both, whatever
    users have named is escaped. `policy`: what its Content-Security-Policy permits beyond styles.

    >>> shell("1 < 2", "", "<body>so it is</body>").html.splitlines()[-3:]
    ['</head>', '<body>so it is</body>', '</html>']
    """
    text = Template(asset("page.html")).substitute(
        title=html.escape(title),
        version=__version__,
        policy=policy,
        style=asset("page.css") + style,
        body=body,
    )
    # What users name may hold what is no text to a browser, or to a file: it is shown as �.
    return Page(re.sub(NO_TEXT, "\N{REPLACEMENT CHARACTER}", text), title)


def only(script: str) -> str:
    """The policy that lets this script run, and no other."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"script-src 'sha256-{base64.b64encode(digest).decode()}'"


def asset(name: str) -> str:
    """The text of a file beside this one."""
    return files("tensorgrad.viz").joinpath(name).read_text("utf-8")

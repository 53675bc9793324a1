"""Pictures that move: written as a GIF, or as one HTML page with buttons that asks no network."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.viz.page import Page, only, shell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MILLISECONDS, LAST = 80, 2500  # for each frame, and for the last one


class Animation:
    """So many frames, drawn when they are asked for. Notebooks show it with a button and a slider.

    >>> from tensorgrad.viz.figures.canvas import sheet
    >>> figure = sheet(1, 1)
    >>> Animation(lambda frame: figure, 3, "Nothing")
    Animation of 3 frames: .save("name.gif"), .save("name.html")
    """

    def __init__(self, draw: Callable[[int], Figure], frames: int, title: str) -> None:
        self._draw, self.frames, self.title = draw, frames, title

    def __repr__(self) -> str:
        return f'Animation of {self.frames} frames: .save("name.gif"), .save("name.html")'

    def figure(self, frame: int) -> Figure:
        """One frame, from 0, or from the end if negative; the next call draws over it."""
        if not -self.frames <= frame < self.frames:
            raise ValueError(f"frame {frame}: there are {self.frames}, from 0")
        return self._draw(frame % self.frames)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .gif or .html file. ValueError for another ending, OSError if it cannot be."""
        from tensorgrad.io import check_writable, write

        ending = Path(path).suffix.lower()
        if ending not in (".gif", ".html"):
            raise ValueError(f"cannot save {path}: the name must end in .gif or .html")
        check_writable(path)
        if ending == ".html":
            self._page().save(path)
            return
        first, *others = self._images()
        times = [MILLISECONDS] * len(others) + [LAST]
        packed = io.BytesIO()
        first.save(
            packed, format="GIF", save_all=True, append_images=others, duration=times, loop=0
        )
        write(path, packed.getvalue())

    def _repr_html_(self) -> str:
        return _PLAYER.format(last=self.frames - 1, script=self._script())

    def _page(self) -> Page:
        script = self._script()
        player = _PLAYER.format(last=self.frames - 1, script=script)
        body = f"<body><main><h1>{html.escape(self.title)}</h1>\n{player}</main></body>"
        return shell(self.title, _STYLE, body, f"img-src data:; {only(script)}")

    def _script(self) -> str:
        pictures = []
        for image in self._images():
            packed = io.BytesIO()
            image.save(packed, format="PNG", optimize=True)
            pictures.append(f"'{base64.b64encode(packed.getvalue()).decode()}'")
        return Template(_SCRIPT).substitute(
            pictures=",".join(pictures), last=self.frames - 1, pace=MILLISECONDS, rest=LAST
        )

    def _images(self) -> list[Any]:
        """The frames as Pillow's images in 128 colours, of which a picture like these has fewer."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image

        images = []
        for frame in range(self.frames):
            figure = self._draw(frame)
            canvas: Any = FigureCanvasAgg(figure)
            canvas.draw()
            image = Image.fromarray(np.asarray(canvas.buffer_rgba()))
            images.append(image.convert("RGB").quantize(128))
        return images


_STYLE = """
main { max-width: 42.5rem; margin: 0 auto; padding: 1.5rem 1.25rem; }
figure img { border: 1px solid var(--line); border-radius: .5rem; }
button, input { font: inherit; accent-color: var(--link); }
input:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
"""

_PLAYER = """<figure style="margin:0;font-size:16px;max-width:40rem">
<img alt="One frame of the animation" style="width:100%">
<div style="display:flex;gap:.5rem"><button type="button">Pause</button>
<input type="range" min="0" max="{last}" value="0" aria-label="Frame" style="flex:1"></div>
<script>{script}</script>
</figure>
"""

_SCRIPT = """
(figure => {
  const pictures = [$pictures];
  const [image, button, slider] = ["img", "button", "input"].map(x => figure.querySelector(x));
  let timer = null;
  const show = () => image.src = "data:image/png;base64," + pictures[slider.value];
  const play = on => {
    clearTimeout(timer);
    timer = on ? setTimeout(step, slider.value == $last ? $rest : $pace) : null;
    button.textContent = on ? "Pause" : "Play";
  };
  const step = () => {
    slider.value = (+slider.value + 1) % pictures.length;
    show();
    play(true);
  };
  button.onclick = () => play(timer === null);
  slider.oninput = () => { play(false); show(); };
  show();
  play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
})(document.currentScript.parentElement);
"""

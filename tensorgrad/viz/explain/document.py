"""A document of equations, to be written as text, Markdown, LaTeX or HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import NamedTuple

from tensorgrad.formula import latex
from tensorgrad.formula.writing import LATEX, TEXT, Writer
from tensorgrad.io import write
from tensorgrad.viz.page import Page, shell

Math = Callable[[Writer], str]


class Line(NamedTuple):
    """A line: words, an equation, words; `level` says how far it is indented."""

    math: Math | None = None
    before: str = ""
    after: str = ""
    level: int = 0


class Section(NamedTuple):
    title: str
    lines: list[Line]


class Document:
    """Sections of equations; `print` shows them, a notebook shows them set."""

    def __init__(self, title: str, sections: list[Section]) -> None:
        self.title, self.sections = title, [s for s in sections if s.lines]

    def __str__(self) -> str:
        parts = [self.title]
        for section in self.sections:
            parts += ["", section.title]
            parts += ["  " * (line.level + 1) + joined(line, TEXT, str) for line in section.lines]
        return "\n".join(parts)

    __repr__ = __str__

    def markdown(self) -> str:
        """Markdown, with LaTeX between dollars."""
        parts = [f"## {in_markdown(self.title)}"]
        for section in self.sections:
            parts += ["", f"### {in_markdown(section.title)}", ""]
            for line in section.lines:
                parts.append("  " * line.level + "- " + joined(line, LATEX, in_markdown, "$", "$"))
        return "\n".join(parts) + "\n"

    def latex(self) -> str:
        """LaTeX, for a document with amsmath."""
        parts = [rf"\subsection*{{{in_latex(self.title)}}}"]
        for section in self.sections:
            parts += [rf"\subsubsection*{{{in_latex(section.title)}}}", r"\begin{itemize}"]
            for line in section.lines:
                indent = rf"\hspace*{{{2 * line.level}em}}" if line.level else ""
                parts.append(rf"  \item {indent}" + joined(line, LATEX, in_latex, BEGIN, END))
            parts.append(r"\end{itemize}")
        return "\n".join(parts) + "\n"

    def html(self, level: int = 2) -> str:
        """HTML with MathML, which browsers set without any script. Needs latex2mathml.

        `level`: of the heading.
        """
        parts = [f"<article><h{level}>{escape(self.title)}</h{level}>"]
        for section in self.sections:
            parts.append(f"<section><h{level + 1}>{escape(section.title)}</h{level + 1}>")
            for line in section.lines:
                math = latex.to_mathml(line.math(LATEX)) if line.math else ""
                words = [escape(line.before), math, escape(line.after)]
                indent = f' style="margin-left: {1.5 * line.level}em"' if line.level else ""
                parts.append(f"<p{indent}>{' '.join(filter(None, words))}</p>")
            parts.append("</section>")
        return "\n".join([*parts, "</article>"]) + "\n"

    def _repr_html_(self) -> str:
        try:
            return self.html()
        except ImportError:
            return f"<pre>{escape(str(self))}</pre>"

    def save(self, path: str | Path) -> None:
        """Write it; the ending says how: .txt, .md, .tex, .html."""
        how = {".txt": self.__str__, ".md": self.markdown, ".tex": self.latex}
        suffix = Path(path).suffix
        if suffix == ".html":
            page([self], self.title).save(path)
        elif suffix in how:
            write(path, how[suffix]())
        else:
            raise ValueError(f"{path}: its ending says what to write: .html, {', '.join(how)}")


def page(documents: Iterable[Document], title: str) -> Page:
    """A page of HTML with these documents."""
    documents = list(documents)
    head, level = (f"<h1>{escape(title)}</h1>\n", 2) if len(documents) > 1 else ("", 1)
    body = "\n".join(document.html(level) for document in documents)
    return shell(title, STYLE, f"<body><main>{head}{body}</main></body>")


STYLE = """
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem; }
article + article { margin-top: 2.5rem; }
article p { max-width: none; margin: .35rem 0; }
math { font-size: 1.15em; math-style: normal; }
"""


def joined(
    line: Line, write: Writer, words: Callable[[str], str], begin: str = "", end: str = ""
) -> str:
    math = begin + line.math(write) + end if line.math else ""
    return " ".join(filter(None, (words(line.before), math, words(line.after))))


BEGIN, END = r"\(", r"\)"


def in_latex(text: str) -> str:
    """Any text, none of it LaTeX."""
    return latex.words(text).replace("∂", r"$\partial$").replace("→", r"$\to$")


def in_markdown(text: str) -> str:
    """Any text, none of it Markdown or HTML."""
    return "".join("\\" + c if c in "\\`*_{}[]()#+-.!|$~" else escape(c) for c in text)

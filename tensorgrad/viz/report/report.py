"""A training run on one page of HTML: `report(history, model, ...)`.

The page is `report.html`, its looks are `report.css`, its pictures come from `figures/`. It is one
file that asks the network for nothing and runs no script; whatever users have named is escaped.
"""

from __future__ import annotations

import base64
import html
import io
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from string import Template
from typing import Any

import numpy as np

from tensorgrad import __version__
from tensorgrad.graph.replay import leaves_first
from tensorgrad.nn.module import Module
from tensorgrad.train import Epoch
from tensorgrad.value import Value
from tensorgrad.viz import figures
from tensorgrad.viz.figures.layers import answers_of, by_class, evaluating, layers_of
from tensorgrad.viz.graph.graph import graph as draw
from tensorgrad.viz.page import Page, asset, shell

ROWS = 100  # of a table, at most: a network of scalar neurons has a parameter for each weight
STEPS = 20  # of a graph that are read out


def report(
    history: Sequence[Epoch],
    model: Module,
    *,
    validation: tuple[Any, Any] | None = None,
    training: Sequence[Epoch] | None = None,
    gradients: figures.GradientNorms | None = None,
    graph: Value | None = None,
    settings: Mapping[str, Any] | None = None,
    shape: tuple[int, int] | None = None,
    metric: str = "accuracy",
    title: str = "Training run",
) -> Page:
    """One page about a run: curves, gradients, weights, confusions, mistakes, graph, environment.

    `history`: what `fit` returned. `model`: what it trained.
    `validation`: the (x, y) that `fit` measured, if the model is a classifier: x (n, inputs), y the
    classes (n,) or rows of 0 and 1. Without it there are neither confusions nor mistakes. One
    output tells the classes 0 and 1 apart: by 0.5 if the model ends in an nn.Sigmoid, else by 0.
    `training`: the history of a `figures.Monitor` on the training data.
    `gradients`: a `figures.GradientNorms` that watched the training.
    `graph`: the Value to draw with its gradient, such as the loss of one example; else the model's
    answer to the first row of x is drawn.
    `settings`: what else to tell about the run, by name.
    `shape`: height and width of the pictures that the inputs are; else square, from 4 x 4 on.
    `metric`: what `accuracy` in the history is, if `fit` was given another one.

    A part that nothing is known about is left out. TypeError and ValueError for what does not fit.

    >>> from tensorgrad import nn
    >>> page = report([Epoch(1, 0.9, 1.0, 0.7, 0.1)], nn.Linear(3, 2))
    >>> "<h2>Learning curves</h2>" in page.html, "<h2>Mistakes</h2>" in page.html
    (True, False)
    """
    if not isinstance(model, Module):
        raise TypeError(f"report: model is the nn.Module that was trained, not {model!r:.60}")
    for line in history:
        if not isinstance(line, Epoch):
            raise TypeError(f"report: history is what fit returned, Epochs; not {line!r:.60}")
    x = y = answers = None
    if validation is not None:
        x, y = map(np.asarray, validation)
        answers = by_class(answers_of(model, x, "report"), model)
    sections = {
        "Learning curves": _curves(history, training, metric),
        "Confusion matrix": _confusion(answers, y),
        "Mistakes": _mistakes(x, answers, y, shape),
        "Gradients": _gradients(gradients),
        "Weights": _weights(model, shape),
        "Parameters": _parameters(model),
        "Graph": _graph(model, x, graph),
        "Settings": _pairs("What the run was given", ("Setting", "Value"), settings or {}),
        "Environment": _pairs("What made this page", ("Part", "Version"), _environment()),
    }
    sections = {name: body for name, body in sections.items() if body}
    ids = {name: name.lower().replace(" ", "-") for name in sections}
    body = Template(asset("report/report.html")).substitute(
        title=html.escape(title),
        version=__version__,
        summary=_summary(history, model, metric),
        contents="\n".join(f'<li><a href="#{i}">{name}</a></li>' for name, i in ids.items()),
        sections="\n".join(
            f'<section id="{ids[name]}">\n<h2>{name}</h2>\n{body}\n</section>'
            for name, body in sections.items()
        ),
    )
    return shell(title, asset("report/report.css"), body, "img-src data:")


def _summary(history: Sequence[Epoch], model: Module, metric: str) -> str:
    """The numbers that one asks for first."""
    tiles = {}
    scores = [(line.accuracy, line.epoch) for line in history if line.accuracy is not None]
    if scores and all(0 <= score <= 1 for score, _ in scores):  # a share: more is better
        best, epoch = max(scores, key=lambda score: score[0])
        tiles[f"Best {metric}, epoch {epoch}"] = f"{best:.2%}"
        tiles[f"Final {metric}"] = f"{scores[-1][0]:.2%}"
    elif scores:
        tiles[f"Final {metric}"] = _number(scores[-1][0])
    if history:
        tiles["Final training cost"] = _number(history[-1].loss)
        tiles["Epochs"] = _number(len(history))
        tiles["Seconds"] = f"{history[-1].seconds:.1f}"
    tiles["Parameters"] = _number(sum(p.data.size for p in model.parameters()))
    items = "\n".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{value}</dd></div>" for name, value in tiles.items()
    )
    return f'<dl class="tiles">\n{items}\n</dl>'


def _curves(history: Sequence[Epoch], training: Sequence[Epoch] | None, metric: str) -> str:
    if not history:
        return ""
    picture = _picture(
        figures.learning_curves(history, training, metric),
        f"Cost and, if it was measured, {metric} over {len(history)} epochs; the table below has "
        "the numbers.",
    )
    every = math.ceil(len(history) / ROWS)
    more = [name for name, x in history[-1].measures.items() if isinstance(x, (int, float))]
    rows = [(*line[:5], *(line.measures.get(name) for name in more)) for line in history]
    table = _table(
        "Training cost: the mean over the batches; the others: on the evaluation data"
        + (f"; every {every} epochs" if every > 1 else ""),
        ("Epoch", "Training cost", "Evaluation cost", metric.capitalize(), "Seconds", *more),
        rows[::-1][::every][::-1],  # the last one in any case
    )
    return f"{picture}\n<details><summary>The numbers</summary>\n{table}\n</details>"


def _confusion(answers: Any, y: Any) -> str:
    if answers is None:
        return ""
    counts = figures.confusion(answers, y)
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    often = np.argsort(-wrong, axis=None, kind="stable")[:3]
    pairs = [(*np.unravel_index(i, wrong.shape), wrong.flat[i]) for i in often if wrong.flat[i]]
    said = ", ".join(f"{right} as {read} ({n})" for right, read, n in pairs)
    return _picture(
        figures.confusion_matrix(answers, y),
        f"How many examples of each class (rows) were read as each class (columns): "
        f"{np.trace(counts):,} of {counts.sum():,} rightly.",
        f"Most often: {said}." if said else "Nothing was mixed up.",
    )


def _mistakes(x: Any, answers: Any, y: Any, shape: tuple[int, int] | None) -> str:
    if answers is None or x.ndim != 2 or not _pictures(x.shape[1], shape):
        return ""
    counts = figures.confusion(answers, y)
    if np.trace(counts) == counts.sum():
        return "<p>There are none: every example was read rightly.</p>"
    return _picture(
        figures.mistakes(x, answers, y, shape),
        "Examples that the model read wrong.",
        'Those it was surest of; "4 as 9" is a 4 that was read as a 9.',
    )


def _gradients(gradients: figures.GradientNorms | None) -> str:
    if gradients is None:
        return ""
    last = [norms[-1] for norms in gradients.by_layer("all").values()]
    said = ", ".join(f"layer {i}: {_number(norm)}" for i, norm in enumerate(last, start=1))
    return _picture(
        figures.gradient_norms(gradients, "all"),
        f"The length of the gradient by all parameters of each layer, over training. Last {said}.",
        "How fast each layer learns. Where the first layers lie far below the last, the gradient "
        "vanishes on its way back (Nielsen, chapter 5).",
    )


def _weights(model: Module, shape: tuple[int, int] | None) -> str:
    try:
        weight = layers_of(model, "report")[0].weight
    except (TypeError, ValueError):  # a model of another form
        return ""
    if weight is None or not _pictures(weight.shape[1], shape):
        return ""
    return _picture(
        figures.first_layer(model, shape),
        f"The weights into the {len(weight)} neurons of the first layer, as pictures.",
        "What each neuron looks for: ink on blue excites it, ink on red calms it.",
    )


def _pictures(inputs: int, shape: tuple[int, int] | None) -> bool:
    """Whether this many inputs are to be drawn as a picture."""
    return shape is not None or (inputs >= 16 and math.isqrt(inputs) ** 2 == inputs)


def _parameters(model: Module) -> str:
    rows: list[tuple[Any, ...]] = []
    named = list(model.named_parameters())
    for name, p in named[:ROWS]:
        a = np.asarray(p.data)
        size = "\u00a0×\u00a0".join(map(str, a.shape)) or "one number"
        rows.append((name, size, a.size, a.mean(), a.std(), abs(a).max()))
    table = _table(
        "As the model holds them now"
        + (f": the first {ROWS} of {len(named):,}" if len(named) > ROWS else ""),
        ("Name", "Shape", "Numbers", "Mean", "Deviation", "Largest magnitude"),
        rows,
    )
    return f"<p><code>{html.escape(repr(model))}</code></p>\n{table}"


def _graph(model: Module, x: Any, graph: Value | None) -> str:
    with_gradient = graph is not None
    if graph is None:
        if x is None:
            return ""
        with evaluating(model):  # in parameters that know nothing of another value's gradient
            model = model.with_parameters([Value(p.data) for p in model.parameters()])
            graph = model(x[:1])
        if not isinstance(graph, Value) or not graph.requires_grad:
            return ""
    try:
        svg = draw(graph, model, gradients=with_gradient, rankdir="TB").svg()
    except RuntimeError as error:  # too large: the rest of the page tells as much
        return f"<p>Not drawn: {html.escape(str(error))}.</p>"
    steps = [node.op.name for node in leaves_first(graph.node) if node.op is not None]
    said = ", ".join(steps[:STEPS]) + (f" and {len(steps) - STEPS} more" * (len(steps) > STEPS))
    caption = "What is computed from one example"
    if with_gradient:
        caption = "What is computed, and below each node the derivative of the last one by it"
    width = float(svg.partition('width="')[2].partition("pt")[0])
    return _image(svg.encode(), f"A graph of operations: {said}.", f"{caption}.", 0.75 * width)


def _environment() -> dict[str, str]:
    return {
        "tensorgrad": __version__,
        "NumPy": np.__version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "System": platform.platform(),
        "Processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "Written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _pairs(caption: str, head: Sequence[str], pairs: Mapping[str, Any]) -> str:
    return _table(caption, head, ((name, str(x)) for name, x in pairs.items()))


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table whose rows begin with what they are about, numbers to the right; "" without rows.

    The caption is ours; names and cells may be anybody's.
    """
    rows = list(rows)
    if not rows:
        return ""
    kinds = ["number" if all(map(_is_number, column)) else "text" for column in zip(*rows)]
    kinds[0] = "text"
    heads = (
        f'<th scope="col" class="{k}">{html.escape(name)}</th>' for k, name in zip(kinds, head)
    )
    lines = [f"<thead><tr>{''.join(heads)}</tr></thead>", "<tbody>"]
    for name, *cells in rows:
        row = (f'<td class="{k}">{html.escape(_text(x))}</td>' for k, x in zip(kinds[1:], cells))
        lines.append(f'<tr><th scope="row">{html.escape(str(name))}</th>{"".join(row)}</tr>')
    return "\n".join(
        (
            f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table>',
            f"<caption>{caption}</caption>",
            *lines,
            "</tbody></table></div>",
        )
    )


def _is_number(x: Any) -> bool:
    return x is None or isinstance(x, (int, float, np.number))


def _text(x: Any) -> str:
    if x is None:
        return "not measured"
    return _number(x) if _is_number(x) else str(x)


def _number(x: Any) -> str:
    return f"{x:,}" if isinstance(x, (int, np.integer)) else f"{x:#.4g}"


def _picture(figure: Any, alt: str, caption: str = "") -> str:
    """A matplotlib figure, drawn into the page."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return _image(content.getvalue(), alt, caption, 530 if figure.get_figwidth() > 7 else 0)


def _image(svg: bytes, alt: str, caption: str, least: float) -> str:
    """As an image, not as elements of the page: nothing in it can act, or meet another's ids.

    `least`: the width in points below which it is not shrunk, but scrolls, by finger or keyboard.
    """
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    scrolls = ' role="group" aria-label="Wide picture" tabindex="0"' if least else ""
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><div class="paper scroll"{scrolls}><img alt="{html.escape(alt)}" '
        f'style="min-width: {least:.0f}pt" src="{source}"></div>{below}</figure>'
    )

"""`explain`: a derivative as a person derives it on paper, with every number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from tensorgrad.engine.node import Array, Node
from tensorgrad.formula.writing import TEXT, Writer
from tensorgrad.graph.names import Names
from tensorgrad.graph.paths import Paths, PathTerm, paths
from tensorgrad.graph.replay import Event, Replay, replayable
from tensorgrad.value import Value
from tensorgrad.viz.explain.document import Document, Line, Section
from tensorgrad.viz.explain.zoom import same_gradient, taken_apart

WAY = 12  # nodes of a path that are named
STEPS = 100  # lines of a section; of more, the first and the last half


def explain(
    value: Value,
    wrt: Value,
    names: Names = None,
    *,
    entry: Any = None,
    top: int = 5,
    max_steps: int = STEPS,
) -> Document:
    """How the derivative of `value` by `wrt` comes about, as a person writes it.

    First the values. Then each derivative on the way from `value` back to `wrt`: the rule as a
    formula, with the numbers in, and the sum over all uses. Then the same as a sum over paths, the
    `top` largest with their shares. Arrays have their matrix formulas and shapes; with `entry`, an
    index of `wrt`, everything is taken apart into numbers and explained for that one entry.

    `names`: what to call Values, a mapping such as `locals()`, or a Module. Of a section of more
    than `max_steps` lines the middle is left out. The result prints as text, and has `.markdown()`,
    `.latex()`, `.html()` and `.save(path)`.

    >>> a, b = Value(2.0, name="a"), Value(1.0, name="b")
    >>> c, d = a + b, b + 1
    >>> e = c * d
    >>> print(explain(e, b, dict(c=c, d=d, e=e)))
    ∂e/∂b = 5
    <BLANKLINE>
    Values
      a = 2
      b = 1
      c = a + b = 2 + 1 = 3
      d = b + 1 = 1 + 1 = 2
      e = c * d = 3 * 2 = 6
    <BLANKLINE>
    Derivatives, from e back to b
      ∂e/∂c = ∂e/∂e * d = 1 * 2 = 2
      ∂e/∂d = ∂e/∂e * c = 1 * 3 = 3
      ∂e/∂b is a sum over its 2 uses:
        in d: ∂e/∂d * ∂d/∂b = ∂e/∂d = 3
        in c: ∂e/∂c * ∂c/∂b = ∂e/∂c = 2
        ∂e/∂b = 3 + 2 = 5
    <BLANKLINE>
    Paths from b to e: 2
      b → d → e: 1 * 3 = 3 (60 %)
      b → c → e: 1 * 2 = 2 (40 %)
      1 * 3 + 1 * 2 = 5
    """
    if not isinstance(wrt, Value):
        raise TypeError(f"wrt= takes one Value here, not {type(wrt).__name__}")
    if top < 1 or max_steps < 1:
        raise ValueError(f"top={top}, max_steps={max_steps}: both must be at least 1")
    if entry is not None:
        value, wrt, names = apart(replayable(value), wrt, entry, names)
    replay = Replay(replayable(value), wrt, names)
    seed, *edges = replay.backward()
    output, target = replay.output, wrt.node
    total = edges[-1].total if edges else np.ones_like(output.data)[()]
    used = needed(replay)
    values = [event for event in replay.values(seed) if event.node in used]
    lines = [Line(partial(equation, event)) for event in values]
    found = paths(edges, target, output, total, top)
    return Document(
        title(replay, target, total),
        [
            Section("Values", cut([*constant_lines(replay, used), *lines], max_steps)),
            Section(
                f"Derivatives, from {replay.names[output]} back to {replay.names[target]}",
                cut(list(derivative_lines(edges)), max_steps),
            ),
            path_section(found, replay, target),
        ],
    )


def apart(value: Value, wrt: Value, entry: Any, names: Names) -> tuple[Value, Value, None]:
    """The whole derivation in scalars, and the one of them that is `entry` of `wrt`."""
    if value.size != 1:
        raise ValueError(
            f"an entry is worked out for one number, not for shape {value.shape}: explain an entry "
            "of the result, value[i]"
        )
    parts, ends = taken_apart(value, wrt, names)
    result = parts[value.node].item()
    if not isinstance(result, Value):
        raise TypeError("this cannot be taken apart into scalars: an operation loses its gradient")
    g = np.ones_like(value.data)[()]
    same_gradient(result, value.node, g, {x: parts[x] for x in ends})
    chosen = parts[wrt.node][entry]
    if not isinstance(chosen, Value):
        raise IndexError(f"entry={entry!r} of a Value of shape {wrt.shape} is not one entry")
    return result, chosen, None


def needed(replay: Replay) -> set[Node]:
    """The nodes on the way, and those that the formulas there name."""
    found = set(replay.wanted)
    for node in replay.wanted:
        found.update(x for x in node.operands if x is not None)
    return found


def constant_lines(replay: Replay, used: set[Node]) -> list[Line]:
    """What the formulas of `used` nodes name and no operation made: data."""
    inputs = [x for node in replay.order if node in used for x in node.inputs]
    named = {id(x): x for x in inputs if id(x) in replay.names}
    return [Line(partial(constant, replay.names[i], x)) for i, x in named.items()]


def constant(name: str, x: Array, write: Writer) -> str:
    return write.equal([write.name(name), write.number(x)])


def title(replay: Replay, target: Node, total: Array) -> str:
    seed = next(replay.backward())
    of_sum = ", of the sum of its entries" if np.ndim(replay.output.data) else ""
    return TEXT.equal([seed.moving(target), TEXT.number(total)]) + of_sum


def derivative_lines(edges: Sequence[Event]) -> Iterator[Line]:
    """For each node that is reached, from the output back: its derivative, use by use."""
    uses: defaultdict[Node, list[Event]] = defaultdict(list)
    last: dict[Node, int] = {}
    for i, edge in enumerate(edges):
        if edge.source is not None:
            uses[edge.source].append(edge)
            last[edge.source] = i
    for node in sorted(uses, key=last.__getitem__):  # as they are complete
        found = uses[node]
        if len(found) == 1:
            yield Line(partial(equation, found[0]), after=chosen(found[0]))
            continue
        moving = partial(found[0].moving, node)
        yield Line(moving, after=f"is a sum over its {len(found)} uses:")
        for edge in found:
            yield Line(partial(part, edge), f"in {edge.name}:", after=chosen(edge), level=1)
        yield Line(partial(summed, node, found), level=1)


def equation(event: Event, write: Writer) -> str:
    return write.equal(event.sides(write))


def part(edge: Event, write: Writer) -> str:
    return write.equal(edge.sides(write)[1:])


def chosen(edge: Event) -> str:
    return f"(a choice: {edge.choice})" if edge.choice else ""


def summed(node: Node, uses: Sequence[Event], write: Writer) -> str:
    """The sum over all uses, in numbers where they are."""
    sides = [uses[0].moving(node, write)]
    if not np.ndim(node.data):
        sides.append(write.sum([write.number(use.contribution) for use in uses]))
    return write.equal([*sides, write.number(uses[-1].total)])


def path_section(found: Paths, replay: Replay, target: Node) -> Section:
    """How many paths there are, the largest, what is left."""
    names, terms = replay.names, found.terms
    lines = []
    for term in terms:
        way = " → ".join(shortened([names[node] for node in term.nodes]))
        share = "" if np.isnan(term.share) else f"({100 * term.share:.3g} %)"
        lines.append(Line(partial(product, term), f"{way}:", share))
    if 0 < len(terms) < found.number:
        more, rest = found.number - len(terms), 1 - sum(term.share for term in terms)
        share = "" if np.isnan(rest) else f": {100 * rest:.3g} %"
        lines.append(Line(before=f"{count(more)} more path{'s' * (more > 1)}{share}"))
    elif len(terms) > 1 and all(term.locals for term in terms):
        lines.append(Line(partial(all_paths, terms)))
    if not terms:
        lines.append(Line(before="too many to be followed one by one: that is what a sweep is for"))
    title = f"Paths from {names[target]} to {names[replay.output]}: {count(found.number)}"
    return Section(title, lines)


def count(n: int) -> str:
    """A number of paths; of a very large one the power of ten."""
    return f"{n:,}" if n < 10**9 else f"about 10^{round((n.bit_length() - 1) * np.log10(2))}"


def shortened(nodes: list[str]) -> list[str]:
    """The nodes of a path, without the middle of a long one."""
    return nodes if len(nodes) <= WAY else [*nodes[: WAY // 2], "…", *nodes[-WAY // 2 :]]


def product(term: PathTerm, write: Writer) -> str:
    """The derivatives along a path, and their product."""
    sides = [factors(term, write), write.number(term.product)]
    return write.equal([side for i, side in enumerate(sides) if side and side not in sides[:i]])


def factors(term: PathTerm, write: Writer) -> str:
    return write.product(shortened([write.number(x) for x in term.locals]))


def all_paths(terms: Sequence[PathTerm], write: Writer) -> str:
    total = sum(term.product for term in terms)
    return write.equal([write.sum([factors(term, write) for term in terms]), write.number(total)])


def cut(lines: list[Line], most: int) -> list[Line]:
    """The first and the last half of many lines."""
    if len(lines) <= most:
        return lines
    half = most // 2
    between = Line(before=f"... {len(lines) - 2 * half:,} more ...")
    return [*lines[:half], between, *lines[len(lines) - half :]]

"""What Graphviz draws, bare: shapes with ids, to be written into and coloured by a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import NamedTuple

Point = tuple[float, float]
ROUND = 9


class Outline(NamedTuple):
    """`svg`: boxes, and arrows with a head at both ends, in groups with the ids that dot was given.

    `places`: the middle of each box, and of each arrow's label.
    """

    svg: str
    places: dict[str, Point]


def outline(svg: str) -> Outline:
    """The boxes and arrows of a drawing by dot, where each edge has `dir=both` and a label."""
    root = ElementTree.fromstring(svg)
    frame = root.find("{*}g")
    assert frame is not None
    moved = re.search(r"translate\((.*?)\)", frame.attrib["transform"])
    assert moved is not None
    (left, top), (_, _, width, height) = numbers(moved[1]), numbers(root.attrib["viewBox"])
    groups: list[str] = []
    places: dict[str, Point] = {}
    for group in frame.iterfind("{*}g"):
        name = group.attrib["id"]
        shapes = [
            pairs(shape.get("d") or shape.attrib["points"])
            for shape in group.iter()
            if shape.tag.endswith(("}path", "}polygon"))
        ]
        if group.attrib["class"] == "node":
            drawn = "".join(map(box, shapes))
            places[name] = middle(shapes[0])
        else:
            drawn = arrow(*shapes)
            texts = [text.attrib for text in group.iter() if text.tag.endswith("}text")]
            places[name] = middle([(float(t["x"]), float(t["y"])) for t in texts])
        groups.append(f'<g id="{name}">{drawn}</g>')
    view = f"{-left:g} {-top:g} {width:g} {height:g}"
    return Outline(f'<svg viewBox="{view}">{"".join(groups)}</svg>', places)


def box(corners: Sequence[Point]) -> str:
    (x, y), (right, bottom) = low(corners), high(corners)
    rounded = f' rx="{ROUND}"' if len(corners) > 5 else ""  # dot rounds corners with curves
    size = f'width="{right - x:.0f}" height="{bottom - y:.0f}"'
    return f'<rect x="{x:.0f}" y="{y:.0f}" {size}{rounded}/>'


def arrow(line: Sequence[Point], tail: Sequence[Point], head: Sequence[Point]) -> str:
    """The curve, up to the tips of both heads, so that either can be hidden; then the heads."""
    ends, inner = (tail[1], head[1]), path("c", line).partition("c")[2]
    start, end = path("l", (ends[0], line[0])), path("l", (line[-1], ends[1])).partition("l")[2]
    heads = "".join(f'<path d="{path("l", corners[:3])}z"/>' for corners in (tail, head))
    return f'<path d="{start}c{inner}l{end}"/>{heads}'


def path(curve: str, points: Sequence[Point]) -> str:
    """A path through points: in whole numbers, each from where its piece began; it is short."""
    (x, y), *rest = [(round(x), round(y)) for x, y in points]
    found, piece = f"M{x} {y}{curve}", 3 if curve == "c" else 1
    for start in range(0, len(rest), piece):
        part = rest[start : start + piece]
        found += "".join(f"{u - x:+d}{v - y:+d}" for u, v in part)
        x, y = part[-1]
    return found


def numbers(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?[\d.]+(?:e-?\d+)?", text)]


def pairs(text: str) -> list[Point]:
    found = numbers(text)
    return list(zip(found[::2], found[1::2]))


def low(points: Sequence[Point]) -> Point:
    return min(x for x, _ in points), min(y for _, y in points)


def high(points: Sequence[Point]) -> Point:
    return max(x for x, _ in points), max(y for _, y in points)


def middle(points: Sequence[Point]) -> Point:
    (x, y), (right, bottom) = low(points), high(points)
    return round((x + right) / 2), round((y + bottom) / 2)

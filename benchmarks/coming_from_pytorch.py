"""docs/coming-from-pytorch.md: every public name of PyTorch's, and where it is here.

    python benchmarks/coming_from_pytorch.py docs/coming-from-pytorch.md

`pytorch.json` has PyTorch's names and signatures; `--torch` reads them anew where it is installed.
A name that is the same here has the same settings, in the same order, with the same defaults; what
differs is listed, by name and with the reason.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

NAMES = Path(__file__).with_name("pytorch.json")

Signature = list[list[str]] | None
"""Name, default (as written) and kind of each argument; None where PyTorch does not tell."""

ROOMS = {
    "torch.nn": "tensorgrad.nn",
    "torch.nn.functional": "tensorgrad.nn.functional",
    "torch.nn.init": "tensorgrad.nn.init",
    "torch.nn.utils": "tensorgrad.nn.utils",
    "torch.nn.utils.rnn": "tensorgrad.nn.utils.rnn",
    "torch.nn.utils.parametrizations": "tensorgrad.nn.utils.parametrizations",
    "torch.nn.utils.parametrize": "tensorgrad.nn.utils.parametrize",
    "torch.optim": "tensorgrad.optim",
    "torch.optim.lr_scheduler": "tensorgrad.optim.lr_scheduler",
    "torch.optim.swa_utils": "tensorgrad.optim.swa_utils",
    "torch.utils.data": "tensorgrad.data",
}
"""Where PyTorch's modules are here."""

PRIVATE = re.compile("has_torch|handle_torch|boolean_dispatch|assert_|.*_with_indices")
OTHERS = ("typing", "importlib", "torch._jit_internal", "torch.overrides", "math")
"""What `torch.nn.functional` imports, and what its own functions call."""


# Reading PyTorch.


def signatures() -> dict[str, dict[str, Signature]]:
    """The public names of the modules above, with their signatures."""
    return {room: dict(sorted(public(import_module(room)))) for room in ROOMS}


def public(module: ModuleType) -> Iterator[tuple[str, Signature]]:
    listed = getattr(module, "__all__", None)
    for name in listed or dir(module):
        x = getattr(module, name)
        if name[0] == "_" or inspect.ismodule(x) or not callable(x) or not hasattr(x, "__name__"):
            continue
        if listed or belongs(name, x, module.__name__):
            yield name, signature_of(x)


def belongs(name: str, x: Any, module: str) -> bool:
    """Whether a module without `__all__` means `x` to be its own."""
    if module.endswith("functional"):
        home = getattr(x, "__module__", None) or ""
        return not isinstance(x, type) and not PRIVATE.match(name) and home not in OTHERS
    return isinstance(x, type)


def signature_of(x: Any) -> Signature:
    """From the code, or from the first line of the documentation of what is not in Python."""
    try:
        parameters = inspect.signature(x.__init__ if isinstance(x, type) else x).parameters
    except (ValueError, TypeError):
        found = re.search(rf"\b{x.__name__}\((.*?)\)\s*->", x.__doc__ or "", re.DOTALL)
        if not found:
            return None
        try:
            made: dict[str, Any] = {}
            exec(f"def f({found[1]}): pass".replace("*, out=None", "out=None"), made)
        except SyntaxError:
            return None
        parameters = inspect.signature(made["f"]).parameters
    return [
        [p.name, written(p.default), p.kind.name] for p in parameters.values() if p.name != "self"
    ]


def written(default: Any) -> str:
    if default is inspect.Parameter.empty:
        return ""
    return getattr(default, "__name__", None) or repr(default)


# Comparing with what is here.

WITHOUT = {
    **dict.fromkeys(["size_average", "reduce"], "deprecated: `reduction=`"),
    **dict.fromkeys(["device", "out"], "there are no devices, and results are new arrays"),
    **dict.fromkeys(
        ["foreach", "fused", "capturable", "differentiable"], "how PyTorch runs it, not what it is"
    ),
    "generator": "`rng=`, a NumPy generator or a seed",
}
"""Arguments of PyTorch's that are not here, and why."""

DIFFERENT: dict[str, str] = {}
"""Names that are here, with other arguments, and why."""

ELSEWHERE: dict[str, str] = {}
"""Names that are here under another name."""

MISSING: dict[str, str] = {}
"""Names that are not here, and why."""

DEFAULTS = {"dtype": ("None", "float32")}
"""Parameters are float32 where nothing is said, as in PyTorch."""


class Row(NamedTuple):
    """What became of one name: "same", "different", "elsewhere", "missing", or "" for no answer."""

    room: str
    name: str
    what: str
    why: str = ""


def here(path: str) -> Any:
    """What is at a dotted path of the package, None where nothing is."""
    room, _, name = path.rpartition(".")
    try:
        return getattr(import_module(room), name, None)
    except ImportError:
        return None


def rows(names: dict[str, dict[str, Signature]]) -> Iterator[Row]:
    """What became of every name."""
    for room, listed in names.items():
        for name, theirs in listed.items():
            path = f"{room}.{name}"
            ours = here(f"{ROOMS[room]}.{name}")
            if ours is None and path in ELSEWHERE:
                yield Row(room, name, "elsewhere", ELSEWHERE[path])
            elif ours is None:
                yield Row(room, name, "missing" if path in MISSING else "", MISSING.get(path, ""))
            elif path in DIFFERENT:
                yield Row(room, name, "different", DIFFERENT[path])
            else:
                found = differences(theirs, ours) if theirs else []
                yield Row(room, name, "" if found else "same", "; ".join(found))


def differences(theirs: list[list[str]], ours: Any) -> list[str]:
    """Where arguments of `ours` differ from theirs: in name, order or default.

    Operands, which have no default, may have names of their own in a function.
    """
    if any(kind.startswith("VAR") for _, _, kind in theirs):
        return []
    mine = {p.name: p for p in inspect.signature(ours).parameters.values()}
    wanted = [a for a in theirs if a[0] not in WITHOUT and a[0][0] != "_"]
    by_position = [a for a in wanted if a[2] != "KEYWORD_ONLY"]
    found = []
    for i, (name, default, kind) in enumerate(wanted):
        parameter = mine.get(name)
        if parameter is None and not default and not isinstance(ours, type) and i < len(mine):
            parameter = list(mine.values())[i]
        if parameter is None:
            found.append(f"no {name}")
            continue
        got = written(parameter.default)
        if not alike(got, default) and (default, got) != DEFAULTS.get(name):
            found.append(f"{name}={got}, not {default or 'required'}")
        if kind != "KEYWORD_ONLY" and parameter.kind is not parameter.KEYWORD_ONLY:
            place, right = (
                list(mine).index(parameter.name),
                by_position.index([name, default, kind]),
            )
            if place != right:
                found.append(f"{name} is number {place}, not {right}")
        elif kind != "KEYWORD_ONLY" and name != "dtype":
            found.append(f"{name} by name only")
    return found


def alike(ours: str, theirs: str) -> bool:
    """Whether two defaults are the same: `0` and `0.0` are."""
    try:
        return bool(ast.literal_eval(ours) == ast.literal_eval(theirs))
    except (ValueError, SyntaxError):
        return ours == theirs


def page(names: dict[str, dict[str, Signature]]) -> str:
    """The page, as Markdown."""
    found = list(rows(names))
    parts = [HEAD]
    for room in names:
        mine = [row for row in found if row.room == room]
        same = [row.name for row in mine if row.what == "same"]
        parts.append(f"## `{room}` is `{ROOMS[room].replace('tensorgrad', 'tg')}`\n")
        parts.append(f"The same, {len(same)} of {len(mine)}: {', '.join(same)}.\n")
        others = [row for row in mine if row.what != "same"]
        if others:
            parts.append("| PyTorch | here |\n|---|---|")
            parts += [f"| `{row.name}` | {row.why} |" for row in others]
            parts.append("")
    return "\n".join(parts)


HEAD = """# Coming from PyTorch
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, nargs="?", help="where to write it; else what is open")
    parser.add_argument("--torch", action="store_true", help="read PyTorch's names anew")
    given = parser.parse_args()
    if given.torch:
        rooms = [
            f'"{room}": {{\n'
            + ",\n".join(f'"{name}": {json.dumps(x)}' for name, x in listed.items())
            + "\n}"
            for room, listed in signatures().items()
        ]
        NAMES.write_text("{" + ",\n".join(rooms) + "}\n")
    names = json.loads(NAMES.read_text())
    if given.page:
        given.page.write_text(page(names))
    else:
        for row in rows(names):
            if not row.what:
                print(f"{row.room}.{row.name}: {row.why or 'missing'}")


if __name__ == "__main__":
    main()

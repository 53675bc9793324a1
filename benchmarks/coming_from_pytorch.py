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

import numpy as np

from tensorgrad.engine.primitive import Primitive

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


# What is said of tensors, here.

SPELLINGS = [
    ("torch.tensor([1.0, 2.0], requires_grad=True)", "tg.Value([1.0, 2.0])"),
    ("x.detach()", "x.detach()"),
    ("x.clone()", "x.copy()"),
    ("x.detach().numpy()", "x.data"),
    ("x.sum().item()", "x.sum().item()"),
    ("x.numel()", "x.size"),
    ("x.dim()", "x.ndim"),
    ("x.view(3, 2)", "x.reshape(3, 2)"),
    ("x.view(x.size(0), -1)", "x.reshape(x.shape[0], -1)"),
    ("x.flatten(0)", "x.flatten(0)"),
    ("x.t() @ y", "x.T @ y"),
    ("x.permute(1, 0)", "x.transpose(1, 0)"),
    ("x.transpose(0, 1)", "x.swapaxes(0, 1)"),
    ("x.unsqueeze(1)", "x[:, None]"),
    ("x.unsqueeze(1).squeeze(1)", "x[:, None].squeeze(1)"),
    ("x[0].expand(4, 3)", "np.broadcast_to(x[0], (4, 3))"),
    ("x.repeat(2, 1)", "np.tile(x, (2, 1))"),
    ("torch.repeat_interleave(x, 2, dim=0)", "np.repeat(x, 2, axis=0)"),
    ("torch.cat([x, y], dim=1)", "np.concatenate([x, y], axis=1)"),
    ("torch.stack([x, y])", "np.stack([x, y])"),
    ("torch.chunk(x, 3, dim=1)[1]", "np.split(x, 3, axis=1)[1]"),
    ("x.sum(dim=1, keepdim=True)", "x.sum(axis=1, keepdims=True)"),
    ("x.mean(dim=(0, 1))", "x.mean(axis=(0, 1))"),
    ("x.std(dim=0)", "x.std(axis=0, ddof=1)"),
    ("x.max(dim=1).values", "x.max(axis=1)"),
    ("x.argmax(dim=1)", "x.argmax(axis=1)"),
    ("torch.maximum(x, y)", "np.maximum(x, y)"),
    ("x.clamp(min=0, max=1)", "np.clip(x, 0, 1)"),
    ("x.softmax(dim=-1)", "F.softmax(x, dim=-1)"),
    ("x.logsumexp(dim=1)", "np.logaddexp.reduce(x, axis=1)"),
    ("x.norm()", "np.linalg.norm(x)"),
    ("x.exp().log1p().sqrt()", "np.sqrt(np.log1p(np.exp(x)))"),
    ("x.pow(2)", "x**2"),
    ("torch.where(x > 0, x, y)", "np.where(x > 0, x, y)"),
    ("x.masked_fill(x > 0, 0.0)", "np.where(x > 0, 0.0, x)"),
    ("x.masked_select(x > 0)", "x[x > 0]"),
    ("x.gather(1, i)", "np.take_along_axis(x, i, 1)"),
    ("x.index_select(1, i[0])", "x[:, i[0]]"),
    ("torch.einsum('ij,kj->ik', x, y)", "np.einsum('ij,kj->ik', x, y)"),
    ("torch.bmm(x[None], y.t()[None])", "x[None] @ y.T[None]"),
    ("x.tril()", "np.tril(x)"),
    ("x.cumsum(dim=0)", "x.cumsum(axis=0)"),
    ("x.flip(0)", "np.flip(x, 0)"),
    ("x.roll(1, 1)", "np.roll(x, 1, 1)"),
    ("x.sort(dim=1).values", "np.sort(x, axis=1)"),
    ("torch.linalg.solve(x @ x.t(), y)", "np.linalg.solve(x @ x.T, y)"),
    ("x.double().dtype == torch.float64", "x.astype(float).dtype == np.float64"),
    ("x.new_zeros(2)", "np.zeros(2, x.dtype)"),
    ("torch.autograd.grad((x**3).sum(), x)[0]", "tg.grad(lambda x: (x**3).sum())(x.data)"),
    ("torch.func.vmap(torch.dot)(x, y)", "tg.vmap(np.dot)(x.data, y.data)"),
]
"""The same in both, of `x`, `y` of shape (2, 3) and indices `i`."""


def variables(library: str) -> dict[str, Any]:
    """What the spellings are about."""
    x = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]])
    y, i = np.array([[1.0, 2.0, -3.0], [0.0, 0.5, 1.0]]), np.array([[0, 2], [1, 1]])
    if library == "torch":
        torch = import_module("torch")
        x, y = (torch.tensor(a, requires_grad=True) for a in (x, y))
        return {"torch": torch, "x": x, "y": y, "i": torch.tensor(i)}
    import tensorgrad as tg

    return {"tg": tg, "np": np, "F": tg.nn.functional, "x": tg.Value(x), "y": tg.Value(y), "i": i}


def compare_spellings() -> None:
    """AssertionError where the two spellings give different numbers."""
    for theirs, ours in SPELLINGS:
        found = []
        for code, library in ((theirs, "torch"), (ours, "numpy")):
            made = eval(code, variables(library))
            found.append(np.asarray(made.detach().data if hasattr(made, "detach") else made))
        np.testing.assert_allclose(found[1], found[0], rtol=1e-6, err_msg=theirs)


# Comparing with what is here.

WITHOUT = {
    **dict.fromkeys(["size_average", "reduce"], "deprecated: `reduction=`"),
    **dict.fromkeys(["device", "out"], "there are no devices, and results are new arrays"),
    **dict.fromkeys(
        ["foreach", "fused", "capturable", "differentiable"], "how PyTorch runs it, not what it is"
    ),
    **dict.fromkeys(["min_value", "max_value"], "deprecated: `min_val=`, `max_val=`"),
    **dict.fromkeys(["enable_nested_tensor", "mask_check", "options"], "how PyTorch runs it"),
    "generator": "`rng=`, a NumPy generator or a seed",
}
"""Arguments of PyTorch's that are not here, and why."""


def under(room: str, names: str, why: str) -> dict[str, str]:
    return dict.fromkeys((f"{room}.{name}" for name in names.split()), why)


GUESSED = "`dim=-1` where PyTorch warns and guesses"
DIFFERENT = {
    **under("torch.nn", "LogSoftmax Softmax Softmin", GUESSED),
    **under("torch.nn.functional", "log_softmax softmax softmin", GUESSED),
    "torch.utils.data.DataLoader": "takes arrays too; settings by name; `prefetch=`, no workers",
    **under(
        "torch.nn.init", "normal uniform", "draws a layer's weights and biases: Nielsen's, gonn's"
    ),
    "torch.nn.LinearCrossEntropyLoss": "without `out_features=`, classes in several axes",
    "torch.optim.Optimizer": "the rule has the defaults",
    **under("torch.nn", "ModuleList ModuleDict ParameterList ParameterDict", "a list, a dict"),
    "torch.nn.utils.parametrize.ParametrizationList": "made by `register_parametrization`",
}
"""Names that are here, with other arguments, and why."""


MISSING = {
    **under(
        "torch.nn",
        """LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d
        LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d
        LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear UninitializedBuffer
        UninitializedParameter""",
        "give the sizes: `nn.summary(model, shape)` tells them",
    ),
    **under("torch.nn", "DataParallel", "processes: `tg.parallel.data_parallel`"),
    **under("torch.nn", "SyncBatchNorm", "`tg.parallel.data_parallel(..., batch_norm=True)`"),
    **under("torch.nn", "Buffer", "an array attribute is a buffer"),
    **under("torch.nn", "Container RNNBase RNNCellBase", "PyTorch's own base"),
    **under("torch.nn", "LinearCrossEntropyOptions", "how PyTorch runs it, not what it is"),
    **under("torch.nn", "CrossMapLRN2d", "`nn.LocalResponseNorm`"),
    **under("torch.nn", "NLLLoss2d", "deprecated: `nn.NLLLoss` takes images"),
    **under(
        "torch.nn.functional",
        "celu_ elu_ hardtanh_ leaky_relu_ relu_ rrelu_ selu_ threshold_",
        "a Value is not overwritten: `x = F.relu(x)`",
    ),
    **under(
        "torch.nn.functional",
        "conv_tbc native_channel_shuffle grouped_mm scaled_mm scaled_grouped_mm",
        "for one kind of device, or one of PyTorch's own models",
    ),
    **under(
        "torch.nn.functional",
        "upsample",
        "deprecated: `F.interpolate`",
    ),
    **under(
        "torch.nn.init",
        """constant dirac eye kaiming_normal kaiming_uniform orthogonal sparse xavier_normal
        xavier_uniform""",
        "deprecated: the name with `_`",
    ),
    **under("torch.nn.utils", "clip_grad_norm", "deprecated: `clip_grad_norm_`"),
    **under("torch.nn.utils.rnn", "invert_permutation", "`np.argsort(permutation)`"),
    **under(
        "torch.nn.utils.parametrize",
        "cached transfer_parametrizations_and_params type_before_parametrizations",
        "how PyTorch stores it, not what it is",
    ),
    **under(
        "torch.nn.utils",
        "spectral_norm weight_norm remove_spectral_norm remove_weight_norm",
        "the old way: `nn.utils.parametrizations`",
    ),
    **under(
        "torch.nn.utils",
        """convert_conv2d_weight_memory_format convert_conv3d_weight_memory_format
        fuse_conv_bn_eval fuse_conv_bn_weights fuse_linear_bn_eval fuse_linear_bn_weights
        skip_init""",
        "how PyTorch stores and runs it, not what it is",
    ),
    **under("torch.optim", "SparseAdam", "gradients are dense arrays: `optim.Adam`"),
    **under("torch.optim", "swap_in_optimizer_params_and_state", "PyTorch's own"),
    **under(
        "torch.utils.data",
        """DFIterDataPipe DataChunk IterDataPipe MapDataPipe argument_validation
        functional_datapipe guaranteed_datapipes_determinism non_deterministic
        runtime_validation runtime_validation_disabled""",
        "deprecated by PyTorch",
    ),
    **under("torch.utils.data", "DistributedSampler", "`tg.parallel.Sharded`, `Shards`"),
    **under("torch.utils.data", "get_worker_info", "no workers"),
    **under("torch.utils.data", "IterableDataset ChainDataset", "pass `fit` what is iterated"),
    **under("torch.utils.data", "Sampler", "anything that yields numbers, and has a length"),
    **under("torch.utils.data", "default_convert", "arrays are arrays"),
}
"""Names that are not here, and why."""

ELSEWHERE: dict[str, str] = {}
"""Names that are here under another name."""

VERSION = "2.13"
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
    called = ours.forward if isinstance(ours, Primitive) else ours
    mine = {p.name: p for p in inspect.signature(called).parameters.values()}
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
        elif kind != "KEYWORD_ONLY" and name != "dtype" and not left_out_before(name, theirs):
            found.append(f"{name} by name only")
    return found


def left_out_before(name: str, theirs: list[list[str]]) -> bool:
    """Whether the place of an argument is another here, so that it goes by name."""
    before = theirs[: [a[0] for a in theirs].index(name)]
    return any(a[0] in WITHOUT for a in before)


def alike(ours: str, theirs: str) -> bool:
    """Whether two defaults are the same: `0` and `0.0` are."""
    try:
        return bool(ast.literal_eval(ours) == ast.literal_eval(theirs))
    except (ValueError, SyntaxError):
        return ours.strip("'") == theirs  # a function, or its name


def page(names: dict[str, dict[str, Signature]]) -> str:
    """The page, as Markdown."""
    found = list(rows(names))
    spellings = "\n".join(f"| `{theirs}` | `{ours}` |" for theirs, ours in SPELLINGS)
    parts = [HEAD.format(version=VERSION, spellings=spellings.replace("||", "\\|"))]
    for room in names:
        mine = [row for row in found if row.room == room]
        same = [row.name for row in mine if row.what == "same"]
        parts.append(f"## `{room}` is `{ROOMS[room].replace('tensorgrad', 'tg')}`\n")
        parts.append(f"The same, {len(same)} of {len(mine)}: {', '.join(same)}.\n")
        others = [row for row in mine if row.what != "same"]
        if others:
            parts.append("| PyTorch | here |\n|---|---|")
            why = {row.why: [o.name for o in others if o.why == row.why] for row in others}
            parts += [f"| {', '.join(map('`{}`'.format, them))} | {w} |" for w, them in why.items()]
            parts.append("")
    return "\n".join(parts)


HEAD = """# Coming from PyTorch

Layers, functions, losses, optimisers and schedules have PyTorch's names, argument orders, layouts
and defaults. An array is NumPy's: its functions take Values, and plain arrays go wherever no
gradient is wanted. Layers also take `dtype=` (float32 where nothing is said) and `rng=`, a
generator or a seed; `tg.manual_seed(0)` seeds what is drawn without one. Devices are
"numpy" and "cupy": [gpu.md](gpu.md).
Arguments that are deprecated, or that say how PyTorch runs an operation and not what it is, are
left out.

This page is made by a script from PyTorch {version}'s names and signatures, and tested: what is
called the same has the same settings in the same order with the same defaults.

## Tensors

| PyTorch | here |
|---|---|
{spellings}

## Programs

| PyTorch | here |
|---|---|
| `x.to("cuda")`, `model.cuda()`, `x.cpu()` | `x.to("cupy")`, `model.to("cupy")`, `x.to("numpy")` |
| `x.contiguous()` | nothing |
| `DataLoader(pin_memory=True)` | `DataLoader(to="cupy")` moves the batches |
| `loss.backward(retain_graph=True)` | `loss.backward()`: graphs live as long as they are held |
| `y.backward(gradient=g)` | `y.backward(g)` |
| `torch.save(model.state_dict(), path)` | `tg.io.save_checkpoint(model.state_dict(), path)` |
| `model.load_state_dict(torch.load(path))` | `model.load_state_dict(tg.io.load_checkpoint(path))` |
| `torch.func.functional_call`, `torch.func.vmap` | `nn.functional_call`, `tg.vmap` |
| `torch.inference_mode()` | `tg.no_grad()` |
| `model.add_module(name, module)` | `setattr(model, name, module)` |
| `torchvision.datasets.ImageFolder` | `tg.data.ImageFolder` |

The parts of a `Sequential` or `ModuleList` are `layers.0`, `layers.1`, ... in names, where PyTorch
has `0`, `1`. The order is the same (in a Module of one's own, where its parameters are made before
its Modules), and so the weights of a model of PyTorch's go into the same model here by their order:

    theirs = {{name: x.numpy() for name, x in torch_model.state_dict().items()}}
    model.load_state_dict(dict(zip(model.state_dict(), theirs.values(), strict=True)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, nargs="?", help="where to write it; else what is open")
    parser.add_argument("--torch", action="store_true", help="read PyTorch's names anew")
    given = parser.parse_args()
    if given.torch:
        compare_spellings()
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

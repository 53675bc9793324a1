"""A plugin of pytest: tests run a second time, and what they differentiate is compiled.

    python -m pytest -p tests.compiler.second --backend llvm tests/nn tests/test_transforms.py

What `tg.grad` and its family return, each `backward()` (its graph is computed anew, and swept, as
one program) and each step of an optimiser is compiled, and the test's own assertions judge it. A
Module's call is compiled beside the function's own, whose graph the test goes on with, and both are
compared, with what the Module remembers.

What is refused for a reason in `REASONS` runs as it is. Any other error of a program fails the
test. In the end it says how many tests ran something compiled, and why others did not.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn, optim
from tensorgrad.compiler.compiled import watched
from tensorgrad.compiler.tracer import writing
from tensorgrad.engine.backprop import still_holds
from tensorgrad.engine.batching import Batched, running
from tensorgrad.engine.calls import keeper, replace_buffers
from tensorgrad.engine.node import Node, differentiating, record, recorder
from tensorgrad.engine.primitive import apply, registry
from tensorgrad.graph.replay import leaves_first
from tensorgrad.random import default, generators_of
from tensorgrad.transforms.tree import flatten, map_leaves, modules_in
from tests.compiler.test_compile import assert_same

REASONS = {
    "looks at numbers": "asked for a number|depends on numbers|has none of while it is traced",
    "takes or returns what is no array": "takes arrays|returns arrays|take numbers",
    "changes what is no state": "is no state|assigns to|writes into|changes '|changes a ContextVar",
    "replaces a generator": "which goes on",
    "has a graph already": "whose graph a compiled|go on with a graph|has no graph",
    "has gradients with a graph": "turning a Value that requires grad|create_graph=True. leaves it",
    "draws unseen": "drew while",
    "is no function of NumPy's": "is not compiled|no tracer|flatnonzero",
}
ONCE_MORE, IN_MEMORY = "counts calls, of which there are more here", "looks at memory"
SKIPPED = {
    "test_under_a_transform_the_model_that_it_was_given_remembers_once": ONCE_MORE,
    "test_a_model_that_a_transform_closes_over_remembers_too": ONCE_MORE,
    "test_a_transform_looks_for_the_modules_that_it_was_given_once": ONCE_MORE,
    "test_a_backward_hook_is_given_the_module_also_by_a_transform_and_none_once_it_is_gone": (
        ONCE_MORE
    ),
    "test_the_pullback_keeps_the_primals_and_gives_arrays_of_its_own": "changes what was given",
    "test_it_is_a_program_that_computes_the_same_on_other_numbers": "is written down already",
    "test_the_matrix_of_all_columns_is_never_made": IN_MEMORY,
    "test_a_module_with_a_backward_hook_and_a_kept_activation_is_freed_without_gc": IN_MEMORY,
    "test_memory_grows_with_the_number_of_steps_no_faster": IN_MEMORY,
    "test_labels_of_a_comparison_count_as_0_and_1": "asks for equal bits",
    "test_both_keep_the_order_in_memory": IN_MEMORY,
    "test_a_module_that_keeps_its_output_is_freed_without_the_garbage_collector": IN_MEMORY,
    "test_threads_do_not_see_each_others_modules": "waits for a thread that compiles after it",
}
"""Tests, by their name, that cannot run so, and why."""

MANY = 12
"""Calls of a test that are compiled: the gradients of a numerical one are alike."""

compile: Callable[..., Any] = tg.compile
ran: Counter[str] = Counter()
refused: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="numpy", choices=["numpy", "llvm"])


def pytest_configure(config: pytest.Config) -> None:
    global compile
    compile = partial(tg.compile, backend=config.getoption("--backend"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        why = SKIPPED.get(item.name.partition("[")[0])
        if why:
            item.add_marker(pytest.mark.skip(reason=why))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    write = terminalreporter.write_line
    write(f"{ran['tests']} tests compiled {ran['calls']} calls; {ran['nothing']} had none")
    for why, n in refused.most_common():
        write(f"{n} calls were not compiled: {why}")


def busy() -> bool:
    """Whether something is traced, differentiated or watched already."""
    inside = writing.get() is not None or differentiating.get() is not None
    inside = inside or bool(running) or keeper.get() is not replace_buffers
    inside = inside or ran["of this test"] >= MANY
    return inside or recorder.get() is not record or watched()


def attempt(f: Callable[..., Any], compiled: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the program answers; what the function does where that is refused or raises."""
    ran["of this test"] += 1
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*was compiled for the")
            found = compiled(*args, **kwargs)
    except Exception as error:
        result = f(*args, **kwargs)  # raises what the test expects
        why = [why for why, said in REASONS.items() if re.search(said, str(error))]
        if not why:
            raise
        refused[why[0]] += 1
        return result
    ran["calls"] += 1
    return found


def plain(tree: Any) -> Any:
    """Views are Values that know of what they are a view."""
    return map_leaves(lambda x: Value(x.data) if isinstance(x, Value) else x, tree)


def second(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, compiled where it can be."""
    compiled = compile(f)

    @wraps(f)
    def run(*args: Any, **kwargs: Any) -> Any:
        if busy():
            return f(*args, **kwargs)
        found = attempt(f, compiled, *args, **kwargs)
        if any(isinstance(x, Value) and x.node.op is not None for x in flatten(found)[0]):
            ran["calls"] -= 1
            refused["returns a graph"] += 1
            return f(*args, **kwargs)
        return found

    return run


def transform(real: Callable[..., Any]) -> Callable[..., Any]:
    return wraps(real)(lambda *args, **kwargs: second(real(*args, **kwargs)))


def vjp(real: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(real)
    def run(f: Any, *primals: Any, **kwargs: Any) -> Any:
        out, pullback, *aux = real(f, *primals, **kwargs)
        if modules_in(primals):  # which would remember once more
            return out, pullback, *aux
        return out, second(lambda *gs: real(f, *primals, **kwargs)[1](*gs)), *aux

    return run


def along(real: Callable[..., Any]) -> Callable[..., Any]:
    """`jvp` and `hvp`."""

    @wraps(real)
    def run(f: Any, primals: Any, tangents: Any, **kwargs: Any) -> Any:
        return second(lambda p, t: real(f, p, t, **kwargs))(primals, tangents)

    return run


def graph_of(end: Node) -> tuple[list[Node], list[Any]] | None:
    """The nodes that lead to `end`, leaves first, and what the leaves held; None where that cannot
    be computed anew: where nodes kept no operands, or hold what a function of their own made."""
    order = leaves_first(end)
    held: dict[Node, Any] = {}
    for node in order:
        if type(node.data) is not np.ndarray and not isinstance(node.data, np.generic):
            return None
        if node.op is None:
            continue
        kept = node.op.name != "setitem"  # only the shape of what is written into
        if not kept or registry.get(node.op.name) is not node.op or node.readings:
            return None
        for x, data in zip(node.operands, node.inputs):
            if data is None or type(data) is Batched or (x and not still_holds(x, data)):
                return None
            if x is not None and x.op is None and held.setdefault(x, data) is not data:
                return None
    leaves = [node for node in order if node.op is None]
    return None if {*leaves} - held.keys() else (order, [held[x] for x in leaves])


def backward(real: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(real)
    def run(self: Value, seed: Any = None, create_graph: bool = False) -> None:
        end = self.node
        known = None if busy() or create_graph or end.op is None else graph_of(end)
        if known is None or (seed is None and self.data.size != 1):
            return real(self, seed, create_graph)
        order, held = known
        wanted = [x for x in order if x.op is None or x.retains_grad]

        def slopes(held: Any, seed: Any) -> Any:
            given = iter(held)
            made: dict[Node, Value] = {}
            for node in order:
                if node.op is None:
                    made[node] = Value(next(given))
                else:
                    operands = [made.get(x, y) for x, y in zip(node.operands, node.inputs)]
                    made[node] = apply(node.op, operands, node.params)
            for node in wanted:
                made[node].retain_grad()
            real(made[end], seed)
            return made[end].data, [made[node].grad for node in wanted]

        ones = np.ones_like(self.data) if seed is None else seed
        with np.errstate(all="ignore"):
            out, found = attempt(slopes, compile(slopes), held, ones)
        assert_same(out, self.data, bits=False, kinds=False)
        for node, g in zip(wanted, found):
            if g is not None:
                node.grad = g if node.grad is None else node.grad + g

    return run


def is_single(x: Any) -> bool:
    return getattr(x, "dtype", None) in (np.float32, np.complex64)


def states(model: nn.Module) -> list[tuple[Any, dict[str, Any]]]:
    return [(m, dict(vars(m))) for m in model.modules()]


def call(real: Callable[..., Any], programs: dict[int, Any]) -> Callable[..., Any]:
    """A Module's call, and its program's, from the same state."""

    def detached(x: Any) -> Any:
        return x.detach() if isinstance(x, Value) and x.node.op is not None else x

    @wraps(real)
    def run(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if busy():
            return real(self, *args, **kwargs)
        if id(self) not in programs:  # the same one all through the test: never stale
            programs[id(self)] = self, compile(partial(real, self))
        before = states(self)
        drawing = [default(), *(r for m, _ in before for r in generators_of(m).values())]
        draws = [copy.deepcopy(rng.bit_generator.state) for rng in drawing]

        def restore() -> None:
            for module, attributes in before:
                vars(module).clear()
                vars(module).update(attributes)
            for rng, state in zip(drawing, draws):
                rng.bit_generator.state = state

        def itself(*args: Any, **kwargs: Any) -> None:
            restore()

        given = map_leaves(detached, (args, kwargs))
        try:
            found = attempt(itself, programs[id(self)][1], *given[0], **given[1])
        except Exception as error:
            restore()
            real(self, *args, **kwargs)
            raise AssertionError("the function runs, and its program does not") from error
        remembered = self.state_dict()
        restore()
        out = real(self, *args, **kwargs)
        if found is not None:
            single = any(map(is_single, (*flatten(given)[0], *self.parameters())))
            bits = None if single else False
            assert_same(plain(found), plain(out), bits, kinds=False)
            assert_same(remembered, self.state_dict(), bits)
        return out

    return run


def step(real: Callable[..., Any], programs: dict[int, Any]) -> Callable[..., Any]:
    @wraps(real)
    def run(self: optim.Optimizer, closure: Any = None) -> Any:
        if busy() or closure is not None:
            return real(self, closure)
        if id(self) not in programs:
            programs[id(self)] = self, compile(partial(real, self))
        return attempt(partial(real, self), programs[id(self)][1])

    return run


@pytest.fixture(autouse=True)
def run_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before, programs = ran["calls"], dict[int, Any]()
    ran["of this test"] = 0
    for name in ("grad", "value_and_grad", "elementwise_grad", "jacobian", "hessian", "vmap"):
        monkeypatch.setattr(tg, name, transform(getattr(tg, name)))
    for name, wrap in (("vjp", vjp), ("jvp", along), ("hvp", along)):
        monkeypatch.setattr(tg, name, wrap(getattr(tg, name)))
    monkeypatch.setattr(Value, "backward", backward(Value.backward))
    monkeypatch.setattr(nn.Module, "__call__", call(nn.Module.__call__, programs))
    monkeypatch.setattr(optim.Optimizer, "step", step(optim.Optimizer.step, programs))
    yield
    ran["tests" if ran["calls"] > before else "nothing"] += 1

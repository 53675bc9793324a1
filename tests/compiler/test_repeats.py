"""Lines that come again with other names are a function: what is computed stays the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.compiler import repeats, source
from tensorgrad.compiler.repeats import Names, folded

ARRAYS, NUMBERS = [f"a{k}" for k in range(9)], [f"n{k}" for k in range(9)]
STATIC = ARRAYS[6:]
LINES = [
    "np.add(A, A, A)",
    "np.multiply(A, N, A)",
    "np.maximum(A, A, out=A)",
    "A[0:2] = A[1:3]",
    "N = N + 1",
    "N = N * (1 - N)",
    "N = float(A.sum())",
    "N = -N",
]


def run(functions: list[str], body: list[str], answer: str) -> Any:
    lines = [
        f"def make({', '.join(['np', *STATIC])}):",
        *(f"    {line}" for line in functions),
        f"    def step({', '.join([*ARRAYS[:6], *NUMBERS])}):",
        *(f"        {line}" for line in [*body, answer]),
        "    return step",
    ]
    defined: dict[str, Any] = {}
    exec("\n".join(lines), defined)
    arrays = [np.arange(3.0) + k for k in range(9)]
    step = defined["make"](np, *arrays[6:])
    with np.errstate(all="ignore"):
        return step(*arrays[:6], *(float(k) / 9 for k in range(9))), arrays


@given(st.data())
@settings(max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_lines_with_functions_compute_what_lines_do(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(LINES), min_size=6, max_size=9))
    apart = data.draw(st.booleans())  # whether blocks have names of their own

    def line(kind: str, k: int) -> str:
        made = ""
        for char in kind:
            pool = {"A": ARRAYS, "N": NUMBERS}.get(char)
            few = pool and (pool[k : k + 2] if apart else pool)
            made += data.draw(st.sampled_from(few)) if few else char
        return made

    body = ["# --- update"]
    for k in range(data.draw(st.integers(3, 5))):
        body += [line(kind, k) for kind in kinds]
    answer = f"return ({', '.join([*ARRAYS, *data.draw(st.sets(st.sampled_from(NUMBERS)))])},)"
    taken = {*ARRAYS, *NUMBERS}
    new = lambda name: taken.add(name) or repeats.free(name, taken - {name})
    functions, shorter = folded(body, answer, Names(NUMBERS, STATIC, new))
    for got, want in zip(run(functions, shorter, answer), run([], body, answer), strict=True):
        for x, y in zip(got, want, strict=True):
            np.testing.assert_array_equal(x, y)


def step_of(model: Any, optimizer: Any) -> Any:
    @tg.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = np.sum(model(x) ** 2)
        loss.backward()
        optimizer.step()
        return loss

    return step


def trained(kind: Any, x: Any) -> Any:
    model = kind()
    step = step_of(model, optim.AdamW(model.parameters()))
    losses = [step(x).item() for _ in range(4)]
    return step.source, losses, [p.data for p in model.parameters()]


def deep() -> Any:
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1))


class Inward(nn.Module):
    """Its weight's name ends in a word of Python's, and names axes in a text."""

    def __init__(self) -> None:
        self.w_in = tg.Value(np.eye(3) / 2)

    def forward(self, x: Any) -> Any:
        for _ in range(9):
            x = np.tanh(np.einsum("bi,ij->bj", x, self.w_in))
        return x


def inward() -> Any:
    return nn.Sequential(*(Inward() for _ in range(3)))


def recurrent() -> Any:
    rnn = nn.LSTM(3, 4, batch_first=True, rng=np.random.default_rng(0))
    return lambda_module(lambda x: rnn(x)[0], rnn)


def lambda_module(f: Any, inner: Any) -> Any:
    class Whole(nn.Module):
        def __init__(self) -> None:
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return f(x)

    return Whole()


def test_an_update_is_a_function_that_is_called_for_each_parameter(monkeypatch: Any) -> None:
    rows = np.ones((2, 3))
    for kind, x in ((deep, rows), (inward, rows), (recurrent, np.ones((2, 6, 3)))):
        text, losses, parameters = trained(kind, x)
        assert text.count("def update(") == 1
        assert text.count("update(") == 1 + len(parameters)
        with monkeypatch.context() as patch:
            patch.setattr(source.Writer, "fold", lambda self, body, answer: body)
            plain, wanted, others = trained(kind, x)
        assert "update(" not in plain
        assert text.count("\n") < plain.count("\n")
        assert losses == wanted
        for p, q in zip(parameters, others, strict=True):
            np.testing.assert_array_equal(p, q)
    assert "def part(" in text  # of the layer, at each time


def test_what_is_drawn_is_drawn_in_its_order() -> None:
    run = ["x = rng.normal()", "y = 2 * lr", *["np.add(a, b, c)"] * 18]
    assert repeats.numbers_first(run[::-1], {"rng", "lr"})[:2] == ["y = 2 * lr", "np.add(a, b, c)"]


def test_a_line_is_broken_within_brackets() -> None:
    names = ", ".join(f"name_{k}" * 3 for k in range(9))
    long = "name" * 14
    for line in (
        f"x = update({names})",
        f"{names} = update({names})",
        f"{long} = update({long}, x)",
    ):
        lines = source.wrapped(f"    {line}")
        assert max(map(len, lines)) <= max(source.WIDTH, len(f"    {long} = update({long},"))
        compile("\n".join(x[4:] for x in lines), "lines", "exec")


def test_a_number_that_the_next_block_needs_is_returned() -> None:
    body = ["# --- update"]
    for k in range(4):
        body += [f"n{k + 1} = n{k} + 1", *["np.multiply(a0, 2.0, a0)"] * 5]
        body.append(f"np.add(a0, n{k}, a0)")
    functions, shorter = folded(body, "return (a0,)", Names(NUMBERS, STATIC, lambda name: name))
    assert functions[-1].strip().startswith("return")
    got, want = (
        run(f, lines, "return (a0,)")[0] for f, lines in ((functions, shorter), ([], body))
    )
    np.testing.assert_array_equal(got, want)

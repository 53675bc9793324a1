"""The pytest plugin: the fixture `gradcheck`, `--gradcheck-profile`, and a line in the summary.

pytest finds it by itself where tensorgrad is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tensorgrad.testing.report import GradientError, Report, reports

NAMES = ("quick", "standard", "thorough")
Totals = dict[str, Any]
elsewhere: list[Totals] = []  # of the workers of pytest-xdist


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("tensorgrad").addoption(
        "--gradcheck-profile",
        choices=NAMES,
        help="points that a property of gradients tries: 20, 100 or 1000",
    )


def pytest_configure(config: pytest.Config) -> None:
    chosen = config.getoption("--gradcheck-profile")
    if chosen:
        from tensorgrad.testing import properties

        properties.profile = chosen


@pytest.fixture
def gradcheck() -> Callable[..., Report]:
    """Check derivatives at one point, and count it in the summary.

    `gradcheck(f, *args)` is `testing.check_grads`; with `vjp=` it is `testing.check_vjp`; of a
    `Subject` it is `testing.check`, and of a primitive alone `testing.check_rule`.
    """
    from tensorgrad import testing
    from tensorgrad.engine.primitive import Primitive

    def check(f: Any, *args: Any, vjp: Callable[..., Any] | None = None, **options: Any) -> Report:
        if vjp and isinstance(f, (testing.Subject, Primitive)):
            raise TypeError(f"gradcheck: vjp= goes with a plain function; {f!r} has its own")
        if isinstance(f, Primitive) and not args:
            return testing.check_rule(f, **options)
        try:
            if isinstance(f, testing.Subject):
                report = testing.check(f, *args, **options)
            elif vjp:
                report = testing.check_vjp(f, vjp, *args, **options)
            else:
                report = testing.check_grads(f, *args, **options)
        except GradientError as error:
            reports.append(error.report)
            raise
        reports.append(report)
        return report

    return check


def totals() -> Totals:
    """What this process has checked."""
    return {
        "names": sorted({report.name for report in reports}),
        "points": sum(report.points for report in reports),
        "rejected": sum(report.rejected.total() for report in reports),
        "worst": max((report.worst for report in reports), default=0.0),
    }


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["gradcheck"] = totals()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    elsewhere.append(getattr(node, "workeroutput", {}).get("gradcheck", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    found = [part for part in (totals(), *elsewhere) if part]
    names = {name for part in found for name in part["names"]}
    if names:
        points, rejected = (sum(part[key] for part in found) for key in ("points", "rejected"))
        terminalreporter.write_line(
            f"gradcheck: {len(names)} functions, {points} points, {rejected} rejections, "
            f"worst error / bar {max(part['worst'] for part in found):.2g}"
        )

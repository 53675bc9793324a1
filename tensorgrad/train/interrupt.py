"""Ctrl-C, held back until a step is whole."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self


class Interrupts:
    """While `held`, a Ctrl-C only sets `pressed`; a second one raises as ever. `always`, of several
    processes: it is held until `release`, wherever it comes, and so is a SIGTERM, which is what
    mpiexec makes of a Ctrl-C, and a batch system of the end of a job's time.

    Only where Python's own handler would have raised: a program's own, and other threads, are left
    alone.
    """

    def __init__(self, always: bool = False) -> None:
        self.always = always
        self.held = self.pressed = False
        self.agreed = False  # by all of several processes
        self.name = "Ctrl-C"
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
        if self.always:
            usual[signal.SIGTERM] = signal.SIG_DFL
        for number, handler in usual.items():
            if signal.getsignal(number) is handler:
                self.before[number] = signal.signal(number, self.arrived)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def arrived(self, signum: int, frame: Any) -> None:
        if not (self.held or self.always) or self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        if signum == signal.SIGTERM:
            self.name = "SIGTERM"

    def release(self) -> None:
        """What was held back comes now."""
        self.held = False
        if self.pressed:
            raise KeyboardInterrupt

"""Ctrl-C, held back until a step is whole."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self


class Interrupts:
    """While `held`, a Ctrl-C only sets `pressed`; a second one raises as ever. `always`: it is held
    until `release`, wherever it comes.

    Only where Python's own handler would have raised: a program's own, and other threads, are left
    alone.
    """

    def __init__(self, always: bool = False) -> None:
        self.always = always
        self.held = self.pressed = False
        self.agreed = False  # by all of several processes
        self.before: Any = None

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self.before = signal.signal(signal.SIGINT, self.arrived)
        return self

    def __exit__(self, *error: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def arrived(self, signum: int, frame: Any) -> None:
        if not (self.held or self.always) or self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def release(self) -> None:
        """What was held back comes now."""
        self.held = False
        if self.pressed:
            raise KeyboardInterrupt

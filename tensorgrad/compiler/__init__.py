"""From a function to the program that an expert would write: `tg.compile`.

`tracer` writes down what NumPy is asked to do, `capture` what a call reads and writes; `passes`
simplify the `program`, `source` makes NumPy code of it (`lives`: what is needed until when; `text`:
how a call is written; `blocks`: groups), and `entry` the way in and out. A `version` is all of that
for `arguments` of one kind; `results` are what comes back; `compiled` has several. `costs` are
those of an instruction, `report` says what each took.
"""

from tensorgrad.compiler.compiled import Compiled, compile

__all__ = ["Compiled", "compile"]

"""The command line's frame: a command that fails says so in a line or two, with an exit code.

The commands themselves are in `app.py`; they need the extra `cli`.
"""

from __future__ import annotations

import io
import os
import sys

from tensorgrad.extras import missing, printable

LONGEST = 10_000  # characters of a line of what went wrong: names in it may be anybody's


def main() -> None:
    """Run the command in `sys.argv` and exit: 0 done, 1 failed, 2 misused, 130 interrupted."""
    try:
        code = run()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def run() -> int:
    """Run the command, and say what went wrong: the exit code."""
    try:
        import typer

        from tensorgrad.commands.app import app
    except ImportError as error:
        print(f"tensorgrad: {missing(str(error), 'cli')}", file=sys.stderr)
        return 1
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold anything
    try:
        code: int = app(sys.argv[1:] or ["--help"], prog_name="tensorgrad", standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
        return code
    except typer.TyperException as error:  # an unknown option, a value that makes no sense
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "tensorgrad"
        print(f"{command}: {printable(error.format_message().rstrip('.'))}", file=sys.stderr)
        print(f"see {command} --help", file=sys.stderr)
        return 2
    except typer.Abort:  # Typer's word for a KeyboardInterrupt
        return 130
    except BrokenPipeError:  # such as `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, TypeError, ImportError, MemoryError, RuntimeError) as error:
        where = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        said = getattr(error, "strerror", None) or error
        for line in f"tensorgrad: {said}{where}".split("\n"):
            print(printable(line, LONGEST), file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()

"""The command line's frame: a command that fails says so in a line or two, with an exit code.

The commands themselves are in `app.py`; they need the extra `cli`.
"""

from __future__ import annotations

import io
import os
import sys


def main() -> None:
    """Run the command in `sys.argv` and exit: 0 done, 1 failed, 2 misused, 130 interrupted."""
    try:
        import typer

        from tensorgrad.commands.app import app
    except ImportError as error:
        sys.exit(f"tensorgrad: {error}: pip install 'tensorgrad-engine[cli]'")
    except KeyboardInterrupt:
        sys.exit(130)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold anything
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="tensorgrad", standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
    except typer.TyperException as error:  # an unknown option, a value that makes no sense
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "tensorgrad"
        print(f"{command}: {error.format_message().rstrip('.')}", file=sys.stderr)
        print(f"see {command} --help", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # such as `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (OSError, ValueError, TypeError, ImportError, MemoryError) as error:
        where = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        said = getattr(error, "strerror", None) or error
        print(f"tensorgrad: {said}{where}", file=sys.stderr)
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()

"""The commands; the only place that exits. Errors become exit codes and one clear line.

Nothing heavy is imported before a command needs it: `--help`, `check` and `status` never load
torch.
"""

import os
import sys

if __name__ == "__main__":  # by its path, where nothing below can be imported
    sys.path[0] = os.path.dirname(os.path.dirname(sys.path[0]))  # noqa: PTH120
    from pipeline.cli.wrong_python import refuse_path

    refuse_path()

import traceback
from contextlib import suppress
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

# The commands register themselves, in the order of `--help`.
from pipeline import __version__
from pipeline.cli import folder_commands, picture_commands, setup_commands
from pipeline.cli.common import FAILED, INTERRUPTED, OK, WRONG, app
from pipeline.cli.wrong_python import incomplete
from pipeline.errors import PipelineError
from pipeline.system import interrupt
from pipeline.system.stdout import (
    end_standard_streams,
    open_standard_streams,
    stdout_error,
    stdout_reader_is_gone,
)

__all__ = ["app", "folder_commands", "main", "picture_commands", "setup_commands"]

debug = False


def main() -> NoReturn:
    """Run a command and exit: 0 all well, 1 some jobs failed, 2 wrong usage, 130 interrupted."""
    global debug
    open_standard_streams()
    words = [word for word in sys.argv[1:] if word != "--debug"]  # before or after the command
    debug = len(words) < len(sys.argv) - 1
    try:
        code = app(words, standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk can still be reported
    except PipelineError as error:
        code = error.exit_code
        _complain(str(error))
    except TyperException as error:
        code = WRONG
        _complain(f"{error.format_message().rstrip('.')} (see `{_asked(error)} --help`)")
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
        _complain("interrupted")
    except (Exception, SystemExit) as error:  # typer makes a broken pipe into the latter
        code, line = (INTERRUPTED, "interrupted") if interrupt.came() else _unexpected(error)
        if line:
            _complain(line)
    end_standard_streams()
    sys.exit(code if isinstance(code, int) else OK)


def _unexpected(error: BaseException) -> tuple[int, str]:
    """Exit code and words for an error that is none of ours."""
    if isinstance(error, BrokenPipeError | SystemExit) and stdout_reader_is_gone():
        return OK, ""  # `| head` has read enough. Work does not end by this: it has an outlet
    if isinstance(error, OSError) and (why := stdout_error(error)):
        return FAILED, f"standard output cannot be written: {why}"
    if isinstance(error, ModuleNotFoundError) and error.name and error.name[:8] != "pipeline":
        return WRONG, incomplete(error.name)
    return FAILED, f"unexpected {type(error).__name__}: {error} (--debug shows where)"


def _asked(error: TyperException) -> str:
    """The command that was called wrongly."""
    context = getattr(error, "ctx", None)
    return context.command_path if context else "python -m pipeline"


def _complain(message: str) -> None:
    from pipeline.system.text import visible

    if debug and sys.exc_info()[0] is not None:
        traceback.print_exc()
    with suppress(OSError):  # nobody is there to be told
        print(f"error: {visible(' '.join(message.split()))}", file=sys.stderr, flush=True)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Tracebacks on errors.")] = False,
) -> None:
    if show_version:
        print(__version__)
        raise typer.Exit(OK)
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(WRONG)

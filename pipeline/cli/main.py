"""The entry point, and the only place that exits: errors become exit codes and one clear line.

Heavy modules are imported only by the commands that need them: `--help`, `check` and `status` never
load torch.
"""

import os
import sys

if __name__ == "__main__":  # started by its path, where the imports below would fail
    sys.path[0] = os.path.dirname(os.path.dirname(sys.path[0]))  # noqa: PTH120
    from pipeline.cli.wrong_python import refuse_path

    refuse_path()

import traceback
from contextlib import suppress
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

# Importing these modules registers their commands, in the order of `--help`.
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


COMPLETION = "_PIPELINE_COMPLETE"  # set by the shell that asks for completions


def main() -> NoReturn:
    """Run a command and exit: 0 success, 1 some jobs failed, 2 wrong usage, 130 interrupted."""
    open_standard_streams()
    # --debug is accepted before and after the command.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = "--debug" in sys.argv[1:]
    if arguments[:1] == ["help"]:  # what many programs understand
        arguments = [*arguments[1:2], "--help"]
    completing = COMPLETION in os.environ or "completion" in "".join(arguments[:1])
    try:
        # Completion is for the installed command, whose name the shell knows.
        code = app(arguments, "pipeline" if completing else None, standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk can still be reported
        if code == INTERRUPTED and interrupt.came():  # typer turns KeyboardInterrupt into a code
            _print_error("interrupted", debug)
    except PipelineError as error:
        code = error.exit_code
        _print_error(str(error), debug)
    except TyperException as error:
        code = WRONG
        _print_error(f"{_usage_message(error)}see `{_command_path(error)} --help`)", debug)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
        _print_error("interrupted", debug)
    except (Exception, SystemExit) as error:  # typer turns a broken pipe into SystemExit
        code, message = _describe_unexpected(error)
        if message:
            _print_error(message, debug)
    end_standard_streams()
    code = code if isinstance(code, int) else OK
    interrupt.exit_code_is(code)
    sys.exit(code)


def _describe_unexpected(error: BaseException) -> tuple[int, str]:
    """Exit code and message of an error that is no `PipelineError`; without message: no error."""
    if interrupt.came():
        return INTERRUPTED, "interrupted"
    if isinstance(error, BrokenPipeError | SystemExit) and stdout_reader_is_gone():
        return OK, ""  # `| head` has read enough; `run` and `watch` keep working
    if isinstance(error, SystemExit) and not error.code:
        return OK, ""  # typer ends completion so
    if isinstance(error, OSError) and (why := stdout_error(error)):
        return FAILED, f"standard output cannot be written: {why}"
    if isinstance(error, ModuleNotFoundError) and error.name and error.name[:8] != "pipeline":
        return WRONG, incomplete(error.name)
    return FAILED, f"unexpected {type(error).__name__}: {error} (--debug shows where)"


def _usage_message(error: TyperException) -> str:
    """The message of an error in the command line, up to an open bracket for what to do."""
    near = sorted(getattr(error, "possibilities", None) or ())
    if near:
        return f"{error.message} (did you mean {' or '.join(near)}?; "
    return f"{error.format_message().rstrip('.')} ("


def _command_path(error: TyperException) -> str:
    """The command that was used wrongly."""
    context = getattr(error, "ctx", None)
    return context.command_path if context else "python -m pipeline"


def _print_error(message: str, debug: bool) -> None:
    """One line on stderr; with --debug the traceback before it."""
    from pipeline.system.text import visible

    if debug and sys.exc_info()[0] is not None:
        traceback.print_exc()
    with suppress(OSError):  # stderr is closed
        print(f"error: {visible(' '.join(message.split()))}", file=sys.stderr, flush=True)


def _describe_version() -> str:
    """The program's version, and of what else decides the pixels."""
    from importlib.metadata import PackageNotFoundError, version

    from pipeline.jobs.recipe import ENGINE_VERSION

    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "is not installed"
    return f"pipeline {__version__} (engine {ENGINE_VERSION}, torch {torch})"


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Print a traceback with errors.")] = False,
) -> None:
    if show_version:
        print(_describe_version())
        raise typer.Exit(OK)
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(WRONG)

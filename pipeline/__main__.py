"""``python -m pipeline`` and the installed command: the wrong Python is refused here."""

import os
import sys


def main():
    # type: () -> None
    """Run a command and exit; Ctrl-C gives 130 from the first import to the last line."""
    try:
        _run()
        return
    except SystemExit as end:
        if end.code != 130 or not _came():
            raise
    except (Exception, KeyboardInterrupt) as error:
        if not (isinstance(error, KeyboardInterrupt) or _came()):
            raise
        sys.stderr.write("error: interrupted\n")
        sys.stderr.flush()
    os._exit(130)  # Python itself would end by the signal where code from a string was running


def _run():
    # type: () -> None
    """Run a command; say what to type where this Python cannot."""
    from pipeline.cli.wrong_python import GONE, folder_is_gone, incomplete, refusal, refuse, unfit

    if refusal(sys.version_info[:3]):
        refuse(refusal(sys.version_info[:3]))
    if folder_is_gone():
        refuse(GONE)
    from pipeline.system import interrupt

    interrupt.listen()
    try:
        from pipeline.cli import main as cli
    except ImportError as error:
        if not error.name or error.name.startswith("pipeline"):
            raise  # a fault of the program, not of the place
        refuse(incomplete(error.name))
    except Exception as error:  # a library of another version, most likely
        if interrupt.came() or "--debug" in sys.argv:
            raise
        refuse(unfit(error))
    cli.main()


def _came():
    # type: () -> bool
    interrupt = sys.modules.get("pipeline.system.interrupt")
    return interrupt is not None and interrupt.came()


if __name__ == "__main__":
    if not __package__:  # by its path: Python then looks for modules inside the package
        sys.path[0] = os.path.dirname(sys.path[0])
        from pipeline.cli.wrong_python import refuse_path

        refuse_path()
    main()

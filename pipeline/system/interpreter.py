"""Child Python processes load code from where this one does, never from the current folder.

Python puts the current folder first on the path of modules for ``-c`` and ``-m``. There a photo
may lie beside a `json.py` of unknown origin, which would run before anything is checked. So a child
gets ``-P``, which leaves that folder out, no PYTHONPATH, and this process's own path as it is now:
what came from PYTHONPATH, ``pip install --target``, a zip file or an editable install is found
again.

This is imported before anything else: it must need nothing that is not loaded at start-up.
"""

# pathlib is not loaded yet when this is first needed
# ruff: noqa: PTH100, PTH109, PTH117, PTH120

import os
import sys

# Without these the dynamic linker, or Python itself, would not find on the other side what it
# found on this one.
_LINKER = ("LD_", "DYLD_", "NIX_", "LC_", "CONDA_")
_NEEDED = ("PATH", "LANG", "HOME", "TMPDIR", "PYTHONHOME", "PYTHONUSERBASE", "SYSTEMROOT")


def leave_current_folder() -> None:
    """Take off the path what ``python -m`` put there: the current folder.

    The folder that holds this package stays, so a clone that is not installed works from within.
    """
    here = _current_folder()
    if sys.path and sys.path[0] in ("", here) and here != package_root():
        del sys.path[0]
    sys.path[:] = search_path()


def search_path() -> list[str]:
    """Where this process loads code from, without what only means the current folder.

    That is a relative entry, or one that an empty part of PYTHONPATH ("$PYTHONPATH:/lib") stands
    for, which is never intended.
    """
    here, parts = _current_folder(), os.environ.get("PYTHONPATH", "").split(os.pathsep)
    dropped = {here} if len(parts) > 1 and "" in parts else set()
    dropped -= {*parts, package_root()}
    return [entry for entry in sys.path if os.path.isabs(entry) and entry not in dropped]


def package_root() -> str:
    """The folder, or zip file, that holds this package."""
    path = os.path.abspath(__file__)
    for _ in __name__.split("."):  # as deep as this module lies, wherever it is moved to
        path = os.path.dirname(path)
    return path


def python_command(program: str, *arguments: str) -> list[str]:
    """The command line of a Python process that runs ``program``, a line of Python."""
    start = f"import sys; sys.path[:] = {search_path()!a}; {program}"
    return [sys.executable, *_flags(), "-c", start, *arguments]


def child_environment() -> dict[str, str]:
    """The environment of a child that is as trusted as this process."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def untrusted_environment() -> dict[str, str]:
    """The environment of a child that is not trusted: what it needs to start, and no secrets."""
    return {
        name: value
        for name, value in child_environment().items()
        if name in _NEEDED or name.startswith(_LINKER)
    }


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line of ``python -m MODULE`` for other programs to start, from any folder."""
    return [sys.executable, *(["-P"] if _is_installed() else []), "-m", module, *arguments]


def last_error_line(text: str) -> str:
    """The line of an error output that names the cause, fit for a message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line.partition(":")[0]]
    return as_one_line((named or lines or ["it ended without a message"])[-1])


def as_one_line(text: str) -> str:
    """A message of any length and shape, fit for a line."""
    return " ".join(text.split())[:300]


def _flags() -> list[str]:
    flags = sys.flags
    given = {
        "-P": True,
        "-E": flags.ignore_environment,
        "-s": flags.no_user_site,
        "-S": flags.no_site,
        "-B": flags.dont_write_bytecode,
        "-" + "O" * flags.optimize: flags.optimize,
    }
    return [flag for flag, wanted in given.items() if wanted]


def _is_installed() -> bool:
    """Whether the package is found without the current folder."""
    root = package_root()
    return sys.path[:1] != [root] or root != _current_folder() or sys.path.count(root) > 1


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""

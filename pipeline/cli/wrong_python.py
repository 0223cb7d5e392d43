"""Checks which Python runs the program, and says what to type when it is the wrong one.

Any Python, however old, can parse this file, ``__init__`` and ``__main__``; otherwise an old Python
could not print the error. Therefore they have no annotations, no f-strings and no pathlib.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # for the type comments
    from collections.abc import Sequence  # noqa: F401
    from typing import NoReturn  # noqa: F401

OLDEST = (3, 11)
GONE = "the current folder no longer exists: change to another one with `cd`"
CLONE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def refuse(why):
    # type: (str) -> NoReturn
    """Print one clear line and exit with the code of wrong usage."""
    sys.stderr.write("error: " + why + "\n")
    sys.exit(2)


def refuse_path():
    # type: () -> NoReturn
    """Refuse to run when a file of the package was started by its path."""
    where = _how_to_activate("`python -m pipeline`")
    refuse("pipeline is not started by the path of one of its files: " + where)


def refusal(version):
    # type: (Sequence[int]) -> str
    """Why a Python of this version cannot run the program; "" when it can."""
    if tuple(version[:2]) >= OLDEST:
        return ""
    shown, needed = _dotted(version[:3]), _dotted(OLDEST)
    what = "this is Python " + shown + " (" + sys.executable + "), and pipeline needs " + needed
    return what + " or newer: " + _how_to_activate()


def incomplete(module):
    # type: (str) -> str
    """What to type when a third-party module cannot be found."""
    name = module.partition(".")[0]
    what = name + " is not installed for this Python (" + sys.executable + "): "
    if "." in module and _is_there(name):  # a part of it is missing, which another version has
        what = name + " of this Python (" + sys.executable + ") has another version: "
    if name.lstrip("_") in sys.stdlib_module_names:
        return what + "it belongs to Python itself; install a complete Python 3.11 or newer"
    if sys.prefix != sys.base_prefix:  # an environment is active: what it lacks goes into it
        return what + _how_to_install()
    return what + _how_to_activate()


def unfit(error):
    # type: (Exception) -> str
    """What to type when the program cannot be loaded for another reason."""
    what = "pipeline cannot be loaded by this Python (" + sys.executable + "): "
    what += type(error).__name__ + ": " + " ".join(str(error).split()) + "; "
    return what + _how_to_install() + " (--debug shows where)"


def folder_is_gone():
    # type: () -> bool
    """Whether the current folder was deleted: PyTorch and other programs cannot start there."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _is_there(name):
    # type: (str) -> bool
    from importlib.util import find_spec

    return find_spec(name) is not None


def _how_to_activate(then="the command again"):
    # type: (str) -> str
    if not _is_clone():
        return "start it with the Python that it was installed for"
    activate, setup = "`. .venv/bin/activate`", ""
    if not os.path.exists(os.path.join(CLONE, ".venv", "bin", "activate")):
        setup = "`make setup`, then "
    return _in_clone(setup + activate + ", then " + then)


def _how_to_install():
    # type: () -> str
    if not _is_clone():
        return "install pipeline again, together with what it needs"
    return _in_clone("`" + sys.executable + " -m pip install -e .`")


def _in_clone(words):
    # type: (str) -> str
    here = os.path.realpath(os.curdir) == os.path.realpath(CLONE)
    return "type " + words if here else "in the folder " + CLONE + " type " + words


def _is_clone():
    # type: () -> bool
    return os.path.exists(os.path.join(CLONE, "pyproject.toml"))


def _dotted(version):
    # type: (Sequence[int]) -> str
    return ".".join(str(part) for part in version)

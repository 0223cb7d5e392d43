"""Paths from configs and command lines: made absolute, checked, and errors put into words."""

import errno
import os
import re
import stat
from pathlib import Path

# Longer paths leave no room for the names of pictures below them (PATH_MAX is 4096 bytes).
MOST_BYTES = 3072
MOST_NAME_BYTES = 255


def absolute_path(text: str | Path, base: Path) -> Path:
    """A path from a config file, relative to ``base``.

    Raises:
        ValueError: No file can ever lie there; the text is fit for the reader of the config.
    """
    system_text(str(text))
    if is_web_address(str(text)):
        raise ValueError("{} ({})".format(*why_web_address(str(text))))
    try:
        path = base / Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0]
        raise ValueError(f"there is no user {user.removeprefix('~')!r} on this machine") from None
    names = [os.fsencode(part) for part in path.parts]
    if max(map(len, names), default=0) > MOST_NAME_BYTES:
        raise ValueError(f"a name in this path is longer than {MOST_NAME_BYTES} bytes")
    if len(os.fsencode(path)) > MOST_BYTES:
        raise ValueError(f"this path is longer than {MOST_BYTES} bytes")
    if _status(path) == errno.ELOOP:
        raise ValueError(f"{path} is a link that points to itself")
    return path


def is_web_address(text: str) -> bool:
    """Whether a text is a URL: http://, s3://, file:// ... ``Path`` leaves one of the slashes."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text) is not None


def why_web_address(text: str) -> tuple[str, str]:
    """Why an address is not a path, and what to do instead."""
    scheme, _, rest = text.partition(":")
    if scheme.lower() == "file":
        return "is an address, not a path", f"write /{rest.lstrip('/')}"
    what = "is a web address, not a path"
    if scheme.lower() in ("smb", "nfs", "afp", "sftp", "ftp", "dav", "davs"):
        return what, "mount the share and give the path where it is mounted"
    return what, "download it first and give the path of the file or folder"


def system_text(text: str) -> str:
    """A text that the system takes: a path, a program's argument.

    Raises:
        ValueError: It holds a NUL character, or half a surrogate pair.
    """
    if "\0" in text:
        raise ValueError("a NUL character cannot be used here")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ValueError(
            "this text contains half a surrogate pair, which cannot be used here"
        ) from None
    return text


def real_path(path: Path) -> Path:
    """The path without links, as far as it exists. Unlike ``Path.resolve`` it never raises."""
    return Path(os.path.realpath(path))


def why_no_file(path: Path) -> str:
    """Why a path cannot be read as a regular file, in words; "" where it can be."""
    found = _status(path)
    if isinstance(found, int):
        return os.strerror(found).lower()
    if not stat.S_ISREG(found.st_mode):
        return "is a folder, not a file" if stat.S_ISDIR(found.st_mode) else "not a regular file"
    return "" if os.access(path, os.R_OK) else os.strerror(errno.EACCES).lower()


def why_no_folder(path: Path) -> str:
    """Which file is in the way of a folder, in words; "" where one is, or could be created."""
    for place in (path, *path.parents):
        found = _status(place)
        if isinstance(found, int):
            continue  # the nearest that exists decides
        if stat.S_ISDIR(found.st_mode):
            return ""
        return f"{place} is {'a' if stat.S_ISREG(found.st_mode) else 'a special'} file"
    return ""


def is_file(path: Path) -> bool:
    """Whether a regular file lies there and can be seen. It never raises."""
    found = _status(path)
    return not isinstance(found, int) and stat.S_ISREG(found.st_mode)


def is_folder(path: Path) -> bool:
    """Whether a folder lies there and can be seen. Unlike ``Path.is_dir`` it never raises."""
    found = _status(path)
    return not isinstance(found, int) and stat.S_ISDIR(found.st_mode)


def _status(path: Path) -> os.stat_result | int:
    """What lies there, through links; the number of the system's error where it cannot be said."""
    try:
        return path.stat()
    except OSError as error:
        return error.errno or errno.EIO
    except ValueError:  # NUL: there is no such name
        return errno.ENOENT

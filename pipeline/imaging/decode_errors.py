"""Turns errors of decoding an untrusted file into one of our errors that names the file."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import EngineError, InputError, Reason
from pipeline.system.text import encodable


@contextmanager
def errors_name_file(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside becomes one of our errors, naming the file."""
    try:
        yield
    except InputError as error:
        error.where = encodable(str(path))
        raise
    except Exception as error:  # decoders raise anything at all on hostile bytes
        ours = _translate(error)
        ours.where = encodable(str(path))
        raise ours from error


def _translate(error: Exception) -> InputError | EngineError:
    if isinstance(error, MemoryError):
        hint = "make it smaller, or close other programs"
        return EngineError("not enough memory to decode it", hint=hint, code=Reason.OUT_OF_MEMORY)
    if isinstance(error, OSError) and error.errno:  # Pillow's own, on bad bytes, have no number
        return _translate_os_error(error)
    if any(phrase in str(error) for phrase in ("not supported", "not available", "Unsupported")):
        return unsupported(f"this kind of picture cannot be decoded: {error}")
    return damaged("the file is cut off or damaged")


def _translate_os_error(error: OSError) -> InputError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
        return InputError("no such file", hint="put it back", code=Reason.VANISHED)
    if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV):
        return not_regular()
    what = f"the file cannot be read: {error.strerror}"
    hint = "give this account permission to read it"
    return InputError(what, hint=hint, code=Reason.UNREADABLE)


def not_regular() -> InputError:
    what = "this is not a regular file but a folder, link, pipe or device"
    return InputError(what, hint="replace it with the picture itself", code=Reason.NOT_REGULAR_FILE)


def unsupported(what: str) -> InputError:
    return InputError(what, hint="export it as JPEG or PNG", code=Reason.UNSUPPORTED_FORMAT)


def damaged(what: str) -> InputError:
    return InputError(what, hint="copy or download it again", code=Reason.TRUNCATED)

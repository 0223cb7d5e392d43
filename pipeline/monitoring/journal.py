"""The service's own log for operators: the standard library's logging as JSON lines.

Any module may call ``logging.getLogger(__name__)``; an open `Journal` writes every record that
reaches the logger ``pipeline``. Nothing depends on it: a full disk loses lines of the log only.
"""

import errno
import json
import logging
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Self

from pipeline.config.sections import DEFAULT_LOG, Log
from pipeline.errors import ConfigError
from pipeline.system.safe_files import open_regular, opened
from pipeline.system.text import timestamp, visible

ROOT = "pipeline"
NAME = DEFAULT_LOG
# How every line of this log begins; a line of another program, or of runs.jsonl, does not.
_MARK = b'{"ts": "'
_TORN = rb"(?:\{[^\n]{0,80}?\n*)?"  # a first line that a full disk cut
_BEGINNING = re.compile(rb"\n*" + _TORN + _MARK + rb'[^"\n]{1,40}", "level": "')
_MOST_CUT = 40  # bytes: of a line that was cut before its level
_MOST_BEGINNING = 256  # bytes
FOREIGN = "a file that this program did not write has this name"
_SECRET = ("token", "password", "secret", "authorization")


class Journal:
    """Writes the log of a run while it is open. A context manager.

    Args:
        options: The log options of the config.
        state: The state folder, which holds the log unless the options name a file.

    Raises:
        ConfigError: On entering, when a file that the options name, or a rotated one, exists and
            this program did not write it.
    """

    def __init__(self, options: Log, state: Path) -> None:
        self._options = options
        self._logger = logging.getLogger(ROOT)
        self._before = self._logger.level
        self._handler: _LogFile | None = None
        if options.level != "off":
            path = options.file or state / NAME
            self._handler = _LogFile(path, options.bytes, options.keep, follow=bool(options.file))
            self._level = logging.getLevelNamesMapping()[options.level.upper()]

    def __enter__(self) -> Self:
        if self._handler:
            refuse_foreign_log(self._options)
            self._logger.addHandler(self._handler)
            self._logger.setLevel(self._level)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handler:
            self._logger.removeHandler(self._handler)
            self._logger.setLevel(self._before)
            with suppress(OSError):  # the disk is full
                self._handler.close()

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._handler.lost if self._handler else 0


class _LogFile(RotatingFileHandler):
    """Appends lines; never raises, never prints."""

    def __init__(self, path: Path, size: int, keep: int, *, follow: bool) -> None:
        super().__init__(path, maxBytes=size, backupCount=keep, encoding="ascii", delay=True)
        self.setFormatter(_JsonFormatter())
        self.lost = 0
        self._follow = follow  # the user may name a link

    def _open(self) -> Any:
        path = Path(self.baseFilename)
        if self._follow:
            _refuse_foreign([path])
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, follow=self._follow)
        stream = os.fdopen(fd, "a", encoding=self.encoding)
        if self.lost:
            stream.write("\n")  # the last line may be incomplete
        return stream

    def doRollover(self) -> None:  # a method of logging
        """Rotate the log; files of other programs that have one of its names by now stay."""
        if self._follow:
            _refuse_foreign(log_files(Path(self.baseFilename), self.backupCount))
        super().doRollover()

    def handleError(self, _record: logging.LogRecord) -> None:  # a method of logging
        self.lost += 1
        stream, self.stream = self.stream, None
        with suppress(OSError, ValueError):
            if stream:
                stream.close()


def refuse_foreign_log(options: Log) -> None:
    """Refuse a log file of the options under whose names, rotated ones too, a file of others lies.

    Raises:
        ConfigError: With the name.
    """
    if options.file is None or options.level == "off":
        return
    try:
        _refuse_foreign(log_files(options.file, options.keep))
    except FileExistsError as error:
        where, hint = f"log.file: {error.filename}", "choose another name, or move that file away"
        raise ConfigError(FOREIGN, where=where, hint=hint) from None


def log_files(path: Path, keep: int) -> list[Path]:
    """A log file and the rotated files beside it."""
    return [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, keep + 1))]


def _refuse_foreign(paths: Iterable[Path]) -> None:
    """Raise FileExistsError for a file that does not begin as this log does; empty is no file."""
    for path in paths:
        content = b""
        with suppress(OSError), opened(path, follow=True) as file:  # no file: nothing to lose
            content = file.read(_MOST_BEGINNING)
        if content and not _is_beginning(content):
            raise FileExistsError(errno.EEXIST, FOREIGN, str(path))


class _JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line."""
        line = {
            "ts": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "event": visible(record.getMessage()),
            **sanitize_facts(getattr(record, "facts", {})),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["exception"] = visible(f"{type(error).__name__}: {error}")
        return json.dumps(line)


def sanitize_facts(facts: Any) -> Any:
    """Remove secrets, and characters that could control the terminal that shows the log."""
    if isinstance(facts, dict):
        return {
            str(key): "***" if _is_secret(str(key)) else sanitize_facts(fact)
            for key, fact in facts.items()
        }
    if isinstance(facts, list | tuple):
        return [sanitize_facts(fact) for fact in facts]
    if facts is None or isinstance(facts, bool | int | float):
        return facts
    return visible(str(facts))


def _is_beginning(content: bytes) -> bool:
    """Whether a log of this program begins so."""
    line = content.strip(b"\n")
    cut = len(line) < _MOST_CUT and b"\n" not in line
    return (
        bool(_BEGINNING.match(content))
        or not line
        or (cut and line[: len(_MARK)] == _MARK[: len(line)])
    )


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET)


def note(event: str, level: int = logging.INFO, name: str = ROOT, **facts: object) -> None:
    """Log an event by its short, stable name, with its facts."""
    logging.getLogger(name).log(level, event, extra={"facts": facts})

"""The service's own log for operators: the standard library's logging as JSON lines.

Any module may call ``logging.getLogger(__name__)``; an open `Journal` writes every record that
reaches the logger ``pipeline``. Nothing depends on it: a full disk loses lines of the log only.
"""

import json
import logging
import os
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Self

from pipeline.config.sections import Log
from pipeline.system.safe_files import open_regular
from pipeline.system.text import timestamp, visible

ROOT = "pipeline"
NAME = "logs/pipeline.jsonl"
_SECRET = ("token", "password", "secret", "authorization")


class Journal:
    """Writes the log of a run while it is open. A context manager.

    Args:
        options: The log options of the config.
        state: The state folder, which holds the log unless the options name a file.
    """

    def __init__(self, options: Log, state: Path) -> None:
        self._logger = logging.getLogger(ROOT)
        self._before = self._logger.level
        self._handler: _LogFile | None = None
        if options.level != "off":
            path = options.file or state / NAME
            self._handler = _LogFile(path, options.bytes, options.keep, follow=bool(options.file))
            self._level = logging.getLevelNamesMapping()[options.level.upper()]

    def __enter__(self) -> Self:
        if self._handler:
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
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, follow=self._follow)
        stream = os.fdopen(fd, "a", encoding=self.encoding)
        if self.lost:
            stream.write("\n")  # the last line may be incomplete
        return stream

    def handleError(self, _record: logging.LogRecord) -> None:  # a method of logging
        self.lost += 1
        stream, self.stream = self.stream, None
        with suppress(OSError, ValueError):
            if stream:
                stream.close()


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


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET)


def note(event: str, level: int = logging.INFO, name: str = ROOT, **facts: object) -> None:
    """Log an event by its short, stable name, with its facts."""
    logging.getLogger(name).log(level, event, extra={"facts": facts})

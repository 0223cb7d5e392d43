"""What the service itself did, for operators: the standard library's logging as JSON lines.

Any module may call ``logging.getLogger(__name__)``; what reaches the logger ``pipeline`` while a
`Journal` is open is written down. It informs and decides nothing: a full disk costs lines only.
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
        options: The config's.
        state: The state folder, where the log lies unless the options say otherwise.
    """

    def __init__(self, options: Log, state: Path) -> None:
        self._logger = logging.getLogger(ROOT)
        self._before = self._logger.level
        self._handler: _File | None = None
        if options.level != "off":
            path = options.file or state / NAME
            self._handler = _File(path, options.bytes, options.keep, follow=bool(options.file))
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
            with suppress(OSError):  # what a full disk did not take
                self._handler.close()

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._handler.lost if self._handler else 0


class _File(RotatingFileHandler):
    """Appends lines; never raises, never prints."""

    def __init__(self, path: Path, size: int, keep: int, *, follow: bool) -> None:
        super().__init__(path, maxBytes=size, backupCount=keep, encoding="ascii", delay=True)
        self.setFormatter(_AsJson())
        self.lost = 0
        self._follow = follow  # a link that the user named

    def _open(self) -> Any:
        path = Path(self.baseFilename)
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, follow=self._follow)
        stream = os.fdopen(fd, "a", encoding=self.encoding)
        if self.lost:
            stream.write("\n")  # what came last may be half a line
        return stream

    def handleError(self, _record: logging.LogRecord) -> None:  # the name is logging's own
        self.lost += 1
        stream, self.stream = self.stream, None
        with suppress(OSError, ValueError):
            if stream:
                stream.close()


class _AsJson(logging.Formatter):
    """One ASCII object: when, how grave, who, what happened, and its facts."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
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
    """Facts without secrets, whose texts do nothing to the terminal that shows them one day."""
    if isinstance(facts, dict):
        return {
            str(key): "***"
            if any(word in str(key).lower() for word in _SECRET)
            else sanitize_facts(fact)
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
    """One line of the log: a short, stable word and what belongs to it."""
    logging.getLogger(name).log(level, event, extra={"facts": facts})

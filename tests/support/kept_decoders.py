"""Decoders whose process goes on to the next studio: its start takes longer than most tests."""

import threading
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen
from typing import Any

from pipeline.config.sections import Limits
from pipeline.errors import JobError
from pipeline.imaging import sandbox
from pipeline.imaging.sandbox import Decoder

_kept: dict[str, tuple[Popen[bytes], Any]] = {}


class KeptDecoder(Decoder):
    """A decoder that takes over an idle process of its kind, and leaves its own when it is closed.

    One that is at work then is ended as usual, and so is one that a file has crashed.
    """

    _at_work, _turn, _kind = False, threading.Lock(), ""

    def _running(self) -> Popen[bytes]:
        with self._turn:
            kind = f"{sandbox.PROGRAM} {self.preallocated} {self.limits.model_dump_json()}"
            if self.process is None or self.process.poll() is not None:
                self._kind = kind  # of the process that it gets now
            if self.process is None and not self._closed and kind in _kept:
                self.process, self._answers = _kept.pop(kind)
        return super()._running()

    def _answer(
        self, path: Path, how: Mapping[str, Any], seconds: float
    ) -> tuple[dict[str, Any], memoryview]:
        self._at_work = True
        try:
            found = super()._answer(path, how, seconds)
        except JobError:  # of the file: the answer is complete, or the process has been ended
            self._at_work = False
            raise
        self._at_work = False
        return found

    def close(self) -> None:
        with self._turn:
            process = self.process
            idle = process is not None and not self._at_work and process.poll() is None
            if idle and self._kind not in _kept:
                _kept[self._kind] = (process, self._answers)
                self.process = None
        super().close()


def end_kept_decoders() -> None:
    """Once there are no more studios."""
    while _kept:
        _, (process, _) = _kept.popitem()
        ended = Decoder(Limits())
        ended.process = process
        ended.close()

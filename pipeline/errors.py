"""Every error this program raises on purpose, and the reason codes of the run log.

    PipelineError            what happened, where, how to fix it; carries an exit code
    |-- UsageError           2  the command line makes no sense
    |-- ConfigError          2  config.yaml: names the file, the key path and the nearest valid key
    |-- ClusterLostError     2  the Ray cluster is gone; only another process connects again
    |-- LockedError          2  another instance works on this state folder
    |-- WeightsError         2  VGG-19 weights missing, wrong or unreachable
    |-- MissingExtraError    2  an optional dependency; carries the install line
    |-- StateError           1  the jobs database or a folder cannot be used
    |   |-- InboxError       2  the inbox is gone, or is another one: never treated as empty
    |   |-- BusyError        1  another program uses the jobs database: work pauses
    |   `-- DiskFullError    1  the state folder's disk is full: work pauses
    `-- JobError             1  one photograph or one pair failed; carries a reason code
        |-- InputError          the content or style image is at fault: another try would not help
        |   `-- ChangedError    a file no longer holds what was planned: the pair is planned again
        |-- EngineError         the transfer is at fault (numbers, memory, device)
        |-- OutputError         the result could not be written or did not verify
        `-- PlaceError       2  the machine is at fault: work pauses, and no photo fails

Errors of libraries are translated into these where the library is called.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.system.text import encodable

DISTRIBUTION = "neural-style-studio"  # the name on the package index


class Reason(StrEnum):
    """Stable reason codes, as written to ``runs.jsonl`` (``error.code``); see docs/reasons.md."""

    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_LARGE = "too_large"
    ANIMATED = "animated"
    DECODE_CRASH = "decode_crash"
    DECODE_TIMEOUT = "decode_timeout"
    NOT_REGULAR_FILE = "not_regular_file"
    HARDLINKED = "hardlinked"
    UNREADABLE = "unreadable"
    IGNORED = "ignored"
    NO_MATCH = "no_match"
    DUPLICATE = "duplicate"
    VANISHED = "vanished"
    SIDECAR_INVALID = "sidecar_invalid"
    STYLE_INVALID = "style_invalid"
    ENGINE_ERROR = "engine_error"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_CRASHED = "worker_crashed"
    STALLED = "stalled"
    OUTPUT_INVALID = "output_invalid"
    PUBLISH_CONFLICT = "publish_conflict"
    IO_ERROR = "io_error"
    DISK_FULL = "disk_full"
    DECODER_UNAVAILABLE = "decoder_unavailable"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    WEIGHTS_INVALID = "weights_invalid"
    INTERRUPTED = "interrupted"


class PipelineError(Exception):
    """Base of all errors raised on purpose.

    Args:
        what: What went wrong, in one clause.
        where: The file, key or device concerned ("" if there is none).
        hint: What the reader can do about it ("" if nothing).
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, encodable(where), hint
        super().__init__(what, self.where, hint)

    def __str__(self) -> str:
        """One clear line: where, what, hint."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head} ({self.hint})" if self.hint else head

    def __reduce__(self) -> tuple[object, ...]:
        # Errors are sent between processes: keep the keyword arguments that Exception would lose.
        return _rebuild, (type(self), self.__dict__)


class UsageError(PipelineError):
    """The command line makes no sense: arguments are missing, unknown or contradict each other."""

    exit_code = 2


class ConfigError(PipelineError):
    """config.yaml cannot be used."""

    exit_code = 2


class ClusterLostError(PipelineError):
    """The Ray cluster is gone, and its client cannot connect to it again in this process."""

    exit_code = 2


class LockedError(PipelineError):
    """Another instance holds the state folder or the outbox."""

    exit_code = 2


class WeightsError(PipelineError):
    """VGG-19 weights are missing, damaged or unreachable."""

    exit_code = 2


def install_command(extra: str) -> str:
    """The line that installs an extra: into a clone, or beside an installed wheel."""
    clone = Path(__file__).resolve().parent.parent
    if (clone / "pyproject.toml").exists():
        return f'python -m pip install -e ".[{extra}]"'
    return f'python -m pip install "{DISTRIBUTION}[{extra}]"'


class MissingExtraError(PipelineError):
    """An optional dependency is not installed."""

    exit_code = 2

    @classmethod
    def of(cls, package: str, extra: str) -> "MissingExtraError":
        """The error for ``package``, with the line that installs ``extra``."""
        return cls(f"{package} is not installed", hint=install_command(extra))


class StateError(PipelineError):
    """The jobs database, the state folder or the outbox cannot be used."""


class InboxError(StateError):
    """The inbox cannot be read, or another folder lies in its place."""

    exit_code = 2


class BusyError(StateError):
    """Another program, such as a backup, has locked the jobs database; work pauses meanwhile."""


class DiskFullError(StateError):
    """The disk of the state folder is full; work pauses until there is space again."""


class JobError(PipelineError):
    """One photograph, or one pair of photograph and style, failed."""

    default_code = Reason.ENGINE_ERROR

    def __init__(
        self, what: str, *, where: str = "", hint: str = "", code: Reason | None = None
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.code = code or self.default_code


class InputError(JobError):
    """The photo or painting itself is at fault."""

    default_code = Reason.UNSUPPORTED_FORMAT


class ChangedError(InputError):
    """A file does not hold what the job says: the plan is out of date, and nothing failed."""

    default_code = Reason.VANISHED

    def __init__(self, path: Path) -> None:
        what = "was replaced after the job was planned"
        super().__init__(what, where=str(path), hint="try again")
        self.path = path


class EngineError(JobError):
    """The transfer is at fault."""

    default_code = Reason.ENGINE_ERROR


class OutputError(JobError):
    """A result could not be written or did not verify."""

    default_code = Reason.OUTPUT_INVALID


class PlaceError(JobError):
    """The machine is at fault (`Blame.MACHINE`): work pauses until it is repaired; nothing fails.

    The name is pinned by tests/project/test_pins.py; the word for it elsewhere is machine.
    """

    default_code = Reason.ENGINE_UNAVAILABLE
    exit_code = 2


def _rebuild(kind: type[PipelineError], state: dict[str, object]) -> PipelineError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    Exception.__init__(error, *(state[k] for k in ("what", "where", "hint")))
    return error


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file or job was not done: a stable reason code and one clear line."""

    code: Reason
    message: str

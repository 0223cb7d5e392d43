"""Which reason an error of a job has: whatever is raised becomes a `Failure`."""

import traceback
from pathlib import Path

import torch

from pipeline.errors import EngineError, Failure, JobError, PipelineError, Reason, WeightsError
from pipeline.system.safe_files import is_disk_full


def describe_failure(error: Exception) -> Failure:
    """The reason code and the message of an error."""
    if isinstance(error, JobError):
        return Failure(error.code, str(error))
    if isinstance(error, WeightsError):
        return Failure(Reason.WEIGHTS_INVALID, f"weights: {error}")
    if isinstance(error, PipelineError):
        return Failure(Reason.ENGINE_ERROR, str(error))
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in str(error):
        error = EngineError("out of memory", hint="choose a smaller size or another device")
        return Failure(Reason.OUT_OF_MEMORY, str(error))
    line = " ".join(str(error).split())[:300]
    if isinstance(error, ImportError):
        return Failure(Reason.ENGINE_UNAVAILABLE, f"{line} (install the package again)")
    if isinstance(error, OSError):
        return Failure(Reason.DISK_FULL if is_disk_full(error) else Reason.IO_ERROR, line)
    if "CUDA error" in line:  # after this, the device fails until the process restarts
        return Failure(Reason.WORKER_CRASHED, line)
    return Failure(Reason.ENGINE_ERROR, f"{type(error).__name__}: {line}{_describe_place(error)}")


def _describe_place(error: Exception) -> str:
    """Where in the code an unexpected error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" (in {Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""

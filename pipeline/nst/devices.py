"""Which device computes."""

import torch

from pipeline.errors import EngineError


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """``auto`` is the accelerator that torch finds (CUDA, ROCm, MPS, XPU), else the CPU.

    Raises:
        EngineError: When the named device is not there.
    """
    if str(name) == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found if found is not None else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cpu":
        return device
    there = torch.accelerator.current_accelerator(check_available=True)
    if there is None or there.type != device.type:
        mend = "device: auto takes what there is"
        raise EngineError("there is no such device here", where=str(device), mend=mend)
    if (device.index or 0) >= torch.accelerator.device_count():
        count = torch.accelerator.device_count()
        raise EngineError(f"only {count} of its kind here", where=str(device), mend="counting: 0")
    return device

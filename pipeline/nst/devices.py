"""Chooses the device to compute on, and finds the devices of this machine."""

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
    try:
        device = torch.device(name)
    except RuntimeError:
        hint = "auto, cpu, cuda, cuda:1 or mps"
        raise EngineError(f"no device {str(name)!r}", hint=hint) from None
    if device.type == "cpu":
        return device
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None or found.type != device.type:
        hint = "device: auto uses what is available"
        raise EngineError("this machine has no such device", where=str(device), hint=hint)
    if (device.index or 0) >= torch.accelerator.device_count():
        count = torch.accelerator.device_count()
        raise EngineError(
            f"this machine has only {count} of this kind",
            where=str(device),
            hint="numbers start at 0",
        )
    return device


def find_devices(name: str = "auto") -> tuple[tuple[str, int], ...]:
    """Names and free memory in bytes (0: not known) of the devices that a name stands for.

    ``auto`` stands for every accelerator there is, or for the CPU where there is none.

    Raises:
        EngineError: When the named device is not there.
    """
    device = choose_device(name)
    if name != "auto" or device.type in ("cpu", "mps"):  # a Mac has one of its kind
        return ((name if name != "auto" else device.type, _free_bytes(device)),)
    every = [torch.device(device.type, index) for index in range(torch.accelerator.device_count())]
    return tuple((str(one), _free_bytes(one)) for one in every)


def _free_bytes(device: torch.device) -> int:
    memory_info = getattr(torch.get_device_module(device), "mem_get_info", None)
    if memory_info is None:
        return 0
    free: int = memory_info(device)[0]
    return free

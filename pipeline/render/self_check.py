"""Checks decoder, weights and devices by using them, for `doctor` and before a worker starts."""

from pipeline.config.sections import Limits
from pipeline.errors import EngineError
from pipeline.imaging.sandbox import KNOWN_GOOD, Decoder


def check_decoder(limits: Limits) -> str:
    """Start a decoder, as for a photo, and decode a picture with it."""
    decoder = Decoder(limits, preallocated=0)
    try:
        decoder.start()
        decoder.probe(KNOWN_GOOD)
    finally:
        decoder.close()
    return "starts, in a process of its own"


def check_weights(source: str) -> str:
    """Load the weights and compare them with their checksum."""
    from pipeline.nst.weights import load_weights

    count = sum(tensor.numel() for tensor in load_weights(source).values())
    return f"{source}: {count:,} numbers, verified"


def list_devices(name: str) -> tuple[tuple[str, int], ...]:
    """List the devices that a name stands for, each with its free memory in bytes."""
    from pipeline.nst.devices import find_devices  # loads torch

    return find_devices(name)


def check_device(name: str) -> str:
    """Compute on each device that a name stands for; `auto` may stand for several."""
    found = list_devices(name)
    several = f"{len(found)} devices, each a worker: " if len(found) > 1 else ""
    return several + "; ".join(_use_device(*device) for device in found)


def _use_device(name: str, free: int) -> str:
    import torch

    device = torch.device(name)
    ones = torch.ones(8, 8, device=device)
    if float((ones @ ones).sum()) != 512.0:
        raise EngineError("computes wrong results", where=str(device), hint="choose another device")
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    memory = f", {free / 2**30:.1f} GiB free" if free else ""
    return f"{device}{threads}{memory}"

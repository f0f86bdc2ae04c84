#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Convert the two ONNX networks to the package's safetensors files and record their SHA-256.

    python tools/convert_weights.py FOLDER

FOLDER holds nanodet_g_coco/nanodet_g_416.onnx and selfie_segmentation/selfie_segmentation_256.onnx. Values
are stored in half precision, the originals' own: a value that does not survive the round trip is an error.
Running it again gives the same bytes. Needs the onnx package.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save

from pyvision import nn
from pyvision.models.nanodet_g import NanoDet
from pyvision.models.selfie_segmentation import SelfieSegmentation

MODELS = Path(__file__).resolve().parents[1] / "pyvision" / "models"

# Names of the convolutions in the order of the ONNX graph.
NANODET_LAYERS = [
    "backbone.stem.conv",
    *(f"backbone.stage1.{name}.conv" for name in ("entry", "blocks.0.first", "blocks.0.second", "exit")),
    *(f"backbone.stage2.{name}.conv" for name in (
        "entry", "blocks.0.first", "blocks.0.second", "blocks.1.first", "blocks.1.second", "exit")),
    "neck.laterals.0",
    *(f"backbone.stage3.{name}.conv" for name in (
        "entry", "blocks.0.first", "blocks.0.second", "blocks.1.first", "blocks.1.second", "exit")),
    "neck.laterals.1",
    *(f"backbone.stage4.{name}.conv" for name in (
        "entry", "blocks.0.first", "blocks.0.second", "blocks.1.first", "blocks.1.second",
        "blocks.2.first", "blocks.2.second", "exit")),
    "neck.laterals.2",
    "head.convs.0.conv",
    "head.convs.1.conv",
    "head.predictions.0",
    "head.convs.2.conv",
    "head.predictions.1",
    "head.predictions.2",
]  # fmt: skip

_SQUEEZE = ("expand", "depthwise.conv", "gate.reduce", "gate.expand", "project")
_PLAIN = ("expand", "depthwise.conv", "project")
_DECODER = ("reduce", "gate.reduce", "gate.expand", "mix", "depthwise.conv")
SELFIE_LAYERS = [
    "stem.conv",
    *(f"block1.{name}" for name in _SQUEEZE),
    *(f"block{i}.{name}" for i in (2, 3) for name in _PLAIN),
    *(f"block{i}.{name}" for i in (4, 5, 6, 7, 8) for name in _SQUEEZE),
    "context.features",
    "context.scale",
    *(f"decoder{i}.{name}" for i in (1, 2, 3) for name in _DECODER),
    "mask",
]


def read_layers(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weight, bias) of each convolution, in the order of the graph.

    A bias may stand in the node, or in an Add of a constant right behind it, possibly after a residual's Add.
    """
    graph = onnx.load(path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def bias_behind(value: str, channels: int) -> np.ndarray:
        adds = [node for node in readers[value] if node.op_type == "Add"]
        for add in adds:
            for name in add.input:
                if name in constants and constants[name].size == channels:
                    return constants[name].reshape(channels)
        if len(adds) != 1:
            raise ValueError(f"no bias found behind {value} in {path}")
        return bias_behind(adds[0].output[0], channels)

    layers = []
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        weight = constants[node.input[1]]
        channels = weight.shape[1] if node.op_type == "ConvTranspose" else weight.shape[0]
        has_bias = len(node.input) == 3
        layers.append(
            (weight, constants[node.input[2]] if has_bias else bias_behind(node.output[0], channels))
        )
    return layers


def to_half(name: str, array: np.ndarray) -> np.ndarray:
    """The array in half precision, which must hold it exactly."""
    half = array.astype(np.float16)
    if not np.array_equal(half.astype(np.float32), array):
        raise ValueError(f"{name} loses precision in half precision")
    return half


def convert(onnx_path: Path, layer_names: list[str], model: nn.Module) -> bytes:
    """The bytes of a safetensors file whose names are the model's."""
    layers = read_layers(onnx_path)
    state = {}
    for name, (weight, bias) in zip(layer_names, layers, strict=True):
        state[f"{name}.weight"] = to_half(f"{name}.weight", weight)
        state[f"{name}.bias"] = to_half(f"{name}.bias", bias)
    model.load_state_dict(state)  # refuses names and shapes that are not the model's
    return save(state)


def record_sha256(file_name: str, digest: str) -> None:
    """Write the digest into the registry of weights.py."""
    registry = MODELS / "weights.py"
    text, count = re.subn(
        rf'("{re.escape(file_name)}", ")[^"]*(")', rf"\g<1>{digest}\g<2>", registry.read_text()
    )
    if count != 1:
        raise ValueError(f"{registry} lists {file_name} {count} times")
    registry.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with nn.init.placeholders():
        jobs = [
            ("nanodet_g", folder / "nanodet_g_coco" / "nanodet_g_416.onnx", NANODET_LAYERS, NanoDet()),
            (
                "selfie_segmentation",
                folder / "selfie_segmentation" / "selfie_segmentation_256.onnx",
                SELFIE_LAYERS,
                SelfieSegmentation(),
            ),
        ]
    for name, onnx_path, layer_names, model in jobs:
        data = convert(onnx_path, layer_names, model)
        file_name = f"{name}.safetensors"
        (MODELS / "weights" / file_name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        record_sha256(file_name, digest)
        print(f"{file_name}: {len(data):,} bytes, half precision is exact, SHA-256 {digest}")


if __name__ == "__main__":
    main()

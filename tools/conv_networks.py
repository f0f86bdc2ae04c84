#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write pyvision/profile/networks/*.json: each different convolution once, and its count.

    python tools/conv_networks.py

Shapes are recorded from torchvision's own modules while they run on the meta device, and from pyvision's own
nanodet_g while it is traced. Running it again with the same torchvision gives the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from pyvision import models, nn

FOLDER = Path(__file__).resolve().parents[1] / "pyvision" / "profile" / "networks"

# file name -> (title, torchvision's constructor, height and width of the input)
TORCHVISION: dict[str, tuple[str, Callable[[], Any], int]] = {
    "resnet50": ("ResNet-50", torchvision.models.resnet50, 224),
    "resnext50_32x4d": ("ResNeXt-50 32x4d", torchvision.models.resnext50_32x4d, 224),
    "vgg16": ("VGG-16", torchvision.models.vgg16, 224),
    "mobilenet_v2": ("MobileNetV2", torchvision.models.mobilenet_v2, 224),
    "efficientnet_b0": ("EfficientNet-B0", torchvision.models.efficientnet_b0, 224),
    "deeplabv3": (
        "DeepLabV3 ResNet-50",  # output stride 8, rates 12, 24 and 36
        lambda: torchvision.models.segmentation.deeplabv3_resnet50(weights_backbone=None),
        513,
    ),
}


def row(conv: Any, height: int, width: int, sides: tuple[int, int, int, int]) -> dict[str, Any]:
    """The layer as networks/__init__.py reads it, defaults left out. torch's and our Conv2d share names."""
    for name in ("kernel_size", "stride", "dilation"):
        first, second = getattr(conv, name)
        if first != second:
            raise ValueError(f"expected a square {name}, got {first} and {second}")
    fields = {
        "height": height,
        "width": width,
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel": conv.kernel_size[0],
    }
    options = {
        "stride": (conv.stride[0], 1),
        "padding": ([*sides], [0, 0, 0, 0]),
        "dilation": (conv.dilation[0], 1),
        "groups": (conv.groups, 1),
    }
    return fields | {name: value for name, (value, default) in options.items() if value != default}


def torchvision_rows(build: Callable[[], Any], size: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def record(conv: Any, inputs: tuple[Any, ...], _output: Any) -> None:
        vertical, horizontal = conv.padding
        rows.append(row(conv, *inputs[0].shape[2:], (vertical, horizontal, vertical, horizontal)))

    with torch.device("meta"):
        model = build().eval()
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(record)
        with torch.no_grad():
            model(torch.empty(1, 3, size, size))
    return rows


def traced_rows(model: models.NanoDet) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    forward = nn.Conv2d.forward

    def recording(conv: nn.Conv2d, x: Any) -> Any:
        height, width, _ = x.map_shape
        rows.append(row(conv, height, width, conv.padding))
        return forward(conv, x)

    nn.Conv2d.forward = recording  # type: ignore[method-assign]
    try:
        model.raw_outputs(np.zeros((1, *model.input_shape), np.float32))
    finally:
        nn.Conv2d.forward = forward  # type: ignore[method-assign]
    return rows


def write(name: str, title: str, source: str, rows: list[dict[str, Any]]) -> None:
    """One layer per line, in the order of their first run."""
    counts = Counter(json.dumps(fields) for fields in rows)
    lines = ",\n".join(f'  {text[:-1]}, "count": {count}}}' for text, count in counts.items())
    head = f' "title": {json.dumps(title)},\n "source": {json.dumps(source)},\n'
    (FOLDER / f"{name}.json").write_text(f'{{\n{head} "layers": [\n{lines}\n ]\n}}\n')
    print(f"{name}: {len(rows)} convolutions, {len(counts)} different")


def main() -> None:
    version = torchvision.__version__.partition("+")[0]
    for name, (title, build, size) in TORCHVISION.items():
        write(name, title, f"torchvision {version}, {size}x{size} pixels", torchvision_rows(build, size))
    nanodet = models.get_model("nanodet_g")
    _, height, width = nanodet.input_shape
    write("nanodet_g", "NanoDet-g", f"pyvision, {height}x{width} pixels", traced_rows(nanodet))


if __name__ == "__main__":
    main()

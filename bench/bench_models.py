# SPDX-License-Identifier: Apache-2.0
"""The embedded networks end to end: the network alone, and with image preparation from a u8 photograph.

Peers run the ONNX description of the same network with the same weights; their image is prepared with OpenCV
(resize, subtract, divide, channels first), which is how such pipelines are written.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _common import MODELS, add_case, budget, finish, new_report, parse_arguments
from numpy.typing import NDArray

from pyvision import models, ops
from pyvision.profile import Case, compare_with_peak, profile_layers
from pyvision.profile.peers import PEERS, Floats, Prepared, candidates, drop_wrong, prepare_all


@dataclass(frozen=True)
class Network:
    name: str
    onnx: Path


NETWORKS = (
    Network("nanodet_g", MODELS / "nanodet_g_coco" / "nanodet_g_416.onnx"),
    Network("selfie_segmentation", MODELS / "selfie_segmentation" / "selfie_segmentation_256.onnx"),
)
PHOTO_SHAPE = (720, 1280, 3)


def _with_preparation(
    peer: Prepared, image: NDArray[np.uint8], target: Floats, mean: Floats, std: Floats, bgr: bool
) -> Prepared:
    """Stretches `image` into `target`, the (1, 3, H, W) array the peer reads, then runs the peer."""
    import cv2

    height, width = target.shape[2:]

    def run() -> None:
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        if bgr:
            small = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        target[0] = ((small.astype(np.float32) - mean) / std).transpose(2, 0, 1)
        peer.run()

    return Prepared(run, peer.outputs)


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("models")
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, PHOTO_SHAPE, dtype=np.uint8)
    for network in NETWORKS:
        if options.only not in network.name:
            continue
        if not network.onnx.is_file():
            print(f"skipped: {network.name}: its ONNX file is not at {network.onnx}", file=sys.stderr)
            continue
        model = models.get_model(network.name)
        spec = model.preprocessing
        height, width = spec.size
        nhwc = rng.standard_normal((1, height, width, 3), dtype=np.float32)
        nchw = np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2))
        ready, absent = prepare_all(PEERS, lambda peer: peer.model(network.onnx, nchw, options.threads))  # noqa: B023
        expected = list(model.raw_outputs(nhwc, layout="NHWC").values())
        drop_wrong(expected, ready, absent, tolerance=1e-2)  # logits of order 10

        def network_only(
            model: models.NanoDet | models.SelfieSegmentation = model, x: Floats = nhwc
        ) -> object:
            return model.raw_outputs(x, layout="NHWC")

        times, peak = compare_with_peak(candidates(network_only, ready), budget(options))
        gflop = sum(layer.gflop for layer in profile_layers(model, runs=1).layers)
        add_case(report, Case(f"{network.name}, network", times, peak, gflop, absent=absent))

        # Letterboxing would cost the peers a second copy; both sides stretch, so that the work is the same.
        mean, std = (np.asarray(values, np.float32) for values in (spec.mean, spec.std))

        def with_preparation(model: models.NanoDet | models.SelfieSegmentation = model) -> object:
            spec = model.preprocessing
            x, _ = ops.prepare_image(
                photo, spec.size, mean=spec.mean, std=spec.std, channel_order=spec.channel_order
            )
            return model.raw_outputs(x, layout="NHWC")

        prepared = {
            name: _with_preparation(peer, photo, nchw, mean, std, spec.channel_order == "BGR")
            for name, peer in ready.items()
        }
        times, peak = compare_with_peak(candidates(with_preparation, prepared), budget(options))
        add_case(report, Case(f"{network.name}, with preparation", times, peak, absent=absent))
    finish(report, options)


if __name__ == "__main__":
    main()

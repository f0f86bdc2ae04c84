# SPDX-License-Identifier: Apache-2.0
"""NanoDet-g: an anchor-free one-stage detector without depthwise convolutions.

Origin: https://github.com/RangiLyu/nanodet (Apache-2.0), configuration nanodet-g. The pieces are from
CSPNet (Wang et al., arXiv:1911.11929), PANet (Liu et al., arXiv:1803.01534), FCOS (Tian et al.,
arXiv:1904.01355) and Generalized Focal Loss (Li et al., arXiv:2006.04388).

    image (3, 416, 416)
      stem       3x3/2 convolution, 3x3/2 max pool                        32 x 104 x 104
      stage1..4  CSP blocks; the last three halve the map     64, 128, 256, 512 channels
      neck       1x1 laterals to 128 channels; sums top-down, then bottom-up, with bilinear resizes
      head       per level a 3x3 and a 1x1 convolution: 80 class scores and 4 x 11 distance bins per cell

A cell at (x, y) of the level with stride s predicts, for each side of its box, a distribution over the
distances 0, s, …, 10 s from its centre ((x + 0.5) s, (y + 0.5) s); the distribution's mean is the distance.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from pyvision import nn
from pyvision._array import Array, as_numpy, result_like, to_nhwc
from pyvision.models import weights as weights_files
from pyvision.models._spec import COCO_CATEGORIES, Preprocessing
from pyvision.ops import batched_nms, clip_boxes_to_image
from pyvision.postprocess import decode_dfl

STRIDES = (8, 16, 32)
DISTANCE_BINS = 11


class ConvAct(nn.Module):
    """k x k convolution that keeps the size (or divides it by the stride), then LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x: nn.Value) -> nn.Value:
        return self.act(self.conv(x))


class ConcatBlock(nn.Module):
    """Half the channels from one convolution, the other half from a second on top of it."""

    def __init__(self, channels: int) -> None:
        self.first = ConvAct(channels, channels // 2)
        self.second = ConvAct(channels // 2, channels // 2)

    def forward(self, x: nn.Value) -> nn.Value:
        first = self.first(x)
        return nn.cat([self.second(first), first])


class CSPBlock(nn.Module):
    """Cross-stage partial block: the entry's map goes through the blocks and also straight to the end."""

    def __init__(self, channels: int, blocks: int, stride: int) -> None:
        self.entry = ConvAct(channels, channels, stride)
        self.blocks = nn.Sequential(*(ConcatBlock(channels) for _ in range(blocks)))
        self.exit = ConvAct(channels, channels)

    def forward(self, x: nn.Value) -> nn.Value:
        entry = self.entry(x)
        return nn.cat([self.exit(self.blocks(entry)), entry])


class Backbone(nn.Module):
    """Maps at strides 8, 16 and 32 with 128, 256 and 512 channels."""

    def __init__(self) -> None:
        self.stem = ConvAct(3, 32, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage1 = CSPBlock(32, blocks=1, stride=1)
        self.stage2 = CSPBlock(64, blocks=2, stride=2)
        self.stage3 = CSPBlock(128, blocks=2, stride=2)
        self.stage4 = CSPBlock(256, blocks=3, stride=2)

    def forward(self, image: nn.Value) -> tuple[nn.Value, nn.Value, nn.Value]:
        x = self.stage1(self.pool(self.stem(image)))
        c3 = self.stage2(x)
        c4 = self.stage3(c3)
        return c3, c4, self.stage4(c4)


class PathAggregationNeck(nn.Module):
    """Laterals to one width, then sums from coarse to fine, then from fine to coarse."""

    def __init__(self, in_channels: tuple[int, ...], out_channels: int) -> None:
        self.laterals = nn.ModuleList([nn.Conv2d(channels, out_channels, 1) for channels in in_channels])

    def forward(self, maps: tuple[nn.Value, ...]) -> list[nn.Value]:
        levels = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for i in reversed(range(len(levels) - 1)):
            levels[i] = levels[i] + _resized_like(levels[i], levels[i + 1])
        for i in range(len(levels) - 1):
            levels[i + 1] = levels[i + 1] + _resized_like(levels[i + 1], levels[i])
        return levels


class Head(nn.Module):
    """Per level, num_classes channels of probabilities and 4 * DISTANCE_BINS channels of distance logits."""

    def __init__(self, channels: int, num_classes: int) -> None:
        self.sizes = (num_classes, 4 * DISTANCE_BINS)
        self.convs = nn.ModuleList([ConvAct(channels, channels) for _ in STRIDES])
        self.predictions = nn.ModuleList([nn.Conv2d(channels, sum(self.sizes), 1) for _ in STRIDES])
        self.probability = nn.Sigmoid()

    def forward(self, levels: list[nn.Value]) -> dict[str, nn.Value]:
        outputs = {}
        for stride, x, conv, prediction in zip(STRIDES, levels, self.convs, self.predictions, strict=True):
            scores, distances = nn.split(prediction(conv(x)), self.sizes)
            outputs[f"cls_stride{stride}"] = self.probability(scores)
            outputs[f"reg_stride{stride}"] = distances
        return outputs


class NanoDet(nn.Module):
    """The detector. Its input is a normalised BGR image: see ``preprocessing``."""

    task = "detect"
    categories = COCO_CATEGORIES
    # Trained with the aspect ratio kept, but stretched it sees a third more pixels of a 4:3 photograph.
    preprocessing = Preprocessing(
        size=(416, 416),
        mode="stretch",
        mean=(103.53, 116.28, 123.675),
        std=(57.375, 57.12, 58.395),
        channel_order="BGR",
    )
    input_shape = (3, 416, 416)

    def __init__(self) -> None:
        self.backbone = Backbone()
        self.neck = PathAggregationNeck((128, 256, 512), 128)
        self.head = Head(128, len(COCO_CATEGORIES))

    def forward(self, image: nn.Value) -> dict[str, nn.Value]:
        outputs: dict[str, nn.Value] = self.head(self.neck(self.backbone(image)))
        return outputs

    def __call__(self, *inputs: Any, layout: str = "NCHW") -> Any:
        """Detect in a batch (N, 3, H, W): a list of N dicts of boxes (K, 4), scores (K,), labels (K,)."""
        if len(inputs) != 1 or isinstance(inputs[0], nn.Value):
            return super().__call__(*inputs, layout=layout)
        batch = to_nhwc(as_numpy(inputs[0], "NanoDet", "input"), layout, "NanoDet", "input")
        maps = self._maps(batch)
        return [
            {
                name: result_like(array, inputs[0])
                for name, array in zip(("boxes", "scores", "labels"), self._decode(maps, i), strict=True)
            }
            for i in range(len(batch))
        ]

    def raw_outputs(self, x: Array, *, layout: str = "NCHW") -> dict[str, Array]:
        """``cls_stride{8,16,32}``: (N, H * W, 80) probabilities, ``reg_stride…``: (N, H * W, 44) logits."""
        batch = to_nhwc(as_numpy(x, "NanoDet", "input"), layout, "NanoDet", "input")
        return {
            name: result_like(array.reshape(len(array), array.shape[1] * array.shape[2], array.shape[3]), x)
            for name, array in self._maps(batch).items()
        }

    def detect(
        self,
        tensor: np.ndarray,
        score_threshold: float = 0.05,
        iou_threshold: float = 0.6,
        max_detections: int = 100,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Detect in one image.

        Args:
            tensor: (1, h, w, 3) float32, normalised BGR.
            score_threshold: scores at or below it are dropped.
            iou_threshold: boxes of one class that overlap more than this keep only the best.
            max_detections: keep at most this many, the best.

        Returns:
            boxes (K, 4) float32 x1, y1, x2, y2 in pixels of the tensor, scores (K,) float32 and
            labels (K,) int64, by descending score.
        """
        if len(tensor) != 1:
            raise ValueError(f"[NanoDet.detect] expected a batch of 1 image, got {len(tensor)}")
        return self._decode(self._maps(tensor), 0, score_threshold, iou_threshold, max_detections)

    def _maps(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        maps: dict[str, np.ndarray] = super().__call__(batch, layout="NHWC")
        return maps

    def _decode(
        self,
        maps: dict[str, np.ndarray],
        image: int,
        score_threshold: float = 0.05,
        iou_threshold: float = 0.6,
        max_detections: int = 100,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        candidates = []
        for stride in STRIDES:
            scores, distances = maps[f"cls_stride{stride}"][image], maps[f"reg_stride{stride}"][image]
            candidates.append(
                decode_dfl(
                    scores.reshape(-1, scores.shape[-1]),
                    distances.reshape(-1, distances.shape[-1]),
                    stride=stride,
                    width=scores.shape[1],
                    score_threshold=score_threshold,
                )
            )
        boxes, best, labels = (np.concatenate(parts) for parts in zip(*candidates, strict=True))
        h, w = (STRIDES[0] * extent for extent in maps[f"cls_stride{STRIDES[0]}"].shape[1:3])
        boxes = clip_boxes_to_image(boxes, (h, w))
        keep = batched_nms(boxes, best, labels, iou_threshold)[:max_detections]
        return boxes[keep], best[keep], labels[keep]


def nanodet_g(weights: str | os.PathLike[str] | None = "default") -> NanoDet:
    """NanoDet-g, 3.8 million parameters; "default" weights are COCO's, mAP 22.9 as published."""
    return weights_files.build(NanoDet, "nanodet_g", weights)


def _resized_like(target: nn.Value, x: nn.Value) -> nn.Value:
    h, w, _ = target.map_shape
    return nn.interpolate(x, (h, w), mode="bilinear")

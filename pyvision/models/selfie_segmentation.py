# SPDX-License-Identifier: Apache-2.0
"""MediaPipe Selfie Segmentation: the probability, per pixel, that a person is there.

Origin: https://github.com/google-ai-edge/mediapipe (Apache-2.0), the general model. The pieces are from
MobileNetV3 (Howard et al., arXiv:1905.02244): inverted residuals, squeeze-and-excitation, hard swish, and its
LR-ASPP head.

    image (3, 256, 256)
      stem     3x3/2 convolution                                                  16 x 128 x 128
      block1   inverted residual, /2                                              16 x  64 x  64
      block2…3 inverted residuals, /2                                             24 x  32 x  32
      block4…8 inverted residuals with 5x5 depthwise kernels, /2                  32 x  16 x  16
      context  1x1 convolution, gated by the whole image                         128 x  16 x  16
      decoder  three times: enlarge by 2, add the encoder's map of that size, gated, and refine
      mask     2x2/2 transposed convolution, sigmoid                               1 x 256 x 256
"""

from __future__ import annotations

import os

import numpy as np

from pyvision import nn
from pyvision._array import Array
from pyvision.models import weights as weights_files
from pyvision.models._spec import Preprocessing

_SIXTH = 0.1666259765625  # 1 / 6 in half precision: the network's hard swish was published with it


def _hardswish() -> nn.Module:
    return nn.Hardswish(sixth=_SIXTH)


class SameConv(nn.Module):
    """Convolution padded as TensorFlow's "same": of an odd number of zeros, more are at the bottom right."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
    ) -> None:
        before, after = (kernel_size - stride) // 2, (kernel_size - stride + 1) // 2
        self.pad = nn.ZeroPad2d((before, after, before, after))
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, groups=groups)

    def forward(self, x: nn.Value) -> nn.Value:
        return self.conv(self.pad(x))


class Gate(nn.Module):
    """One number in (0, 1) per channel, from the average over the image: (N, C, 1, 1)."""

    def __init__(self, channels: int, hidden: int) -> None:
        self.average = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.relu = nn.ReLU()
        self.expand = nn.Conv2d(hidden, channels, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: nn.Value) -> nn.Value:
        return self.sigmoid(self.expand(self.relu(self.reduce(self.average(x)))))


class InvertedResidual(nn.Module):
    """Widen (1x1), filter (depthwise), squeeze and excite, narrow (1x1); plus the input if shapes agree."""

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        squeeze: int,
        act: nn.Module,
    ) -> None:
        self.expand = nn.Conv2d(in_channels, hidden, 1)
        self.depthwise = SameConv(hidden, hidden, kernel_size, stride, groups=hidden)
        self.gate = Gate(hidden, squeeze) if squeeze else None
        self.project = nn.Conv2d(hidden, out_channels, 1)
        self.act = act
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: nn.Value) -> nn.Value:
        y = self.act(self.depthwise(self.act(self.expand(x))))
        if self.gate is not None:
            y = y * self.gate(y)
        y = self.project(y)
        return x + y if self.adds_input else y


class Context(nn.Module):
    """LR-ASPP: pixel features, scaled by a gate that sees the whole image."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        self.features = nn.Conv2d(in_channels, out_channels, 1)
        self.relu = nn.ReLU()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.scale = nn.Conv2d(in_channels, out_channels, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: nn.Value) -> nn.Value:
        return self.relu(self.features(x)) * self.sigmoid(self.scale(self.average(x)))


class DecoderBlock(nn.Module):
    """Enlarge ``x`` to the size of ``skip``, add the gated ``skip``, and refine the sum."""

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        self.reduce = nn.Conv2d(in_channels, skip_channels, 1)
        self.gate = Gate(skip_channels, skip_channels)
        self.mix = nn.Conv2d(skip_channels, skip_channels, 1)
        self.depthwise = SameConv(skip_channels, skip_channels, 3, groups=skip_channels)
        self.relu = nn.ReLU()

    def forward(self, x: nn.Value, skip: nn.Value) -> nn.Value:
        h, w, _ = skip.map_shape
        x = self.reduce(nn.interpolate(x, (h, w), mode="bilinear"))
        mixed = self.relu(self.mix(skip * self.gate(skip + x) + x))
        return mixed + self.relu(self.depthwise(mixed))


class SelfieSegmentation(nn.Module):
    """The segmentation network. Its input is an RGB image in [0, 1]: see ``preprocessing``."""

    task = "segment"
    categories = ("background", "person")
    preprocessing = Preprocessing(
        size=(256, 256), mode="stretch", mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0), channel_order="RGB"
    )
    input_shape = (3, 256, 256)

    def __init__(self) -> None:
        relu, hardswish = nn.ReLU(), _hardswish()
        self.stem = SameConv(3, 16, 3, stride=2)
        self.stem_act = hardswish
        # in, hidden, out, kernel, stride, squeeze
        self.block1 = InvertedResidual(16, 16, 16, 3, 2, 8, relu)
        self.block2 = InvertedResidual(16, 72, 24, 3, 2, 0, relu)
        self.block3 = InvertedResidual(24, 88, 24, 3, 1, 0, relu)
        self.block4 = InvertedResidual(24, 96, 32, 5, 2, 24, hardswish)
        self.block5 = InvertedResidual(32, 128, 32, 5, 1, 32, hardswish)
        self.block6 = InvertedResidual(32, 128, 32, 5, 1, 32, hardswish)
        self.block7 = InvertedResidual(32, 96, 32, 5, 1, 24, hardswish)
        self.block8 = InvertedResidual(32, 96, 32, 5, 1, 24, hardswish)
        self.context = Context(32, 128)
        self.decoder1 = DecoderBlock(128, 24)
        self.decoder2 = DecoderBlock(24, 16)
        self.decoder3 = DecoderBlock(16, 16)
        self.mask = nn.ConvTranspose2d(16, 1, 2, stride=2)
        self.sigmoid = nn.Sigmoid()

    def forward(self, image: nn.Value) -> nn.Value:
        half = self.stem_act(self.stem(image))
        quarter = self.block1(half)
        eighth = self.block3(self.block2(quarter))
        x = eighth
        for block in (self.block4, self.block5, self.block6, self.block7, self.block8, self.context):
            x = block(x)
        x = self.decoder3(self.decoder2(self.decoder1(x, eighth), quarter), half)
        probability: nn.Value = self.sigmoid(self.mask(x))
        return probability

    def raw_outputs(self, x: Array, *, layout: str = "NCHW") -> dict[str, Array]:
        """``mask`` (N, 1, H, W), the same as calling the model."""
        return {"mask": self(x, layout=layout)}

    def segment(self, tensor: np.ndarray) -> np.ndarray:
        """Probability of a person (h, w) float32 for one image (1, h, w, 3) float32, RGB in [0, 1]."""
        if len(tensor) != 1:
            raise ValueError(f"[SelfieSegmentation.segment] expected a batch of 1 image, got {len(tensor)}")
        mask: np.ndarray = self(tensor, layout="NHWC")
        return mask[0, :, :, 0]


def selfie_segmentation(weights: str | os.PathLike[str] | None = "default") -> SelfieSegmentation:
    """MediaPipe Selfie Segmentation (general, 256 x 256), 0.1 million parameters."""
    return weights_files.build(SelfieSegmentation, "selfie_segmentation", weights)

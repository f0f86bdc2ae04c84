# SPDX-License-Identifier: Apache-2.0
"""BRISK: corners over scales, with 512-bit descriptors."""

from __future__ import annotations

from pyvision import _core
from pyvision._array import Array, result_like
from pyvision._device import device_of, view_of
from pyvision.features._arguments import (
    count_of,
    grey_of,
    integer_in,
    keypoints_of,
    mask_of,
    over_described_pictures,
)
from pyvision.features._detector import Detector
from pyvision.features._on_device import (
    columns_on,
    described_by,
    grey_on,
    mask_on,
    searched_by,
    views_of,
)
from pyvision.features.keypoints import Keypoints

_OP = "BRISK"


class BRISK(Detector):
    """FAST corners that are highest over places and scales, and comparisons of 60 blurred points around them.

    Octave l of a keypoint is a layer: even ones halve the picture l / 2 times, odd ones lie between. float32
    pictures are rounded to bytes, on which scores and comparisons stand.

    Args:
        max_features: keep those of highest response; all without.
        threshold: in [0, 255], of FAST 9-16.
        octaves: in [0, 8]: each has two layers; 0 is the picture alone.

    Raises:
        TypeError: an argument has another type.
        ValueError: it is out of range.

    Source: Leutenegger, Chli and Siegwart, "BRISK: Binary Robust Invariant Scalable Keypoints", ICCV 2011.
    """

    def __init__(self, max_features: int | None = None, *, threshold: int = 30, octaves: int = 3) -> None:
        self.max_features = count_of(max_features, _OP)
        self.threshold = integer_in(threshold, _OP, "threshold", 0, 255)
        self.octaves = integer_in(octaves, _OP, "octaves", 0, 8)

    @over_described_pictures
    def compute(self, image: Array, keypoints: Keypoints) -> tuple[Keypoints, Array]:
        """Descriptors at given keypoints, with the sizes and angles they have; undefined angles are found.

        Returns:
            The keypoints whose pattern lies in the picture, and their descriptors, uint8 (N, 64).

        Raises:
            TypeError: ``image`` is not an array, or of another dtype; ``keypoints`` are none.
            ValueError: ``image`` has another shape, or an angle is beyond 360. On CUDA keypoints with such
                angles are left out.
        """
        k = keypoints_of(keypoints, _OP)
        if device := device_of(_OP, image=image, keypoints=k.xy):
            x = grey_on(device, image, _OP)
            columns, angles = columns_on(device, k, _OP), device.empty((len(k),), "float32")
            description = device.kernels.brisk_describe(
                device.stream, x.view, *views_of(columns[:3]), angles.view
            )
            kept, descriptors = described_by(device, description, k, "uint8")
            angle = device.give(angles)[: len(kept)]
            return Keypoints(kept.xy, kept.size, angle, kept.response, kept.octave), descriptors
        grey = grey_of(image, _OP)
        which, angle, descriptors = _core.brisk_compute(grey, k.xy, k.size, k.angle)
        kept = k[which]
        kept = Keypoints(kept.xy, kept.size, angle, kept.response, kept.octave)
        return kept, result_like(descriptors, image)

    def _run(self, image: Array, mask: Array | None, *, describe: bool) -> tuple[Keypoints, Array]:
        if device := device_of(_OP, image=image, mask=mask):
            x = grey_on(device, image, _OP)
            allowed = mask_on(device, mask, x, _OP)
            search = device.kernels.brisk(
                device.stream, x.view, view_of(allowed), self.threshold, self.octaves
            )
            return searched_by(device, search, self.max_features, "uint8", describe=describe)
        grey = grey_of(image, _OP)
        columns, descriptors = _core.brisk_detect(
            grey,
            mask_of(mask, grey.shape, _OP),
            self.max_features,
            self.threshold,
            self.octaves,
            describe,
        )
        return Keypoints(*columns), result_like(descriptors, image)

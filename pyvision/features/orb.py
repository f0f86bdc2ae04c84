# SPDX-License-Identifier: Apache-2.0
"""ORB: oriented corners over scales, with 256-bit descriptors."""

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
from pyvision.features._on_device import columns_on, described_by, found_by, grey_on, mask_on, views_of
from pyvision.features.keypoints import Keypoints
from pyvision.ops._args import real

_OP = "ORB"


class ORB(Detector):
    """Oriented FAST corners on a pyramid, chosen by Harris response, and steered BRIEF of 32 bytes.

    Keypoints and descriptors are OpenCV's with its defaults, but for rare bits where a rotated point falls
    between two pixels; `max_features` is never exceeded. The 256 test pairs are the published ones.

    Args:
        max_features: this many at most, over all levels; all without.
        scale_factor: in (1, 2], between neighbouring levels.
        levels: in [1, 32].
        edge_threshold: at least 22: how many pixels of its level a keypoint keeps from the border.
        threshold: of FAST, in [0, 255].

    Raises:
        TypeError: an argument has another type.
        ValueError: it is out of range.

    Source: Rublee, Rabaud, Konolige and Bradski, "ORB: an efficient alternative to SIFT or SURF", ICCV 2011.
    """

    def __init__(
        self,
        max_features: int | None = 500,
        *,
        scale_factor: float = 1.2,
        levels: int = 8,
        edge_threshold: int = 31,
        threshold: int = 20,
    ) -> None:
        self.max_features = count_of(max_features, _OP)
        self.scale_factor = real(scale_factor, _OP, "scale_factor")
        if not 1 < self.scale_factor <= 2:
            raise ValueError(f"[{_OP}] expected scale_factor in (1, 2], got {scale_factor}")
        self.levels = integer_in(levels, _OP, "levels", 1, 32)
        self.edge_threshold = integer_in(edge_threshold, _OP, "edge_threshold", 22, 2**30)
        self.threshold = integer_in(threshold, _OP, "threshold", 0, 255)

    @over_described_pictures
    def compute(self, image: Array, keypoints: Keypoints) -> tuple[Keypoints, Array]:
        """Descriptors at given keypoints, with the angles and octaves they have.

        Returns:
            The keypoints whose patch lies in their level of the pyramid, and their descriptors, uint8
            (N, 32).

        Raises:
            TypeError: ``image`` is not an array, or of another dtype; ``keypoints`` are none.
            ValueError: ``image`` has another shape, an octave is not in [0, levels), or an angle is beyond
                360. On CUDA keypoints with such octaves are left out, and angles are taken as they are.
        """
        k = keypoints_of(keypoints, _OP)
        if device := device_of(_OP, image=image, keypoints=k.xy):
            x = grey_on(device, image, _OP)
            columns = columns_on(device, k, _OP)
            description = device.kernels.orb_describe(
                device.stream, x.view, *views_of(columns), self.scale_factor, self.levels
            )
            return described_by(device, description, k, "uint8")
        grey = grey_of(image, _OP)
        which, descriptors = _core.orb_compute(grey, k.xy, k.angle, k.octave, self.scale_factor, self.levels)
        return k[which], result_like(descriptors, image)

    def _run(self, image: Array, mask: Array | None, *, describe: bool) -> tuple[Keypoints, Array]:
        if device := device_of(_OP, image=image, mask=mask):
            x = grey_on(device, image, _OP)
            allowed = mask_on(device, mask, x, _OP)
            detection = device.kernels.orb(
                device.stream, x.view, view_of(allowed), self.max_features,
                self.scale_factor, self.levels, self.edge_threshold, self.threshold,
            )  # fmt: skip
            return found_by(device, detection, "uint8" if describe else None)
        grey = grey_of(image, _OP)
        columns, descriptors = _core.orb_detect(
            grey,
            mask_of(mask, grey.shape, _OP),
            self.max_features,
            self.scale_factor,
            self.levels,
            self.edge_threshold,
            self.threshold,
            describe,
        )
        return Keypoints(*columns), result_like(descriptors, image)

# SPDX-License-Identifier: Apache-2.0
"""FAST corners."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pyvision import _core
from pyvision._array import Array
from pyvision._device import device_of, view_of
from pyvision.features._arguments import count_of, grey_of, integer_in, mask_of, over_pictures
from pyvision.features._on_device import found_by, grey_on, mask_on
from pyvision.features.keypoints import Keypoints
from pyvision.ops._args import flag

_CIRCLES = {"9-16": 16, "7-12": 12, "5-8": 8}
_OP = "FAST"


class FAST:
    """Corners: pixels with an arc of a circle around them that is brighter or darker throughout.

    With the circle 9-16 keypoints, their order and responses are OpenCV's; its 7-12 and 5-8 miss corners
    that these find. Keypoints have size 7, no angle, and as response the greatest threshold at which they
    still are corners.

    Args:
        threshold: in [0, 255]: how much brighter or darker.
        nonmax_suppression: keep a corner only where its response exceeds that of its eight neighbours.
        circle: so many contiguous pixels out of so many.
        max_features: keep the ones of highest response, of equal ones the first by rows; all without.

    Raises:
        TypeError: an argument has another type.
        ValueError: it is out of range.

    Source: Rosten, Porter and Drummond, "Faster and better: a machine learning approach to corner
    detection", PAMI 2010.
    """

    def __init__(
        self,
        max_features: int | None = None,
        *,
        threshold: int = 10,
        nonmax_suppression: bool = True,
        circle: Literal["9-16", "7-12", "5-8"] = "9-16",
    ) -> None:
        if circle not in _CIRCLES:
            raise ValueError(f"[{_OP}] expected circle to be one of {', '.join(_CIRCLES)}, got {circle!r}")
        self.circle = circle
        self.threshold = integer_in(threshold, _OP, "threshold", 0, 255)
        self.nonmax_suppression = flag(nonmax_suppression, _OP, "nonmax_suppression")
        self.max_features = count_of(max_features, _OP)

    @over_pictures
    def detect(self, image: Array, mask: Array | None = None) -> Keypoints:
        """The corners of a picture, row by row from the left.

        Args:
            image: a picture, or many, as for :meth:`SIFT.detect`: (N, H, 3 or 4) is one with colours.
            mask: as for :meth:`SIFT.detect`.

        Raises:
            TypeError: ``image`` or ``mask`` is not an array, or of another dtype.
            ValueError: either has another shape.
        """
        if device := device_of(_OP, image=image, mask=mask):
            x = grey_on(device, image, _OP)
            where = mask_on(device, mask, x, _OP)
            detection = device.kernels.fast(
                device.stream, x.view, view_of(where), _CIRCLES[self.circle],
                self.threshold, self.nonmax_suppression, self.max_features,
            )  # fmt: skip
            return found_by(device, detection)[0]
        grey = grey_of(image, _OP)
        allowed = mask_of(mask, grey.shape, _OP)
        xy, response = _core.fast(grey, _CIRCLES[self.circle], self.threshold, self.nonmax_suppression)
        if allowed is not None:
            column, row = xy.astype(np.intp).T
            inside = allowed[row, column] != 0
            xy, response = xy[inside], response[inside]
        if 0 < self.max_features < len(response):
            strongest = np.sort(np.argsort(-response, kind="stable")[: self.max_features])
            xy, response = xy[strongest], response[strongest]
        return Keypoints(xy, np.full(len(xy), 7, np.float32), None, response)

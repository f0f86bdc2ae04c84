# SPDX-License-Identifier: Apache-2.0
"""Corners by the second moments of the gradient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from pyvision import _core
from pyvision._array import Array, result_like
from pyvision._device import Device, device_of, view_of
from pyvision.features._arguments import (
    any_grey_of,
    count_of,
    integer_in,
    keypoints_of,
    mask_of,
    over_pictures,
    real_in,
)
from pyvision.features._on_device import any_grey_on, kept_apart, mask_on, searched_by
from pyvision.features.keypoints import Keypoints
from pyvision.ops._args import integer


class _SecondMoments:
    """What Harris's and Shi and Tomasi's corners share: all but the response."""

    _harris: ClassVar[bool]
    _k: float

    def __init__(
        self, max_features: int | None, quality: float, min_distance: float, block_size: int
    ) -> None:
        self._op = type(self).__name__
        self.max_features = count_of(max_features, self._op)
        self.quality = real_in(quality, self._op, "quality", 1e-9, 1)
        self.min_distance = real_in(min_distance, self._op, "min_distance", 0, 1e9)
        self.block_size = integer_in(block_size, self._op, "block_size", 1, 31)

    def response(self, image: Array) -> Array:
        """How much of a corner every pixel is: float32 (H, W), of the kind of ``image``."""
        if device := device_of(self._op, image=image):
            x = any_grey_on(device, image, self._op)
            y = device.empty(x.shape[:2], "float32")
            device.kernels.corner_response(
                device.stream, self._op, x.view, self._harris, self._k, self.block_size, y.view
            )
            return device.give(y)
        grey = any_grey_of(image, self._op)
        return result_like(_core.corner_response(grey, self._harris, self._k, self.block_size), image)

    @over_pictures
    def detect(self, image: Array, mask: Array | None = None) -> Keypoints:
        """The corners of a picture, by falling response, equal ones by rows.

        Args:
            image: a picture, or many, as for :meth:`SIFT.detect`: (N, H, 3 or 4) is one with colours.
            mask: as for :meth:`SIFT.detect`.

        Raises:
            TypeError: ``image`` or ``mask`` is not an array, or of another dtype.
            ValueError: either has another shape.
        """
        if device := device_of(self._op, image=image, mask=mask):
            return self._detect_on(device, image, mask)
        grey = any_grey_of(image, self._op)
        xy, response = _core.corners(
            grey,
            mask_of(mask, grey.shape, self._op),
            self._harris,
            self._k,
            self.block_size,
            self.quality,
            self.min_distance,
            self.max_features,
        )
        return Keypoints(xy, np.full(len(xy), self.block_size, np.float32), None, response)

    def _detect_on(self, device: Device, image: Array, mask: Array | None) -> Keypoints:
        op = self._op
        x = any_grey_on(device, image, op)
        where = mask_on(device, mask, x, op)
        search = device.kernels.corners(
            device.stream, op, x.view, view_of(where), self._harris, self._k, self.block_size, self.quality
        )
        apart = self.min_distance > 0
        found = searched_by(device, search, 0 if apart else self.max_features, "uint8", describe=False)[0]
        return kept_apart(device, found, self.min_distance, self.max_features, op) if apart else found


class Harris(_SecondMoments):
    """Corners whose Harris response is greatest among their neighbours.

    They are those of OpenCV's `goodFeaturesToTrack` with `useHarrisDetector`, and :meth:`response` is its
    `cornerHarris`, within rounding, for uint8; a float32 picture, which is used as it is, counts on the same
    scale of 0 to 255. Keypoints have ``block_size`` as their size and no angle.

    Args:
        max_features: keep the ones of highest response; all without.
        k: in [0, 0.25], of the formula ``det - k trace^2``.
        quality: in [1e-9, 1]: the least response, times the greatest in the picture.
        min_distance: pixels between any two corners; a weaker one nearer than that to a stronger is dropped.
        block_size: in [1, 31]: side of the square over which gradients are summed.

    Raises:
        TypeError: an argument has another type.
        ValueError: it is out of range.

    Source: Harris and Stephens, "A combined corner and edge detector", Alvey Vision Conference 1988.
    """

    _harris = True

    def __init__(
        self,
        max_features: int | None = None,
        *,
        k: float = 0.04,
        quality: float = 0.01,
        min_distance: float = 0,
        block_size: int = 3,
    ) -> None:
        super().__init__(max_features, quality, min_distance, block_size)
        self._k = self.k = real_in(k, self._op, "k", 0, 0.25)


class ShiTomasi(_SecondMoments):
    """:class:`Harris` with the lesser eigenvalue as the response: OpenCV's `goodFeaturesToTrack`.

    Source: Shi and Tomasi, "Good features to track", CVPR 1994.
    """

    _harris = False
    _k = 0.0

    def __init__(
        self,
        max_features: int | None = None,
        *,
        quality: float = 0.01,
        min_distance: float = 0,
        block_size: int = 3,
    ) -> None:
        super().__init__(max_features, quality, min_distance, block_size)


def refine_corners(
    image: Array,
    keypoints: Keypoints,
    *,
    window: int = 5,
    max_iterations: int = 40,
    epsilon: float = 0.001,
) -> Keypoints:
    """Corners between the pixels: where the gradients around are orthogonal to the way there.

    OpenCV's `cornerSubPix`. A corner that would leave its window stays where it is. Those that converge
    slowly, in wide windows that see other corners as well, may end elsewhere than OpenCV's: of the 200
    strongest in a photograph 199 lie within 0.01 pixels of them with windows up to 5, and 197 with 11, where
    the 99th percentile is 0.27 pixels and one corner lies 1.2 away.

    Args:
        image: a picture; float32 is used as it is.
        keypoints: inside it, in its pixels.
        window: in [1, 255]: half the side of the square that counts, without the middle pixel.
        max_iterations: at least 1.
        epsilon: stop once a step is no longer than this, in pixels.

    Raises:
        TypeError: an argument has another type.
        ValueError: it is out of range, or a keypoint lies outside.

    Source: Foerstner and Guelch, "A fast operator for detection and precise location of distinct points,
    corners and centres of circular features", ISPRS 1987.
    """
    op = "refine_corners"
    grey = any_grey_of(image, op)
    k = keypoints_of(keypoints, op)
    half = integer_in(window, op, "window", 1, 255)
    steps = integer_in(max_iterations, op, "max_iterations", 1, 2**30)
    xy = _core.refine_corners(grey, k.xy, half, steps, real_in(epsilon, op, "epsilon", 0, 1e9))
    return Keypoints(xy, k.size, k.angle, k.response, k.octave)


def select_even(keypoints: Keypoints, count: int) -> Keypoints:
    """``count`` of the keypoints, or all where there are fewer, spread over the picture.

    The strongest, and then by falling response each that lies far enough from all chosen before, with the
    greatest distance at which there still are as many.

    Raises:
        TypeError: an argument has another type.
        ValueError: ``count`` is less than 1, or a keypoint lies 1e9 pixels away.

    Source: Bailo, Rameau, Joo, Park, Bogdan and Kweon, "Efficient adaptive non-maximal suppression algorithms
    for homogeneous spatial keypoint distribution", Pattern Recognition Letters 2018.
    """
    op = "select_even"
    k = keypoints_of(keypoints, op)
    number = integer(count, op, "count")
    if number < 1:
        raise ValueError(f"[{op}] expected count of at least 1, got {count}")
    strongest = np.argsort(-k.response, kind="stable")
    return k[strongest[_core.select_even(k.xy[strongest], number)]]

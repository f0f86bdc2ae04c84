# SPDX-License-Identifier: Apache-2.0
"""SURF: blobs over scales by box filters, with descriptors of 64 or 128 numbers."""

from __future__ import annotations

from pyvision import _core
from pyvision._array import Array, result_like
from pyvision._device import device_of, view_of
from pyvision.features._arguments import (
    any_grey_of,
    count_of,
    integer_in,
    keypoints_of,
    mask_of,
    over_described_pictures,
    real_in,
)
from pyvision.features._detector import Detector
from pyvision.features._on_device import (
    any_grey_on,
    columns_on,
    described_by,
    mask_on,
    searched_by,
    views_of,
)
from pyvision.features.keypoints import Keypoints
from pyvision.ops._args import flag

_OP = "SURF"


class SURF(Detector):
    """Maxima of the determinant of the Hessian, and sums of Haar wavelets around them.

    A keypoint's size is the side of the filter that found it: 7.5 times the scale. float32 pictures are used
    as they are, in steps of a 256th of a grey level and clipped to [0, 255].

    Places and sizes are the same for every instruction set; angles of 98 keypoints in a hundred agree within
    0.001 degrees, and their descriptors, unit vectors, within 0.01.

    Args:
        max_features: keep those of highest response; all without.
        threshold: in [0, 1e9]: least response.
        octaves: in [1, 4].
        upright: no angles: for pictures that are not turned, where this is faster and tells more apart.
        extended: descriptors of 128 numbers instead of 64.

    Raises:
        TypeError: an argument has another type.
        ValueError: it is out of range.

    Sources: Bay, Ess, Tuytelaars and Van Gool, "Speeded-Up Robust Features (SURF)", CVIU 2008; Agrawal,
    Konolige and Blas, "CenSurE: Center surround extremas for realtime feature detection and matching",
    ECCV 2008, for the overlap of the descriptor's windows.
    """

    def __init__(
        self,
        max_features: int | None = None,
        *,
        threshold: float = 100.0,
        octaves: int = 4,
        upright: bool = False,
        extended: bool = False,
    ) -> None:
        self.max_features = count_of(max_features, _OP)
        self.threshold = real_in(threshold, _OP, "threshold", 0, 1e9)
        self.octaves = integer_in(octaves, _OP, "octaves", 1, 4)
        self.upright = flag(upright, _OP, "upright")
        self.extended = flag(extended, _OP, "extended")

    @over_described_pictures
    def compute(self, image: Array, keypoints: Keypoints) -> tuple[Keypoints, Array]:
        """Descriptors at given keypoints, with the sizes and angles they have (0 where undefined).

        Returns:
            The keypoints inside the picture that have a size below 1e5, and their descriptors, float32
            (N, 64 or 128).

        Raises:
            TypeError: ``image`` is not an array, or of another dtype; ``keypoints`` are none.
            ValueError: ``image`` has another shape, or an angle is beyond 360. On CUDA keypoints with such
                angles are left out.
        """
        k = keypoints_of(keypoints, _OP)
        if device := device_of(_OP, image=image, keypoints=k.xy):
            x = any_grey_on(device, image, _OP)
            columns = columns_on(device, k, _OP)
            description = device.kernels.surf_describe(
                device.stream, x.view, *views_of(columns[:3]), self.extended
            )
            return described_by(device, description, k, "float32")
        grey = any_grey_of(image, _OP)
        which, descriptors = _core.surf_compute(grey, k.xy, k.size, k.angle, self.extended)
        return k[which], result_like(descriptors, image)

    def _run(self, image: Array, mask: Array | None, *, describe: bool) -> tuple[Keypoints, Array]:
        if device := device_of(_OP, image=image, mask=mask):
            x = any_grey_on(device, image, _OP)
            allowed = mask_on(device, mask, x, _OP)
            search = device.kernels.surf(
                device.stream, x.view, view_of(allowed), self.threshold, self.octaves,
                self.upright, self.extended,
            )  # fmt: skip
            return searched_by(device, search, self.max_features, "float32", describe=describe)
        grey = any_grey_of(image, _OP)
        columns, descriptors = _core.surf_detect(
            grey,
            mask_of(mask, grey.shape, _OP),
            self.max_features,
            self.threshold,
            self.octaves,
            self.upright,
            self.extended,
            describe,
        )
        return Keypoints(*columns), result_like(descriptors, image)

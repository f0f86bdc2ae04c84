# SPDX-License-Identifier: Apache-2.0
"""SIFT: blobs over scales, with descriptors of 128 numbers."""

from __future__ import annotations

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
    over_described_pictures,
    real_in,
)
from pyvision.features._detector import Detector
from pyvision.features._on_device import (
    any_grey_on,
    columns_on,
    described_by,
    empty_columns,
    mask_on,
    read_back,
    views_of,
)
from pyvision.features.keypoints import Keypoints
from pyvision.ops._args import flag

_OP = "SIFT"


class SIFT(Detector):
    """Extrema of differences of Gaussians, and histograms of gradient directions around them.

    Keypoints and descriptors are OpenCV's with its defaults, but that positions are those of the picture
    itself: OpenCV's lie a quarter of a pixel further right and down. Octave -1 is that of the doubled
    picture. float32 pictures are used as they are. A picture of 2 megapixels takes some 270 MB, which the
    thread keeps for the next one.

    Instruction sets round sums of products differently: two keypoints of a picture may be missing or added,
    99 in a hundred of the others lie within 0.05 pixels and degrees, and their descriptors within 3 of 255.

    Args:
        max_features: keep those of highest response; all without.
        layers: in [1, 8], in an octave.
        contrast_threshold: in [0, 1]: least response times ``layers``.
        edge_threshold: in [1, 1e6]: the greatest ratio of curvatures.
        sigma: in [0.5, 4]: blur of an octave's first image.
        root: descriptors are RootSIFT: divided by their sum, square roots; unit vectors instead of [0, 255].

    Raises:
        TypeError: an argument has another type.
        ValueError: it is out of range.

    Sources: Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004; Arandjelovic and
    Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012, for ``root``.
    """

    def __init__(
        self,
        max_features: int | None = None,
        *,
        layers: int = 3,
        contrast_threshold: float = 0.04,
        edge_threshold: float = 10.0,
        sigma: float = 1.6,
        root: bool = False,
    ) -> None:
        self.max_features = count_of(max_features, _OP)
        self.layers = integer_in(layers, _OP, "layers", 1, 8)
        self.contrast_threshold = real_in(contrast_threshold, _OP, "contrast_threshold", 0, 1)
        self.edge_threshold = real_in(edge_threshold, _OP, "edge_threshold", 1, 1e6)
        self.sigma = real_in(sigma, _OP, "sigma", 0.5, 4)
        self.root = flag(root, _OP, "root")

    @over_described_pictures
    def compute(self, image: Array, keypoints: Keypoints) -> tuple[Keypoints, Array]:
        """Descriptors at given keypoints, with the sizes and angles they have (0 where undefined).

        Returns:
            The keypoints inside the picture whose size the pyramid has, and their descriptors, float32
            (N, 128).

        Raises:
            TypeError: ``image`` is not an array, or of another dtype; ``keypoints`` are none.
            ValueError: ``image`` has another shape, or an angle is beyond 360. On CUDA keypoints with such
                angles are left out.
        """
        k = keypoints_of(keypoints, _OP)
        if device := device_of(_OP, image=image, keypoints=k.xy):
            x = any_grey_on(device, image, _OP)
            columns = columns_on(device, k, _OP)
            description = device.kernels.sift_describe(
                device.stream, x.view, *views_of(columns[:3]), self.layers, self.sigma, self.root
            )
            return described_by(device, description, k, "float32")
        grey = any_grey_of(image, _OP)
        which, descriptors = _core.sift_compute(grey, k.xy, k.size, k.angle, self.layers, self.sigma)
        return k[which], result_like(self._finish(descriptors), image)

    def _run(self, image: Array, mask: Array | None, *, describe: bool) -> tuple[Keypoints, Array]:
        if device := device_of(_OP, image=image, mask=mask):
            return self._run_on(device, image, mask, describe)
        grey = any_grey_of(image, _OP)
        columns, descriptors = _core.sift_detect(
            grey,
            mask_of(mask, grey.shape, _OP),
            self.max_features,
            self.layers,
            self.contrast_threshold,
            self.edge_threshold,
            self.sigma,
            describe,
        )
        return Keypoints(*columns), result_like(self._finish(descriptors), image)

    def _run_on(
        self, device: Device, image: Array, mask: Array | None, describe: bool
    ) -> tuple[Keypoints, Array]:
        """On CUDA; the numbers of extrema and of keypoints are read back."""
        x = any_grey_on(device, image, _OP)
        allowed = mask_on(device, mask, x, _OP)
        sift = device.kernels.sift(
            device.stream, x.view, view_of(allowed), self.max_features, self.layers,
            self.contrast_threshold, self.edge_threshold, self.sigma,
        )  # fmt: skip
        found, count = device.workspace(sift.search_bytes), device.empty((1,), "int32")
        sift.search(found.view, count.view)
        extrema, number = read_back(device, count), 0
        if extrema > 0:
            rated = device.workspace(sift.rate_bytes(extrema))
            sift.rate(found.view, extrema, rated.view, count.view)
            number = read_back(device, count)
        columns = empty_columns(device, number)
        rows = device.empty((number if describe else 0, 128), "float32")
        if number > 0:
            sift.put(
                found.view, extrema, rated.view, views_of(columns), count.view,
                rows.view if describe else None, self.root,
            )  # fmt: skip
        return Keypoints(*map(device.give, columns)), device.give(rows)

    def _finish(self, descriptors: np.ndarray) -> np.ndarray:
        if not self.root:
            return descriptors
        sums = descriptors.sum(axis=1, keepdims=True)
        roots: np.ndarray = np.sqrt(descriptors / np.maximum(sums, 1))
        return roots

# SPDX-License-Identifier: Apache-2.0
"""BRIEF: descriptors of 128, 256 or 512 bits for keypoints of any detector."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from pyvision import _core
from pyvision._array import Array, result_like
from pyvision._device import device_of
from pyvision.features._arguments import grey_of, keypoints_of, over_described_pictures
from pyvision.features._on_device import columns_on, described_by, grey_on, views_of
from pyvision.features.keypoints import Keypoints
from pyvision.ops._args import flag, integer

_OP = "BRIEF"
_RADIUS = 15  # of the 31 x 31 pixels that test points lie in


class BRIEF:
    """Bits that say which of two blurred pixels is darker, for pairs scattered around the keypoint.

    The pairs are drawn as the paper found best: both points from a Gaussian around the keypoint whose
    variance is a twenty-fifth of the squared patch width.

    Args:
        bytes: length of a descriptor: 16, 32 or 64.
        use_orientation: turn the pairs by each keypoint's angle.
        seed: of the pairs; descriptors can be compared only where it is the same.

    Raises:
        TypeError: an argument has another type.
        ValueError: it is out of range.

    Source: Calonder, Lepetit, Strecha and Fua, "BRIEF: Binary Robust Independent Elementary Features",
    ECCV 2010.
    """

    def __init__(
        self, bytes: Literal[16, 32, 64] = 32, *, use_orientation: bool = False, seed: int = 0
    ) -> None:
        self.bytes = integer(bytes, _OP, "bytes")
        if self.bytes not in (16, 32, 64):
            raise ValueError(f"[{_OP}] expected bytes to be 16, 32 or 64, got {bytes}")
        self.use_orientation = flag(use_orientation, _OP, "use_orientation")
        self.seed = integer(seed, _OP, "seed")
        if self.seed < 0:
            raise ValueError(f"[{_OP}] expected seed of at least 0, got {seed}")

    @over_described_pictures
    def compute(self, image: Array, keypoints: Keypoints) -> tuple[Keypoints, Array]:
        """Descriptors at given keypoints, on the picture itself whatever their size and octave.

        Returns:
            The keypoints 22 or more pixels from the border, and their descriptors, uint8 (N, bytes), of the
            kind of ``image``.

        Raises:
            TypeError: ``image`` is not an array, or of another dtype; ``keypoints`` are none.
            ValueError: ``image`` has another shape, or ``use_orientation`` meets an angle beyond 360: on CUDA
                those are taken as they are.
        """
        k = keypoints_of(keypoints, _OP)
        pairs = _pairs(8 * self.bytes, self.seed)
        if device := device_of(_OP, image=image, keypoints=k.xy):
            x = grey_on(device, image, _OP)
            columns = columns_on(device, k, _OP)
            description = device.kernels.brief(
                device.stream, x.view, *views_of(columns[:3]), pairs, self.use_orientation
            )
            return described_by(device, description, k, "uint8")
        grey = grey_of(image, _OP)
        angle = k.angle if self.use_orientation else np.zeros_like(k.angle)
        which, descriptors = _core.brief(grey, k.xy, angle, pairs)
        return k[which], result_like(descriptors, image)


@lru_cache(maxsize=8)
def _pairs(count: int, seed: int) -> np.ndarray:
    """float32 (4, count): ax, ay, bx, by of each pair, whole pixels.

    Normal numbers are sums of twelve uniform ones: what NumPy promises to repeat forever are a bit
    generator's raw numbers, not what its distributions make of them.
    """
    raw = np.random.PCG64(seed).random_raw(4 * count * 12)
    uniform = (np.asarray(raw, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    normal: np.ndarray = uniform.reshape(4, count, 12).sum(axis=2) - 6
    spread = (2 * _RADIUS + 1) / 5
    pairs: np.ndarray = np.rint(normal * spread).clip(-_RADIUS, _RADIUS).astype(np.float32)
    return pairs

# SPDX-License-Identifier: Apache-2.0
"""What detectors with descriptors of their own have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pyvision._array import Array
from pyvision.features._arguments import over_described_pictures, over_pictures
from pyvision.features.keypoints import Keypoints


class Detector(ABC):
    """Finds keypoints, and describes them and others."""

    @over_pictures
    def detect(self, image: Array, mask: Array | None = None) -> Keypoints:
        """The keypoints of a picture, by falling response; those of ORB by level first.

        Args:
            image: uint8 or float32; (H, W) or (H, W, 1, 3 or 4). Or many: a list of such pictures, or an
                array (N, H, W) or (N, H, W, C), for which there is a list of results. Three dimensions of
                which the last is 1, 3 or 4 are one picture with colours: give grey ones that narrow as
                (N, H, W, 1).
            mask: (H, W), bool or uint8: not 0 where keypoints may lie; beside many pictures one for each.

        Raises:
            TypeError: ``image`` or ``mask`` is not an array, or of another dtype.
            ValueError: either has another shape.
        """
        return self._run(image, mask, describe=False)[0]

    @over_pictures
    def detect_and_compute(self, image: Array, mask: Array | None = None) -> tuple[Keypoints, Array]:
        """The same and their descriptors, as :meth:`compute` has them, of the kind of ``image``."""
        return self._run(image, mask, describe=True)

    @over_described_pictures
    @abstractmethod
    def compute(self, image: Array, keypoints: Keypoints) -> tuple[Keypoints, Array]:
        """Those of the keypoints that can be described, and their descriptors."""

    @abstractmethod
    def _run(self, image: Array, mask: Array | None, *, describe: bool) -> tuple[Keypoints, Array]:
        """What is found; without ``describe`` the descriptors are none."""

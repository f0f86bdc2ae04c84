# SPDX-License-Identifier: Apache-2.0
"""Corners and blobs, descriptors, their matching, and the plane transform that the matches agree on.

A picture is uint8, or float32 on the scale 0 to 255, which SIFT, SURF, Harris and ShiTomasi use as it is and
those that compare pixels (FAST, ORB, BRISK, BRIEF) round: grey (H, W) or (H, W, 1), RGB
(H, W, 3), or RGB with alpha (H, W, 4), which is dropped; colour is converted as OpenCV does. A mask is
(H, W), bool or uint8: keypoints lie where it is not 0. ``detect``, ``detect_and_compute`` and ``compute``
take many pictures as well, as a list or an array (N, H, W) or (N, H, W, C), with as many masks or Keypoints,
and give a list.

Results are the same for any number of threads and in every run; those of FAST, ORB, BRISK, BRIEF, Harris,
ShiTomasi and the transforms that are found are the same for every instruction set too. How far SIFT's and
SURF's differ stands there; distances of float32 descriptors differ by rounding.

FAST, ORB, BRIEF, SIFT and SURF also take pictures on CUDA. What they find stays there; how much it is is
read back. The pictures are not: pixels out of range are clipped, and NaN counts as 0.
"""

from __future__ import annotations

from pyvision.features.brief import BRIEF
from pyvision.features.brisk import BRISK
from pyvision.features.corners import Harris, ShiTomasi, refine_corners, select_even
from pyvision.features.fast import FAST
from pyvision.features.geometry import find_affine, find_homography
from pyvision.features.keypoints import Keypoints
from pyvision.features.matching import Matches, match
from pyvision.features.orb import ORB
from pyvision.features.sift import SIFT
from pyvision.features.stitching import stitch
from pyvision.features.surf import SURF

__all__ = [
    "BRIEF",
    "BRISK",
    "FAST",
    "ORB",
    "SIFT",
    "SURF",
    "Harris",
    "Keypoints",
    "Matches",
    "ShiTomasi",
    "find_affine",
    "find_homography",
    "match",
    "refine_corners",
    "select_even",
    "stitch",
]

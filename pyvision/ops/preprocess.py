# SPDX-License-Identifier: Apache-2.0
"""What is done to images before anything is learned from them: contrast, local means, whitening."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pyvision import _core
from pyvision._array import Array, as_numpy, result_like
from pyvision.ops._args import pair, real


def clahe(image: Array, clip_limit: float = 40.0, tile_grid_size: tuple[int, int] = (8, 8)) -> Array:
    """Contrast-limited adaptive histogram equalisation, to the bit that of ``cv2.createCLAHE``.

    Args:
        image: as in :mod:`pyvision.features`: uint8, or float32 on the scale 0 to 255, which is rounded;
            colour becomes grey, as OpenCV converts it. Many as well.
        clip_limit: no level of a tile counts more than this many times the mean; 0 for no limit.
        tile_grid_size: how many tiles along x and along y, OpenCV's order; in [1, 256].

    Returns:
        uint8 (H, W); a list of these for many pictures.

    Raises:
        TypeError: ``image`` is not a uint8 or float32 array, or an option of another type.
        ValueError: a shape or option is out of range, or pixels are not finite.

    Source: Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994.
    """
    from pyvision.features._arguments import grey_of, over_each  # which import this package

    op = "clahe"
    across, down = pair(tile_grid_size, op, "tile_grid_size")
    limit = real(clip_limit, op, "clip_limit")

    def run(image: Array) -> Array:
        return result_like(_core.clahe(grey_of(image, op), limit, (down, across)), image)

    return over_each(op, run, image=image)


def subtract_local_mean(image: Array, size: int | tuple[int, int]) -> Array:
    """The image without the mean of the window around each pixel, per channel.

    The image is mirrored at its border, whose pixels are not repeated.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32, finite.
        size: of the window, odd: one number or (height, width); at most twice the image's extent less one.

    Returns:
        float32 of the image's shape.

    Raises:
        TypeError: ``image`` is not an array, or of another type.
        ValueError: a shape is out of range.
    """
    op = "subtract_local_mean"
    x = as_numpy(image, op, "image", ("uint8", "float32"))
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise ValueError(f"[{op}] expected image of shape (H, W) or (H, W, C) with pixels, got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"[{op}] expected image to be finite, got NaN or infinity")
    window = pair(size, op, "size")
    for extent, n in zip(window, x.shape, strict=False):
        if extent < 1 or extent % 2 == 0 or extent // 2 > max(n - 1, 0):
            raise ValueError(f"[{op}] expected an odd size in [1, 2 * extent - 1] of {x.shape}, got {size}")
    means: npt.NDArray[np.float64] = x.astype(np.float64)
    for axis, extent in enumerate(window):
        around = [(0, 0)] * x.ndim
        around[axis] = (extent // 2 + 1, extent // 2)
        sums = np.cumsum(np.pad(means, around, mode="reflect" if extent > 1 else "edge"), axis=axis)
        n = x.shape[axis]
        ahead, behind = (np.take(sums, range(k, k + n), axis=axis) for k in (extent, 0))
        means = (ahead - behind) / extent
    return result_like((x - means).astype(np.float32), image)


class ZCAWhitening:
    """A rotation, scaling and rotation back, after which features are uncorrelated and of variance 1.

    Among the transforms that do so it changes the data least, so that whitened images look like images.

    Args:
        epsilon: of at least 0: added to variances, so that directions of noise alone are not blown up.

    Raises:
        TypeError: ``epsilon`` is not a number.
        ValueError: it is out of range.

    Source: Bell and Sejnowski, "The 'independent components' of natural scenes are edge filters", 1997.
    """

    mean: npt.NDArray[np.float64]  #: (D,), after :meth:`fit`
    matrix: npt.NDArray[np.float64]  #: (D, D), symmetric, after :meth:`fit`

    def __init__(self, epsilon: float = 1e-5) -> None:
        self.epsilon = real(epsilon, "ZCAWhitening", "epsilon")
        if not 0 <= self.epsilon < float("inf"):
            raise ValueError(f"[ZCAWhitening] expected epsilon in [0, inf), got {epsilon}")

    def fit(self, x: Array) -> ZCAWhitening:
        """Learn mean and transform from (N, ...) samples, float32 or float64, two at least; returns itself.

        Raises:
            TypeError: ``x`` is not an array, or of another dtype.
            ValueError: its shape is out of range, or numbers are not finite or their squares would not be.
        """
        rows = self._rows(as_numpy(x, "ZCAWhitening", "x", ("float32", "float64")))
        if len(rows) < 2 or rows.shape[1] == 0:
            raise ValueError(
                f"[ZCAWhitening] expected x of at least two samples of numbers, got {np.shape(x)}"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            mean = rows.mean(axis=0)
            centred = rows - mean
            covariance = centred.T @ centred / (len(rows) - 1)
        if not np.isfinite(covariance).all():
            raise ValueError(
                "[ZCAWhitening] expected x of numbers whose squares are finite, "
                f"got some up to {np.abs(rows).max():.3g}"
            )
        self.mean = mean
        variances, axes = np.linalg.eigh(covariance)
        floor = np.finfo(np.float64).eps * variances.max(initial=0) * len(variances)
        safe = np.maximum(variances, 0) + self.epsilon
        scale = np.where(safe > floor, 1 / np.sqrt(np.maximum(safe, np.finfo(np.float64).tiny)), 0)
        self.matrix = (axes * scale) @ axes.T
        return self

    def apply(self, x: Array) -> Array:
        """(N, ...) samples whitened, of ``x``'s dtype, shape and kind.

        Raises:
            TypeError: ``x`` is not an array, or of another dtype.
            ValueError: its samples have another length than those of :meth:`fit`, which must come first.
        """
        samples = as_numpy(x, "ZCAWhitening", "x", ("float32", "float64"))
        rows = self._rows(samples)
        if not hasattr(self, "matrix"):
            raise ValueError("[ZCAWhitening] expected fit before apply")
        if rows.shape[1] != len(self.mean):
            raise ValueError(
                f"[ZCAWhitening] expected x of samples of {len(self.mean)} numbers, got {samples.shape}"
            )
        whitened = (rows - self.mean) @ self.matrix
        return result_like(whitened.astype(samples.dtype).reshape(samples.shape), x)

    @staticmethod
    def _rows(x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        if x.ndim < 2:
            raise ValueError(f"[ZCAWhitening] expected x of shape (N, ...), got {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError("[ZCAWhitening] expected x to be finite, got NaN or infinity")
        return x.reshape(len(x), int(np.prod(x.shape[1:]))).astype(np.float64)

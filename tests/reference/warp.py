# SPDX-License-Identifier: Apache-2.0
"""Images sampled at positions, in float64: borders by padding, samples as sums over weight matrices."""

from __future__ import annotations

import numpy as np

_PADDING = {
    "constant": "constant",
    "replicate": "edge",
    "reflect": "symmetric",
    "reflect_101": "reflect",
    "wrap": "wrap",
}


def _cubic(distance: np.ndarray) -> np.ndarray:
    d = np.abs(distance)
    inner = 1.25 * d**3 - 2.25 * d**2 + 1
    outer = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0))


def _taps(position: np.ndarray, mode: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(index, weight) of the pixels along one axis that make a sample."""
    if mode == "nearest":
        return [(np.rint(position), np.ones_like(position))]  # half to even
    below = np.floor(position)
    if mode == "bilinear":
        return [(below, 1 - (position - below)), (below + 1, position - below)]
    return [(below + k, _cubic(position - below - k)) for k in (-1, 0, 1, 2)]


def positions(h: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of a (height, width) output lie: x and y, by the transform from it."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    u, v, w = (h[k, 0] * x + h[k, 1] * y + h[k, 2] for k in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        return u / w, v / w


def sample(
    x: np.ndarray, u: np.ndarray, v: np.ndarray, mode: str, border: str, value: float = 0, pad: int = 300
) -> np.ndarray:
    """x: (H, W, C); u, v: (H_out, W_out), at most ``pad`` - 3 pixels outside."""
    options = {"constant_values": value} if border == "constant" else {}
    wide = np.pad(x.astype(np.float64), ((pad, pad), (pad, pad), (0, 0)), mode=_PADDING[border], **options)
    total = np.zeros((*u.shape, x.shape[2]))
    for rows, weight_y in _taps(np.clip(v, -pad + 3, x.shape[0] + pad - 4), mode):
        for columns, weight_x in _taps(np.clip(u, -pad + 3, x.shape[1] + pad - 4), mode):
            pixels = wide[rows.astype(int) + pad, columns.astype(int) + pad]
            total += (weight_y * weight_x)[..., None] * pixels
    return total


def _pad_axis(position: np.ndarray, extent: int, padding: str, align_corners: bool) -> np.ndarray:
    if padding == "zeros":
        return position
    if padding == "reflection":  # a triangle wave between the two mirrors
        low, high = (0.0, extent - 1.0) if align_corners else (-0.5, extent - 0.5)
        if high == low:
            return np.zeros_like(position)
        phase = np.mod(position - low, 2 * (high - low))
        position = low + np.minimum(phase, 2 * (high - low) - phase)
    return np.clip(position, 0, extent - 1)


def _axis_matrix(g: np.ndarray, extent: int, mode: str, padding: str, align_corners: bool) -> np.ndarray:
    """(len(g), extent): what every pixel along one axis contributes to the sample at g in [-1, 1]."""
    position = (g + 1) / 2 * (extent - 1) if align_corners else ((g + 1) * extent - 1) / 2
    if mode == "bicubic":
        taps = [(_pad_axis(i, extent, padding, align_corners), weight) for i, weight in _taps(position, mode)]
    else:
        position = _pad_axis(position, extent, padding, align_corners)
        taps = _taps(position, mode)
    matrix = np.zeros((len(g), extent))
    for index, weight in taps:
        inside = (index >= 0) & (index < extent)
        np.add.at(matrix, (np.nonzero(inside)[0], index[inside].astype(int)), weight[inside])
    return matrix


def _matrices(
    shape: tuple[int, ...], grid: np.ndarray, mode: str, padding: str, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Of all outputs of one image: (P, H) and (P, W)."""
    g = grid.reshape(-1, 2).astype(np.float64)
    columns = _axis_matrix(g[:, 0], shape[1], mode, padding, align_corners)
    return _axis_matrix(g[:, 1], shape[0], mode, padding, align_corners), columns


def grid_sample(x: np.ndarray, grid: np.ndarray, mode: str, padding: str, align_corners: bool) -> np.ndarray:
    """x: (N, C, H, W), grid: (N, H_out, W_out, 2)."""
    out = []
    for image, g in zip(x.astype(np.float64), grid, strict=True):
        rows, columns = _matrices(image.shape[1:], g, mode, padding, align_corners)
        out.append(np.einsum("ph,chw,pw->cp", rows, image, columns).reshape(-1, *g.shape[:2]))
    return np.array(out)


def grid_sample_backward(
    grad: np.ndarray, x: np.ndarray, grid: np.ndarray, mode: str, padding: str, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Of the input by the transposed matrices, of the grid by central differences."""
    step = 1e-6
    grad_x = []
    for g, at in zip(grad.astype(np.float64), grid, strict=True):
        rows, columns = _matrices(x.shape[2:], at, mode, padding, align_corners)
        grad_x.append(np.einsum("ph,cp,pw->chw", rows, g.reshape(len(g), -1), columns))
    grad_grid = np.zeros(grid.shape)
    for k in range(2):
        shift = np.zeros(2)
        shift[k] = step
        ahead, behind = (
            grid_sample(x, grid.astype(np.float64) + sign * shift, mode, padding, align_corners)
            for sign in (1, -1)
        )
        grad_grid[..., k] = ((ahead - behind) / (2 * step) * grad).sum(axis=1)
    return np.array(grad_x), grad_grid

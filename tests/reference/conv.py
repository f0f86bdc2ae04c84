# SPDX-License-Identifier: Apache-2.0
"""Convolutions and activations in float64, each with the bound that its float32 rounding error scales with.

Maps are NHWC, padding is (top, left, bottom, right). A sum of k products computed in any order in float32 is
off by at most k * eps * sum |a * b|: N. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
"""

from __future__ import annotations

import math

import numpy as np

from tests.helpers import EPS

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]


def out_size(
    size: Pair,
    kernel: Pair,
    stride: Pair = (1, 1),
    padding: Pair | Sides = (0, 0),
    dilation: Pair = (1, 1),
) -> Pair:
    """(height, width) of a convolution's result."""
    sides = padding * 2 if len(padding) == 2 else padding
    axes = zip(size, kernel, stride, sides[:2], sides[2:], dilation, strict=True)
    h, w = ((n + before + after - d * (k - 1) - 1) // s + 1 for n, k, s, before, after, d in axes)
    return h, w


def transposed_size(
    size: Pair, kernel: Pair, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair
) -> Pair:
    """(height, width) of a transposed convolution's result."""
    axes = zip(size, kernel, stride, padding, output_padding, dilation, strict=True)
    h, w = ((n - 1) * s - 2 * p + d * (k - 1) + extra + 1 for n, k, s, p, extra, d in axes)
    return h, w


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Sides = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    residual: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Cross-correlation plus bias and residual; returns it and the sum of |a * b|."""
    top, left, bottom, right = padding
    x = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    weight = weight.astype(np.float64)
    n, height, width, _ = x.shape
    out_channels, group_in, kernel_h, kernel_w = weight.shape
    out_h, out_w = out_size((height, width), (kernel_h, kernel_w), stride, dilation=dilation)
    group_out = out_channels // groups

    y = np.zeros((groups, n * out_h * out_w, group_out))
    bound = np.zeros_like(y)
    for kh in range(kernel_h):
        for kw in range(kernel_w):
            ih, iw = kh * dilation[0], kw * dilation[1]
            seen = x[
                :,
                ih : ih + (out_h - 1) * stride[0] + 1 : stride[0],
                iw : iw + (out_w - 1) * stride[1] + 1 : stride[1],
            ]
            a = seen.reshape(-1, groups, group_in).transpose(1, 0, 2)
            b = weight[:, :, kh, kw].reshape(groups, group_out, group_in).transpose(0, 2, 1)
            y += a @ b
            bound += np.abs(a) @ np.abs(b)

    shape = (n, out_h, out_w, out_channels)
    y, bound = (v.transpose(1, 0, 2).reshape(shape) for v in (y, bound))
    for term in (bias, residual):
        if term is not None:
            y = y + term
            bound = bound + np.abs(term)
    return y, bound


def conv_transpose2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    output_padding: Pair = (0, 0),
    groups: int = 1,
    dilation: Pair = (1, 1),
) -> tuple[np.ndarray, np.ndarray]:
    """Every input pixel adds its weighted kernel to the output; returns that and the sum of |a * b|."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    n, height, width, in_channels = x.shape
    _, group_out, kernel_h, kernel_w = weight.shape
    group_in = in_channels // groups
    full_h = (height - 1) * stride[0] + dilation[0] * (kernel_h - 1) + 1 + output_padding[0]
    full_w = (width - 1) * stride[1] + dilation[1] * (kernel_w - 1) + 1 + output_padding[1]

    y = np.zeros((n, full_h, full_w, groups * group_out))
    bound = np.zeros_like(y)
    for g in range(groups):
        inputs, outputs = (slice(g * size, (g + 1) * size) for size in (group_in, group_out))
        a = x[..., inputs]
        for kh in range(kernel_h):
            for kw in range(kernel_w):
                b = weight[inputs, :, kh, kw]
                oh, ow = kh * dilation[0], kw * dilation[1]
                rows = slice(oh, oh + (height - 1) * stride[0] + 1, stride[0])
                columns = slice(ow, ow + (width - 1) * stride[1] + 1, stride[1])
                y[:, rows, columns, outputs] += a @ b
                bound[:, rows, columns, outputs] += np.abs(a) @ np.abs(b)

    inside = (
        slice(None),
        slice(padding[0], full_h - padding[0]),
        slice(padding[1], full_w - padding[1]),
    )
    y, bound = y[inside], bound[inside]
    if bias is not None:
        y, bound = y + bias, bound + np.abs(bias)
    return y, bound


def conv2d_backward(
    grad: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    *,
    stride: Pair = (1, 1),
    padding: Sides = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Gradients of input, weight and bias, each with its sum of |a * b|.

    Every product of the convolution passes the output's gradient back to both of its factors.
    """
    top, left, bottom, right = padding
    g, x, weight = (a.astype(np.float64) for a in (grad, x, weight))
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    _, out_h, out_w, out_channels = g.shape
    group_out, group_in = out_channels // groups, weight.shape[1]
    pairs = []
    for magnitude in (lambda a: a, np.abs):
        g_, x_, w_ = magnitude(g), magnitude(padded), magnitude(weight)
        grad_x, grad_w = np.zeros_like(padded), np.zeros_like(weight)
        for kh in range(weight.shape[2]):
            for kw in range(weight.shape[3]):
                h, w = kh * dilation[0], kw * dilation[1]
                rows = slice(h, h + (out_h - 1) * stride[0] + 1, stride[0])
                columns = slice(w, w + (out_w - 1) * stride[1] + 1, stride[1])
                for group in range(groups):
                    i = slice(group * group_in, (group + 1) * group_in)
                    o = slice(group * group_out, (group + 1) * group_out)
                    grad_x[:, rows, columns, i] += g_[..., o] @ w_[o, :, kh, kw]
                    grad_w[o, :, kh, kw] = np.einsum("nhwo,nhwi->oi", g_[..., o], x_[:, rows, columns, i])
        grad_x = grad_x[:, top : top + x.shape[1], left : left + x.shape[2]]
        pairs.append((grad_x, grad_w, g_.sum((0, 1, 2))))
    return list(zip(*pairs, strict=True))


def conv_transpose2d_backward(
    grad: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Gradients of input, weight and bias, each with its sum of |a * b|: as in conv2d_backward."""
    g, x, weight = (a.astype(np.float64) for a in (grad, x, weight))
    _, height, width, in_channels = x.shape
    group_in, group_out = in_channels // groups, weight.shape[1]
    top, left = padding  # the output as it was before they were cut off
    whole = np.pad(g, ((0, 0), (top, top), (left, left), (0, 0)))
    pairs = []
    for magnitude in (lambda a: a, np.abs):
        g_, x_, w_ = magnitude(whole), magnitude(x), magnitude(weight)
        grad_x, grad_w = np.zeros_like(x), np.zeros_like(weight)
        for kh in range(weight.shape[2]):
            for kw in range(weight.shape[3]):
                h, w = kh * dilation[0], kw * dilation[1]
                rows = slice(h, h + (height - 1) * stride[0] + 1, stride[0])
                columns = slice(w, w + (width - 1) * stride[1] + 1, stride[1])
                for group in range(groups):
                    i = slice(group * group_in, (group + 1) * group_in)
                    o = slice(group * group_out, (group + 1) * group_out)
                    seen = g_[:, rows, columns, o]
                    grad_x[..., i] += seen @ w_[i, :, kh, kw].T
                    grad_w[i, :, kh, kw] = np.einsum("nhwi,nhwo->io", x_[..., i], seen)
        pairs.append((grad_x, grad_w, magnitude(g).sum((0, 1, 2))))
    return list(zip(*pairs, strict=True))


def linear(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """x @ weight.T + bias, and the sum of |a * b|."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    b = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    return x @ weight.T + b, np.abs(x) @ np.abs(weight).T + np.abs(b)


# B^T, G and A^T of Winograd's F(m x m, r x r), by (m, r). Lavin and Gray 2015, section 4: m = 2 with the
# points 0, 1, -1, infinity, m = 4 with 2 and -2 as well (2 alone for r = 2), and m = 6 with 1/2 and -1/2 too.
_WINOGRAD = {
    sizes: tuple(np.array(matrix, float) for matrix in matrices)
    for sizes, matrices in {
        (4, 2): (
            [[2, -1, -2, 1, 0], [0, -2, -1, 1, 0], [0, 2, -3, 1, 0], [0, -1, 0, 1, 0], [0, 2, -1, -2, 1]],
            [[1 / 2, 0], [-1 / 2, -1 / 2], [-1 / 6, 1 / 6], [1 / 6, 1 / 3], [0, 1]],
            [[1, 1, 1, 1, 0], [0, 1, -1, 2, 0], [0, 1, 1, 4, 0], [0, 1, -1, 8, 1]],
        ),
        (2, 3): (
            [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]],
            [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
            [[1, 1, 1, 0], [0, 1, -1, 1]],
        ),
        (4, 3): (
            [
                [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
            ],
            [
                [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
                [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
            ],
            [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
        ),
        (6, 3): (
            [
                [1, 0, -21 / 4, 0, 21 / 4, 0, -1, 0],
                [0, 1, 1, -17 / 4, -17 / 4, 1, 1, 0], [0, -1, 1, 17 / 4, -17 / 4, -1, 1, 0],
                [0, 1 / 2, 1 / 4, -5 / 2, -5 / 4, 2, 1, 0], [0, -1 / 2, 1 / 4, 5 / 2, -5 / 4, -2, 1, 0],
                [0, 2, 4, -5 / 2, -5, 1 / 2, 1, 0], [0, -2, 4, 5 / 2, -5, -1 / 2, 1, 0],
                [0, -1, 0, 21 / 4, 0, -21 / 4, 0, 1],
            ],
            [
                [1, 0, 0], [-2 / 9, -2 / 9, -2 / 9], [-2 / 9, 2 / 9, -2 / 9],
                [1 / 90, 1 / 45, 2 / 45], [1 / 90, -1 / 45, 2 / 45],
                [1 / 45, 1 / 90, 1 / 180], [1 / 45, -1 / 90, 1 / 180], [0, 0, 1],
            ],
            [
                [1, 1, 1, 1, 1, 32, 32, 0], [0, 1, -1, 2, -2, 16, -16, 0], [0, 1, 1, 4, 4, 8, 8, 0],
                [0, 1, -1, 8, -8, 4, -4, 0], [0, 1, 1, 16, 16, 2, 2, 0], [0, 1, -1, 32, -32, 1, -1, 1],
            ],
        ),
    }.items()
}  # fmt: skip


def winograd_bound(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    m: int,
    padding: Sides = (0, 0, 0, 0),
    groups: int = 1,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """What sum |a * b| becomes when the products are those of Winograd's F(m x m, r x r).

    Each step of Y = A^T [(G g G^T) * (B^T d B)] A is a sum of products, so that the same theorem holds for
    each, and chained: the error is at most eps * depth * |A^T| [(|G| |g| |G^T|) * (|B^T| |d| |B|)] |A|, where
    depth counts the additions and multiplications behind one result (B. Barabasz, A. Anderson, K. Soodhalter
    and D. Gregg, Error Analysis and Improving the Accuracy of Winograd Convolution, 2020, section 4).
    """
    if groups > 1:
        inputs, weights = np.split(x, groups, axis=-1), np.split(weight, groups)
        biases = np.split(bias, groups) if bias is not None else [None] * groups
        residuals = np.split(residual, groups, axis=-1) if residual is not None else [None] * groups
        return np.concatenate(
            [
                winograd_bound(*of_group, m=m, padding=padding, residual=r)
                for *of_group, r in zip(inputs, weights, biases, residuals, strict=True)
            ],
            axis=-1,
        )
    top, left, bottom, right = padding
    x, weight = np.abs(x.astype(np.float64)), np.abs(weight.astype(np.float64))
    n, height, width, _ = x.shape
    overlap = weight.shape[2] - 1
    out_h, out_w = height + top + bottom - overlap, width + left + right - overlap
    tiles_h, tiles_w = -(-out_h // m), -(-out_w // m)
    spare = ((0, 0), (top, bottom + m * tiles_h - out_h), (left, right + m * tiles_w - out_w), (0, 0))
    x = np.pad(x, spare)
    b_t, g, a_t = (np.abs(matrix) for matrix in _WINOGRAD[m, overlap + 1])

    u = np.einsum("ai,bj,ocij->abco", g, g, weight, optimize=True)  # (points, points, channels, outputs)
    y = np.empty((n, m * tiles_h, m * tiles_w, len(weight)))
    for h in range(0, m * tiles_h, m):
        for w in range(0, m * tiles_w, m):
            d = x[:, h : h + m + overlap, w : w + m + overlap]
            v = np.einsum("ai,bj,nijc->abnc", b_t, b_t, d, optimize=True)
            tile = np.einsum("ia,jb,abno->nijo", a_t, a_t, v @ u, optimize=True)
            y[:, h : h + m, w : w + m] = tile
    bound = y[:, :out_h, :out_w]
    for term in (bias, residual):
        if term is not None:
            bound = bound + np.abs(term)
    return bound


# Per activation: its formula, its Lipschitz constant, and the rounding of its own float32 evaluation as
# (a, b): at most eps * (a + b |x|). The roundings are those of the additions and multiplications of the
# formula; exp is taken to be good to 2 ulp, erf to 2e-7, which are 1.7 eps.
_ACTIVATIONS = {
    "none": (lambda x: x, 1.0, (0, 0)),
    "relu": (lambda x: np.maximum(x, 0), 1.0, (0, 0)),
    "relu6": (lambda x: np.clip(x, 0, 6), 1.0, (0, 0)),
    "hardsigmoid": (lambda x: np.clip(x + 3, 0, 6) / 6, 1 / 6, (2, 0)),
    "hardswish": (lambda x: x * np.clip(x + 3, 0, 6) / 6, 1.5, (0, 3)),
    "sigmoid": (lambda x: 0.5 + 0.5 * np.tanh(x / 2), 0.25, (2, 0)),
    "silu": (lambda x: x * (0.5 + 0.5 * np.tanh(x / 2)), 1.1, (0, 3)),
    "tanh": (np.tanh, 1.0, (3, 0)),
    "gelu": (lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))), 1.13, (0, 3)),
}
ACTIVATIONS = [*_ACTIVATIONS, "leaky_relu"]


def activate(
    y: np.ndarray, error: np.ndarray, activation: str = "none", slope: float = 0.01
) -> tuple[np.ndarray, np.ndarray]:
    """The activation of y, and how far the float32 one of a value within ``error`` of y may be from it."""
    if activation == "leaky_relu":
        return np.where(y < 0, slope * y, y), max(1, abs(slope)) * error + EPS * abs(slope) * np.abs(y)
    if y.size == 0:  # which np.vectorize refuses
        return y, error
    f, lipschitz, (a, b) = _ACTIVATIONS[activation]
    return f(y), lipschitz * error + EPS * (a + b * np.abs(y))

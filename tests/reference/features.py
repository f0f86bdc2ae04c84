# SPDX-License-Identifier: Apache-2.0
"""Corners, ORB and matching from their definitions, in plain loops."""

from __future__ import annotations

import math

import numpy as np

# The circles of FAST, (x, y) from the centre, each pixel beside the one before.
CIRCLES = {
    "9-16": [
        *((0, 3), (1, 3), (2, 2), (3, 1), (3, 0), (3, -1), (2, -2), (1, -3)),
        *((0, -3), (-1, -3), (-2, -2), (-3, -1), (-3, 0), (-3, 1), (-2, 2), (-1, 3)),
    ],
    "7-12": [
        *((0, 2), (1, 2), (2, 1), (2, 0), (2, -1), (1, -2)),
        *((0, -2), (-1, -2), (-2, -1), (-2, 0), (-2, 1), (-1, 2)),
    ],
    "5-8": [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)],
}


def fast(
    image: np.ndarray, threshold: int, circle: str, suppress: bool
) -> tuple[list[tuple[int, int]], list[int]]:
    """Corners (x, y) row by row, and their scores."""
    ring = CIRCLES[circle]
    arc = len(ring) // 2 + 1
    height, width = image.shape
    pixels = image.astype(int)
    scores = np.full((height, width), -1)
    for y in range(3, height - 3):
        for x in range(3, width - 3):
            differences = [pixels[y + dy, x + dx] - pixels[y, x] for dx, dy in ring]
            best = max(
                min(sign * differences[(start + i) % len(ring)] for i in range(arc))
                for sign in (1, -1)
                for start in range(len(ring))
            )
            if best > threshold:
                scores[y, x] = best - 1
    corners = [(int(x), int(y)) for y, x in np.argwhere(scores >= 0)]
    if suppress:
        corners = [
            (x, y)
            for x, y in corners
            if all(
                scores[y, x] > max(scores[y + dy, x + dx], 0)
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
                if (dy, dx) != (0, 0)
            )
        ]
    return corners, [int(scores[y, x]) for x, y in corners]


def blur(image: np.ndarray) -> np.ndarray:
    """Seven taps of a Gaussian with sigma 2 in 256ths along both axes, rounded once, half up."""
    taps = np.array([18, 34, 48, 56, 48, 34, 18])
    padded = image.astype(np.int64)
    for axis in (0, 1):
        n = image.shape[axis]
        index = [_mirrored(i, n) for i in range(-3, n + 3)]
        wide = np.take(padded, index, axis)
        padded = sum(tap * np.take(wide, np.arange(i, i + n), axis) for i, tap in enumerate(taps))
    return ((padded + (1 << 15)) >> 16).astype(np.uint8)


def _mirrored(i: int, n: int) -> int:
    if n == 1:
        return 0
    i %= 2 * (n - 1)
    return min(i, 2 * (n - 1) - i)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, half-pixel centres, weights in 256ths, rounded once, half up."""

    def axis(extent: int, out: int) -> list[tuple[int, int, int]]:
        taps = []
        for i in range(out):
            position = min(max((i + 0.5) * (extent / out) - 0.5, 0), extent - 1)
            first = int(position)
            taps.append((first, min(first + 1, extent - 1), round((position - first) * 256)))
        return taps

    out = np.empty((height, width), np.uint8)
    x = image.astype(int)
    for i, (top, bottom, wy) in enumerate(axis(image.shape[0], height)):
        for j, (left, right, wx) in enumerate(axis(image.shape[1], width)):
            up = x[top, left] * (256 - wx) + x[top, right] * wx
            down = x[bottom, left] * (256 - wx) + x[bottom, right] * wx
            out[i, j] = (up * (256 - wy) + down * wy + (1 << 15)) >> 16
    return out


def harris(image: np.ndarray, x: int, y: int) -> float:
    pixels = image.astype(int)
    xx = yy = xy = 0
    for i in range(y - 3, y + 4):
        for j in range(x - 3, x + 4):
            around = pixels[i - 1 : i + 2, j - 1 : j + 2]
            dx = np.dot((1, 2, 1), around[:, 2] - around[:, 0])
            dy = np.dot((1, 2, 1), around[2] - around[0])
            xx, yy, xy = xx + dx * dx, yy + dy * dy, xy + dx * dy
    return float(xx * yy - xy * xy - 0.04 * (xx + yy) ** 2) / (4 * 7 * 255) ** 4


def orientation(image: np.ndarray, x: int, y: int) -> float:
    """Degrees in [0, 360): the direction of the centroid of a disc of radius 15."""
    half_width = [15, 15, 15, 15, 14, 14, 14, 13, 13, 12, 11, 10, 9, 8, 6, 3]
    m10 = m01 = 0
    for dy in range(-15, 16):
        for dx in range(-half_width[abs(dy)], half_width[abs(dy)] + 1):
            m10 += dx * int(image[y + dy, x + dx])
            m01 += dy * int(image[y + dy, x + dx])
    return math.degrees(math.atan2(m01, m10)) % 360


def brief(blurred: np.ndarray, x: int, y: int, angle: float, pattern: np.ndarray) -> np.ndarray:
    """Bytes of the tests ``pattern`` (4, tests): ax, ay, bx, by."""
    cosine, sine = (np.float32(f(math.radians(angle))) for f in (math.cos, math.sin))

    def pixel(px: np.float32, py: np.float32) -> int:
        column, row = np.rint(px * cosine - py * sine), np.rint(px * sine + py * cosine)
        return int(blurred[y + int(row), x + int(column)])

    bits = [pixel(ax, ay) < pixel(bx, by) for ax, ay, bx, by in pattern.astype(np.float32).T]
    return np.packbits(bits, bitorder="little")


def distances(a: np.ndarray, b: np.ndarray, metric: str) -> np.ndarray:
    """(N_a, N_b), float64."""
    if metric == "hamming":
        return np.unpackbits(a[:, None] ^ b[None], axis=2).sum(axis=2).astype(np.float64)
    difference = a.astype(np.float64)[:, None] - b.astype(np.float64)[None]
    return np.abs(difference).sum(axis=2) if metric == "l1" else np.sqrt((difference**2).sum(axis=2))


def corner_response(image: np.ndarray, block: int, k: float | None) -> np.ndarray:
    """Harris's with ``k``, or the lesser eigenvalue; the picture is mirrored at its border."""
    h, w = image.shape
    rows, columns = ([_mirrored(i, n) for i in range(-1, n + 1)] for n in (h, w))
    wide = image.astype(np.float64)[np.ix_(rows, columns)] / (255 * 4 * block)
    right, left = wide[:, 2:], wide[:, :-2]
    below, above = wide[2:], wide[:-2]
    dx = (right - left)[:-2] + 2 * (right - left)[1:-1] + (right - left)[2:]
    dy = (below - above)[:, :-2] + 2 * (below - above)[:, 1:-1] + (below - above)[:, 2:]
    before = block // 2
    sums = []
    for product in (dx * dx, dx * dy, dy * dy):
        rows, columns = ([_mirrored(i, n) for i in range(-before, n + block - before)] for n in (h, w))
        padded = product[np.ix_(rows, columns)]
        sums.append(sum(padded[i : i + h, j : j + w] for i in range(block) for j in range(block)))
    a, b, c = sums
    if k is not None:
        return a * c - b * b - k * (a + c) ** 2
    return np.linalg.eigvalsh(np.stack([np.stack([a, b], -1), np.stack([b, c], -1)], -1))[..., 0]


def corners(
    response: np.ndarray, quality: float, min_distance: float, mask: np.ndarray
) -> list[tuple[int, int]]:
    """Corners (x, y) by falling response, equal ones by rows."""
    h, w = response.shape
    least = quality * max(response[mask].max(initial=0), 0)
    found = [
        (x, y)
        for y in range(1, h - 1)
        for x in range(1, w - 1)
        if mask[y, x]
        and response[y, x] > max(least, 0)
        and response[y, x] >= response[y - 1 : y + 2, x - 1 : x + 2].max()
    ]
    found.sort(key=lambda p: (-response[p[1], p[0]], p[1], p[0]))
    kept: list[tuple[int, int]] = []
    for x, y in found:
        if all((x - u) ** 2 + (y - v) ** 2 >= min_distance**2 for u, v in kept):
            kept.append((x, y))
    return kept


def _box(sums: np.ndarray, top: float, left: float, bottom: float, right: float) -> float:
    """The sum of the pixels in [top, bottom) x [left, right), of those in the picture."""
    rows, columns = (
        [int(min(max(v, 0), n - 1)) for v in pair]
        for pair, n in zip(((top, bottom), (left, right)), sums.shape, strict=True)
    )
    (t, b), (l, r) = rows, columns
    return float(sums[b, r] - sums[t, r] - sums[b, l] + sums[t, l])


def integral(image: np.ndarray) -> np.ndarray:
    sums = np.zeros((image.shape[0] + 1, image.shape[1] + 1))
    sums[1:, 1:] = image.astype(np.float64).cumsum(0).cumsum(1)
    return sums


def surf_response(sums: np.ndarray, side: int, x: int, y: int) -> float:
    """The determinant of the Hessian by box filters, 0 where the filter leaves the picture."""
    lobe = side // 3
    reach, half = side // 2, lobe // 2
    h, w = sums.shape[0] - 1, sums.shape[1] - 1
    if min(x, y) < reach or x + reach >= w or y + reach >= h:
        return 0.0
    narrow = lobe - 1  # boxes are 2 lobe - 1 wide across
    xx = _box(sums, y - narrow, x - reach, y + narrow + 1, x + reach + 1)
    xx -= 3 * _box(sums, y - narrow, x - half, y + narrow + 1, x + half + 1)
    yy = _box(sums, y - reach, x - narrow, y + reach + 1, x + narrow + 1)
    yy -= 3 * _box(sums, y - half, x - narrow, y + half + 1, x + narrow + 1)
    xy = (
        _box(sums, y - lobe, x - lobe, y, x)
        + _box(sums, y + 1, x + 1, y + lobe + 1, x + lobe + 1)
        - _box(sums, y - lobe, x + 1, y, x + lobe + 1)
        - _box(sums, y + 1, x - lobe, y + lobe + 1, x)
    )
    return (xx * yy - (0.9 * xy) ** 2) / (lobe * (2 * lobe - 1)) ** 2


def surf_detect(image: np.ndarray, threshold: float, octaves: int) -> list[tuple[float, ...]]:
    """(x, y, size, response, octave) by falling response."""
    sums = integral(image)
    h, w = image.shape
    found = []
    for octave in range(octaves):
        step = 1 << octave
        sides = [3 * (2 ** (octave + 1) * (layer + 1) + 1) for layer in range(4)]
        grid = np.array(
            [
                [[surf_response(sums, side, x, y) for x in range(0, w, step)] for y in range(0, h, step)]
                for side in sides
            ]
        )
        for layer in (1, 2):
            reach = sides[layer + 1] // 2
            for i in range(1, grid.shape[1] - 1):
                for j in range(1, grid.shape[2] - 1):
                    y, x = i * step, j * step
                    if min(x, y) < reach or x + reach >= w or y + reach >= h:
                        continue
                    block = grid[layer - 1 : layer + 2, i - 1 : i + 2, j - 1 : j + 2]
                    value = block[1, 1, 1]
                    if value <= threshold or value < block.max():
                        continue
                    gradient = np.array(
                        [
                            (block[1, 1, 2] - block[1, 1, 0]) / 2,
                            (block[1, 2, 1] - block[1, 0, 1]) / 2,
                            (block[2, 1, 1] - block[0, 1, 1]) / 2,
                        ]
                    )
                    second = np.empty((3, 3))
                    unit = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])  # of x, y and layer in the block
                    at = lambda d, block=block: block[tuple(1 + np.asarray(d))]  # noqa: E731
                    for a in range(3):
                        for b in range(3):
                            u, v = unit[a], unit[b]
                            if a == b:
                                second[a, b] = at(u) + at(-u) - 2 * value
                            else:
                                second[a, b] = (at(u + v) - at(u - v) - at(v - u) + at(-u - v)) / 4
                    move = -np.linalg.solve(second, gradient)
                    if np.abs(move).max() > 1:
                        continue
                    size = sides[layer] + move[2] * 6 * step
                    found.append((x + move[0] * step, y + move[1] * step, size, value, octave))
    return sorted(found, key=lambda k: -k[3])


def _wavelets(sums: np.ndarray, x: float, y: float, half: int) -> tuple[float, float]:
    column, row = math.floor(x) + 1, math.floor(y) + 1
    whole = (row - half, column - half, row + half, column + half)
    left = _box(sums, whole[0], whole[1], whole[2], column)
    top = _box(sums, whole[0], whole[1], row, whole[3])
    return _box(sums, *whole) - 2 * left, _box(sums, *whole) - 2 * top


def surf_angle(sums: np.ndarray, x: float, y: float, size: float) -> float:
    scale = size * 1.2 / 9
    half = max(round(2 * scale), 1)
    bins = np.zeros((72, 2))
    for v in range(-6, 7):
        for u in range(-6, 7):
            if u * u + v * v <= 36:
                weight = math.exp(-(u * u + v * v) / (2 * 2.5**2))
                vector = weight * np.array(_wavelets(sums, x + u * scale, y + v * scale, half))
                degrees = math.degrees(math.atan2(vector[1], vector[0])) % 360
                bins[int(degrees / 5) % 72] += vector
    windows = [sum(bins[(k + i) % 72] for i in range(12)) for k in range(72)]
    longest = max(windows, key=lambda s: float(s @ s))
    return math.degrees(math.atan2(longest[1], longest[0])) % 360


def surf_describe(
    sums: np.ndarray, x: float, y: float, size: float, angle: float, extended: bool
) -> np.ndarray:
    scale = size * 1.2 / 9
    half = max(round(scale), 1)
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    grid = np.empty((24, 24, 2))
    for i in range(24):
        for j in range(24):
            u, v = (j - 11.5) * scale, (i - 11.5) * scale
            dx, dy = _wavelets(sums, x + u * c - v * s, y + u * s + v * c, half)
            grid[i, j] = dx * c + dy * s, dy * c - dx * s
    near = np.arange(9) - 4
    cell = np.exp(-(near[:, None] ** 2 + near**2) / (2 * 2.5**2))
    values: list[float] = []
    for i in range(4):
        for j in range(4):
            dx, dy = (grid[5 * i : 5 * i + 9, 5 * j : 5 * j + 9, k] * cell for k in (0, 1))
            weight = math.exp(-((i - 1.5) ** 2 + (j - 1.5) ** 2) / (2 * 1.5**2))
            if extended:
                up, right = dy >= 0, dx >= 0
                sums_of = [dx[up].sum(), np.abs(dx[up]).sum(), dx[~up].sum(), np.abs(dx[~up]).sum()]
                sums_of += [dy[right].sum(), np.abs(dy[right]).sum()]
                sums_of += [dy[~right].sum(), np.abs(dy[~right]).sum()]
            else:
                sums_of = [dx.sum(), dy.sum(), np.abs(dx).sum(), np.abs(dy).sum()]
            values += [weight * value for value in sums_of]
    vector = np.array(values)
    return vector / np.linalg.norm(vector)


def _fast_scores(image: np.ndarray, circle: str) -> np.ndarray:
    scores = np.zeros(image.shape)
    corners, values = fast(image, 0, circle, False)
    for (x, y), value in zip(corners, values, strict=True):
        scores[y, x] = value
    return scores


def _peak(scores: np.ndarray, x: int, y: int) -> tuple[float, float, float]:
    """Place and value of the maximum of the parabola through 3 x 3 scores, least squares."""
    h, w = scores.shape
    if min(x, y) < 4 or x >= w - 4 or y >= h - 4:
        return float(x), float(y), 0.0
    near = np.arange(-1, 2)
    u, v = (a.ravel() for a in np.meshgrid(near, near))
    terms = np.stack([np.ones(9), u, v, u * u, v * v, u * v], 1)
    values = scores[y - 1 : y + 2, x - 1 : x + 2].ravel()
    p, q, r, xx, yy, xy = np.linalg.lstsq(terms, values, rcond=None)[0]
    if not (4 * xx * yy - xy * xy > 1e-9 and xx < 0):
        return float(x), float(y), float(scores[y, x])
    dx, dy = np.clip(np.linalg.solve([[2 * xx, xy], [xy, 2 * yy]], [-q, -r]), -1, 1)
    return x + dx, y + dy, p + q * dx + r * dy + xx * dx * dx + yy * dy * dy + xy * dx * dy


def _two_thirds(image: np.ndarray) -> np.ndarray:
    """Three pixels become two along both axes: means of one and a half, rounded half up."""
    h, w = (n // 3 for n in image.shape)
    blocks = image[: 3 * h, : 3 * w].astype(int).reshape(h, 3, w, 3)
    weights = np.array([[2, 1, 0], [0, 1, 2]])
    sums = np.einsum("iajb,pa,qb->ipjq", blocks, weights, weights)
    return ((sums + 4) // 9).astype(np.uint8).reshape(2 * h, 2 * w)


def brisk_detect(image: np.ndarray, threshold: int, octaves: int) -> list[tuple[float, ...]]:
    """(x, y, size, response, layer), whether or not the pattern fits, by falling response."""
    layers = [image]
    scales = [(1.5 if k % 2 else 1.0) * 2 ** (k // 2) for k in range(2 * octaves)]
    steps = [(1.0, 1.0)]
    for k in range(1, 2 * octaves):
        if k == 1:
            layers.append(_two_thirds(image))
            steps.append((1.5, 1.5))
            continue
        h, w = layers[k - 2].shape
        layers.append(resize(layers[k - 2], h // 2, w // 2))
        steps.append((steps[k - 2][0] * w / (w // 2), steps[k - 2][1] * h / (h // 2)))
    scores = [_fast_scores(layer, "9-16") for layer in layers]
    virtual = _fast_scores(image, "5-8")

    def outward(k: int, x: float, y: float) -> tuple[float, float]:
        return (x + 0.5) * steps[k][0] - 0.5, (y + 0.5) * steps[k][1] - 0.5

    def neighbour(k: int, other: int, x: int, y: int) -> tuple[float, float, float] | None:
        px, py = outward(k, x, y)
        u, v = (px + 0.5) / steps[other][0] - 0.5, (py + 0.5) / steps[other][1] - 0.5
        reach = scales[k] / scales[other] / 2
        s = np.where(scores[other] >= threshold, scores[other] + 1, 0)
        best = (min(max(round(u), 0), s.shape[1] - 1), min(max(round(v), 0), s.shape[0] - 1))
        if s[best[1], best[0]] > scores[k][y, x] + 1:
            return None
        for j in range(max(math.ceil(v - reach), 0), min(math.floor(v + reach), s.shape[0] - 1) + 1):
            for i in range(max(math.ceil(u - reach), 0), min(math.floor(u + reach), s.shape[1] - 1) + 1):
                if s[j, i] > scores[k][y, x] + 1:
                    return None
                if s[j, i] > s[best[1], best[0]]:
                    best = (i, j)
        bx, by, value = _peak(scores[other], *best)
        return *outward(other, bx, by), max(value, s[best[1], best[0]] - 1)

    found = []
    for k, map_ in enumerate(scores):
        s = np.where(map_ >= threshold, map_ + 1, 0)
        weights = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])
        for y in range(3, s.shape[0] - 3):
            for x in range(3, s.shape[1] - 3):
                block = s[y - 1 : y + 2, x - 1 : x + 2]
                if s[y, x] == 0 or s[y, x] < block.max():
                    continue
                mine = (int((weights * block).sum()), -y, -x)
                ties = [
                    (int((weights * s[b - 1 : b + 2, a - 1 : a + 2]).sum()), -b, -a)
                    for b in range(y - 1, y + 2)
                    for a in range(x - 1, x + 2)
                    if (a, b) != (x, y) and s[b, a] == s[y, x]
                ]
                if any(tie > mine for tie in ties):
                    continue
                above = below = (0.0, 0.0, 0.0)
                if k + 1 < len(scores):
                    peak = neighbour(k, k + 1, x, y)
                    if peak is None:
                        continue
                    above = peak
                if k > 0:
                    peak = neighbour(k, k - 1, x, y)
                    if peak is None:
                        continue
                    below = peak
                px, py, value = _peak(map_, x, y)
                px, py = outward(k, px, py)
                value = max(value, map_[y, x])
                scale, response = 1.0, value
                if k + 1 < len(scores):
                    if k == 0:
                        inside = 4 <= x < image.shape[1] - 4 and 4 <= y < image.shape[0] - 4
                        highest = virtual[y - 1 : y + 2, x - 1 : x + 2].max()
                        below = (px, py, float(highest) if inside else 0.0)
                    at = [0.7 if k == 0 else scales[k - 1] / scales[k], 1.0, scales[k + 1] / scales[k]]
                    values = [below[2], value, above[2]]
                    curve = np.polyfit(at, values, 2)
                    if curve[0] >= 0:
                        scale = at[int(np.argmax(values))]
                        response = max(values)
                    else:
                        scale = float(np.clip(-curve[1] / (2 * curve[0]), at[0], at[2]))
                        response = float(np.polyval(curve, scale))
                    other = above if scale > 1 else below
                    share = (scale - 1) / (at[2] - 1) if scale > 1 else (1 - scale) / (1 - at[0])
                    px, py = px + share * (other[0] - px), py + share * (other[1] - py)
                if response > threshold:
                    found.append((px, py, 12 * scale * scales[k], response, k))
    return sorted(found, key=lambda f: -f[3])


def brisk_points(
    image: np.ndarray, x: float, y: float, size: float, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """The pattern's points (60, 2) in units of t, and the means over their squares."""
    t = size / 7.2
    points, means = [], []
    for radius, count in zip((0, 2.9, 4.9, 7.4, 10.8), (1, 10, 14, 15, 20), strict=True):
        for i in range(count):
            turn = 2 * math.pi * i / count
            points.append((0.85 * radius * math.cos(turn), 0.85 * radius * math.sin(turn)))
            half = 1.3 * (0.85 * radius * math.sin(math.pi / count) if radius else 0.5)
            half = max(half * t, 0.5)
            far = 0.85 * radius * t
            u = x + far * math.cos(turn + math.radians(angle))
            v = y + far * math.sin(turn + math.radians(angle))
            columns, rows = (
                np.clip(np.minimum(c + half, k + 0.5) - np.maximum(c - half, k - 0.5), 0, None)
                for c, k in ((u, np.arange(image.shape[1])), (v, np.arange(image.shape[0])))
            )
            means.append(rows @ image.astype(np.float64) @ columns / (2 * half) ** 2)
    return np.array(points), np.array(means)


def brisk_angle(image: np.ndarray, x: float, y: float, size: float) -> float:
    points, means = brisk_points(image, x, y, size, 0)
    total = np.zeros(2)
    for i in range(60):
        for j in range(i):
            apart = points[i] - points[j]
            if apart @ apart > 8.2**2:
                total += (means[i] - means[j]) * apart / (apart @ apart)
    return math.degrees(math.atan2(total[1], total[0])) % 360


def brisk_describe(image: np.ndarray, x: float, y: float, size: float, angle: float) -> np.ndarray:
    points, means = brisk_points(image, x, y, size, angle)
    bits = [
        means[i] > means[j]
        for i in range(60)
        for j in range(i)
        if ((points[i] - points[j]) ** 2).sum() < 5.85**2
    ]
    return np.packbits(bits, bitorder="little")

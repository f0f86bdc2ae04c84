# SPDX-License-Identifier: Apache-2.0
"""Photographs that overlap, made into one.

Brown and Lowe, "Automatic panoramic image stitching using invariant features", IJCV 2007; Burt and Adelson,
"A multiresolution spline with application to image mosaics", 1983.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from pyvision import _core
from pyvision._array import Array, as_numpy, result_like
from pyvision.features._alignment import refine_homography
from pyvision.features.brisk import BRISK
from pyvision.features.geometry import find_homography
from pyvision.features.matching import match
from pyvision.features.orb import ORB
from pyvision.features.sift import SIFT
from pyvision.features.surf import SURF

_OP = "stitch"
_Pixels = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]
_Matrix = npt.NDArray[np.float64]

_DETECTORS = {"SIFT": SIFT, "ORB": ORB, "BRISK": BRISK, "SURF": SURF}
_FEATURES = 1500
_SEARCH_PIXELS = 600_000  # features are looked for in pictures of about this size
_OVERVIEW_PIXELS = 100_000  # the panorama's, in which seams and exposures are first looked at
_TILE = 512
_BANDS = 4
_REACH = 4 * 2**_BANDS  # pixels beside a seam up to which its blending can be seen
_MOST = 16  # times the photographs' area: what a panorama may take


def stitch(
    images: Sequence[Array],
    *,
    features: Literal["SIFT", "ORB", "BRISK", "SURF"] = "SIFT",
    projection: Literal["auto", "plane", "cylinder"] = "auto",
) -> Array:
    """One picture of photographs that overlap, taken from one place or of something flat, in any order.

    Features are matched between all pairs; homographies, refined together, lead from every photograph to one
    in the middle; brightness is evened out; seams run where both photographs are equally far from their
    edges; and along them frequency bands are blended, the lower the wider.

    Args:
        images: two or more photographs, uint8 RGB (H, W, 3) or grey (H, W); of RGB with alpha (H, W, 4) alpha
            is dropped.
        features: what is matched.
        projection: "plane": that of the photograph in the middle; "cylinder", around the viewer, for what is
            too wide for that; "auto" takes the plane where it does.

    Returns:
        uint8 RGB (H, W, 3), black where no photograph is; of the kind of the first one.

    Raises:
        TypeError: an argument is of another type.
        ValueError: there is one photograph alone, a shape or option is out of range, photographs do not
            overlap, or what they show does not fit the projection.
    """
    if features not in tuple(_DETECTORS):
        raise ValueError(f"[{_OP}] expected features to be one of {', '.join(_DETECTORS)}, got {features!r}")
    if projection not in ("auto", "plane", "cylinder"):
        raise ValueError(
            f"[{_OP}] expected projection to be one of auto, plane, cylinder, got {projection!r}"
        )
    if not isinstance(images, Sequence) or isinstance(images, str | bytes):
        raise TypeError(f"[{_OP}] expected images to be a sequence of arrays, got {type(images).__name__}")
    if len(images) < 2:
        raise ValueError(f"[{_OP}] expected images to be two or more, got {len(images)}")
    pictures = [_rgb(image, index) for index, image in enumerate(images)]
    links = _links(pictures, features)
    root, to_root = _aligned(links, len(pictures))
    shapes = [picture.shape[:2] for picture in pictures]
    scene = _scene(shapes, links, root, to_root, projection)
    return result_like(_composed(pictures, scene), images[0])


def _rgb(image: Array, index: int) -> _Pixels:
    x = as_numpy(image, _OP, f"images[{index}]", ("uint8",))
    if x.ndim not in (2, 3) or 0 in x.shape or (x.ndim == 3 and x.shape[2] not in (3, 4)):
        raise ValueError(
            f"[{_OP}] expected images[{index}] of shape (H, W), (H, W, 3) or (H, W, 4), got {x.shape}"
        )
    return np.ascontiguousarray(x[:, :, :3] if x.ndim == 3 else np.repeat(x[:, :, None], 3, axis=2))


# ---- which photographs overlap, and how


@dataclass(frozen=True)
class _Link:
    """Two photographs, the homography from the first to the second, and points that agree with it."""

    first: int
    second: int
    strength: int  # matches that agree
    homography: _Matrix
    src: _Matrix  # (M, 2) in the first
    dst: _Matrix  # (M, 2) in the second


@dataclass(frozen=True)
class _View:
    """A photograph as it is looked at for features."""

    grey: _Pixels
    step: int  # how far it was shrunk for that
    xy: _Floats  # of its features, in pixels of `grey`
    descriptors: np.ndarray

    @property
    def to_picture(self) -> _Matrix:
        shift = (self.step - 1) / 2
        return np.array([[self.step, 0, shift], [0, self.step, shift], [0, 0, 1]])


def _links(pictures: Sequence[_Pixels], features: str) -> list[_Link]:
    views = [_view(picture, features) for picture in pictures]
    links = []
    for (i, a), (j, b) in combinations(enumerate(views), 2):
        pairs = match(a.descriptors, b.descriptors, ratio=0.75, cross_check=True)
        src, dst = a.xy[pairs.indices[:, 0]], b.xy[pairs.indices[:, 1]]
        matrix, inliers = find_homography(src, dst)
        strength = int(inliers.sum())
        # Brown and Lowe's test that so many agree not by chance.
        if matrix is None or strength <= 8 + 0.3 * len(pairs):
            continue
        points = src[inliers].astype(np.float64)
        refined = refine_homography(a.grey, b.grey, matrix)
        if refined is not None:
            matrix, points = refined
        matrix = b.to_picture @ matrix @ np.linalg.inv(a.to_picture)
        ends = points[:: -(-len(points) // 300)] @ a.to_picture[:2, :2].T + a.to_picture[:2, 2]
        links.append(_Link(i, j, strength, matrix / matrix[2, 2], ends, _projected(matrix, ends)))
    return links


def _view(picture: _Pixels, features: str) -> _View:
    grey = _core.to_grey(picture)
    step = max(1, round((grey.size / _SEARCH_PIXELS) ** 0.5))
    if step > 1:
        height, width = (extent // step for extent in grey.shape)
        sums = np.zeros((height, width), np.uint32)
        for row in range(step):
            for column in range(step):
                sums += grey[row : height * step : step, column : width * step : step]
        grey = ((sums + step * step // 2) // (step * step)).astype(np.uint8)
    keypoints, descriptors = _DETECTORS[features](_FEATURES).detect_and_compute(grey)
    return _View(grey, step, keypoints.xy, descriptors)


def _projected(matrix: _Matrix, points: _Matrix) -> _Matrix:
    q = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(q[:, :2] / q[:, 2:])


def _aligned(links: Sequence[_Link], count: int) -> tuple[int, list[_Matrix]]:
    """The photograph in the middle, and the homographies from all to it."""
    neighbours: list[dict[int, _Matrix]] = [{} for _ in range(count)]
    joined, tree = {0}, []
    while len(joined) < count:  # the strongest links that reach all
        leading = [link for link in links if (link.first in joined) != (link.second in joined)]
        if not leading:
            alone = sorted(set(range(count)) - joined)
            raise ValueError(
                f"[{_OP}] expected images that overlap, got no match between {sorted(joined)} and {alone}"
            )
        best = max(leading, key=lambda link: link.strength)
        joined |= {best.first, best.second}
        tree.append(best)
    for link in tree:
        forward = link.homography / np.cbrt(np.linalg.det(link.homography))
        neighbours[link.first][link.second] = forward
        neighbours[link.second][link.first] = np.linalg.inv(forward)

    def chained(root: int) -> tuple[int, dict[int, _Matrix]]:
        """How many links the farthest is away, and the products along the tree."""
        to_root, ring, depth = {root: np.eye(3)}, [root], 0
        while len(to_root) < count:
            depth += 1
            steps = [(far, near) for near in ring for far in neighbours[near] if far not in to_root]
            for far, near in steps:
                to_root[far] = to_root[near] @ neighbours[far][near]
            ring = [far for far, _ in steps]
        return depth, to_root

    root = min(range(count), key=lambda i: chained(i)[0])
    to_root = chained(root)[1]
    return root, _refined([to_root[i] for i in range(count)], links, root)


def _refined(to_root: list[_Matrix], links: Sequence[_Link], root: int) -> list[_Matrix]:
    """Levenberg-Marquardt over all homographies at once: what links call the same shall meet."""
    count = len(to_root)
    if count == 2:
        return to_root  # one link, which is fitted already
    extent = max(max(float(link.src.max()), float(link.dst.max())) for link in links)
    unit = np.diag([1 / extent, 1 / extent, 1])
    current = np.array([unit @ h @ np.linalg.inv(unit) for h in to_root])
    if any((points @ current[i][2, :2] / extent + current[i][2, 2] <= 0).any() for i, points in _ends(links)):
        return to_root  # around the viewer: there is no plane on which all meet
    current /= current[:, 2:, 2:]
    free = [i for i in range(count) if i != root]

    def system(matrices: npt.NDArray[np.float64]) -> tuple[float, _Matrix, _Matrix]:
        normal, right, error = np.zeros((8 * count, 8 * count)), np.zeros(8 * count), 0.0
        for link in links:
            sides = []
            for i, points in ((link.first, link.src), (link.second, link.dst)):
                p = np.column_stack([points / extent, np.ones(len(points))])
                q = p @ matrices[i].T
                at = q[:, :2] / q[:, 2:]
                slopes = np.zeros((len(p), 2, 8))
                slopes[:, 0, :3] = slopes[:, 1, 3:6] = p / q[:, 2:]
                slopes[:, :, 6:] = -at[:, :, None] * (p[:, None, :2] / q[:, 2:, None])
                sides.append((i, at, slopes.reshape(-1, 8)))
            (i, at_i, slopes_i), (j, at_j, slopes_j) = sides
            rest = (at_j - at_i).ravel()
            error += float(rest @ rest)
            for a, slopes_a, sign in ((i, slopes_i, 1), (j, slopes_j, -1)):
                right[8 * a : 8 * a + 8] += sign * slopes_a.T @ rest
                for b, slopes_b, other in ((i, slopes_i, 1), (j, slopes_j, -1)):
                    normal[8 * a : 8 * a + 8, 8 * b : 8 * b + 8] += sign * other * slopes_a.T @ slopes_b
        return error, normal, right

    columns = np.concatenate([np.arange(8 * i, 8 * i + 8) for i in free])
    error, normal, right = system(current)
    damping = 1e-6
    for _ in range(20):
        part = normal[np.ix_(columns, columns)]
        step = np.linalg.solve(part + damping * np.diag(part.diagonal() + 1e-12), right[columns])
        trial = current.copy()
        for k, i in enumerate(free):
            trial[i].flat[:8] += step[8 * k : 8 * k + 8]
        result = system(trial)
        if not result[0] < error:
            damping *= 100
            continue
        done = error - result[0] <= 1e-9 * error
        current, (error, normal, right), damping = trial, result, damping / 10
        if done:
            break
    return [np.linalg.inv(unit) @ h @ unit for h in current]


def _ends(links: Sequence[_Link]) -> Iterator[tuple[int, _Matrix]]:
    for link in links:
        yield link.first, link.src
        yield link.second, link.dst


# ---- where they lie in the panorama


@dataclass(frozen=True)
class _Scene:
    """The panorama's extent, and what leads from its pixels to those of each photograph."""

    height: int
    width: int
    left: float
    top: float
    to_image: list[_Matrix]  # from the root's pixels; for a cylinder from rays
    focal: float | None  # of a cylinder, pixels per radian; None for the plane

    def transform(self, index: int, x: int, y: int) -> _Matrix:
        """On the plane: from pixels, the first at (x, y), to photograph ``index``."""
        place = np.array([[1, 0, x + self.left], [0, 1, y + self.top], [0, 0, 1]])
        return np.asarray(self.to_image[index] @ place)

    def positions(
        self, index: int, x: int, y: int, width: int, height: int, step: int = 1
    ) -> tuple[_Floats, _Floats]:
        """Where pixels ``step`` apart lie in photograph ``index``: x and y; far away if behind it."""
        shift = (step - 1) / 2
        columns, rows = (np.arange(count, dtype=np.float64) * step + shift for count in (width, height))
        if self.focal is None:
            m = self.transform(index, x, y)
            across, down = m[:, :1] * columns, m[:, 1:2] * rows + m[:, 2:]
        else:
            turn, rise = (columns + x + self.left) / self.focal, (rows + y + self.top) / self.focal
            m = self.to_image[index]
            across, down = m[:, :1] * np.sin(turn) + m[:, 2:] * np.cos(turn), m[:, 1:2] * rise
        u, v, w = across[:, None, :].astype(np.float32) + down[:, :, None].astype(np.float32)
        if not (w > 1e-12).all():
            u, v = (np.where(w > 1e-12, a, np.float32(-1e6)) for a in (u, v))
            w = np.where(w > 1e-12, w, np.float32(1))
        return u / w, v / w


def _scene(
    shapes: Sequence[tuple[int, ...]],
    links: Sequence[_Link],
    root: int,
    to_root: Sequence[_Matrix],
    projection: str,
) -> _Scene:
    area = sum(shape[0] * shape[1] for shape in shapes)
    outlines = [_outline(shape) @ matrix.T for shape, matrix in zip(shapes, to_root, strict=True)]
    if projection != "cylinder":
        flat = all((outline[:, 2] > 0).all() for outline in outlines)
        points = np.concatenate([outline[:, :2] / outline[:, 2:] for outline in outlines]) if flat else None
        inverses = [np.asarray(np.linalg.inv(matrix), np.float64) for matrix in to_root]
        scene = _bounded(points, inverses, None)
        limit = 3 if projection == "auto" else _MOST
        if scene is not None and scene.height * scene.width <= limit * area:
            return scene
        if projection == "plane":
            raise ValueError(
                f"[{_OP}] expected images that fit on a plane, got a view too wide for it: "
                "use projection='cylinder'"
            )
    focal = _focal_length(shapes, links)
    centre = (np.array(shapes[root][::-1]) - 1) / 2
    camera = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
    unrolled = []
    for outline, shape, matrix in zip(outlines, shapes, to_root, strict=True):
        middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2, 1]) @ matrix.T
        rays, ahead = (np.linalg.solve(camera, p.T).T for p in (outline, middle[None]))
        around = np.arctan2(ahead[0, 0], ahead[0, 2])
        turn = np.arctan2(rays[:, 0], rays[:, 2]) - around
        turn = around + np.mod(turn + np.pi, 2 * np.pi) - np.pi
        unrolled.append(focal * np.column_stack([turn, rays[:, 1] / np.hypot(rays[:, 0], rays[:, 2])]))
    scene = _bounded(np.concatenate(unrolled), [np.linalg.inv(matrix) @ camera for matrix in to_root], focal)
    if scene is None or scene.height * scene.width > _MOST * area:
        raise ValueError(f"[{_OP}] expected images that one view can show, got no sound geometry from them")
    return scene


def _outline(shape: tuple[int, ...]) -> _Matrix:
    """Points along the edges of a photograph, (N, 3)."""
    height, width = shape[0] - 1, shape[1] - 1
    share = np.linspace(0, 1, 65)
    edges = [(share, 0 * share), (share, 0 * share + 1), (0 * share, share), (0 * share + 1, share)]
    points = np.concatenate([np.column_stack(edge) for edge in edges]) * (width, height)
    return np.column_stack([points, np.ones(len(points))])


def _bounded(points: _Matrix | None, to_image: list[_Matrix], focal: float | None) -> _Scene | None:
    if points is None or not np.isfinite(points).all() or np.abs(points).max() > 1e7:
        return None
    # Whole numbers: the photograph in the middle is copied rather than resampled. Less than a quarter of a
    # pixel is left out.
    left, top = np.floor(points.min(axis=0) + 0.25)
    right, bottom = np.ceil(points.max(axis=0) - 0.25)
    return _Scene(int(bottom - top) + 1, int(right - left) + 1, float(left), float(top), to_image, focal)


def _focal_length(shapes: Sequence[tuple[int, ...]], links: Sequence[_Link]) -> float:
    """In pixels, of a camera that only turned: Szeliski and Shum, "Creating full view panoramic mosaics"."""
    found = []
    for link in links:
        centres = [np.eye(3), np.eye(3)]
        for matrix, index in zip(centres, (link.first, link.second), strict=True):
            matrix[:2, 2] = (np.array(shapes[index][::-1]) - 1) / 2
        h = (np.linalg.inv(centres[1]) @ link.homography @ centres[0]).ravel()
        squares = [
            _square(
                (-(h[0] * h[1] + h[3] * h[4]), h[6] * h[7]),
                (h[0] ** 2 + h[3] ** 2 - h[1] ** 2 - h[4] ** 2, h[7] ** 2 - h[6] ** 2),
            ),
            _square(
                (-h[2] * h[5], h[0] * h[3] + h[1] * h[4]),
                (h[5] ** 2 - h[2] ** 2, h[0] ** 2 + h[1] ** 2 - h[3] ** 2 - h[4] ** 2),
            ),
        ]
        if squares[0] > 0 and squares[1] > 0:
            found.append((squares[0] * squares[1]) ** 0.25)
    return float(np.median(found)) if found else float(max(max(shape[:2]) for shape in shapes))


def _square(first: tuple[float, float], second: tuple[float, float]) -> float:
    """The larger-denominator one of two estimates of a square, as fractions; 0 where none is positive."""
    positive = [abs(b) for a, b in (first, second) if b != 0 and a / b > 0]
    return next(
        (a / b for a, b in (first, second) if positive and abs(b) == max(positive) and a / b > 0), 0.0
    )


# ---- what is seen there


def _composed(pictures: Sequence[_Pixels], scene: _Scene) -> _Pixels:
    step = max(1, round((scene.height * scene.width / _OVERVIEW_PIXELS) ** 0.5))
    height, width = -(-scene.height // step), -(-scene.width // step)
    overview = [scene.positions(index, 0, 0, width, height, step) for index in range(len(pictures))]
    depths = np.stack([_depth(u, v, p) for (u, v), p in zip(overview, pictures, strict=True)])
    labels = np.where(depths.max(axis=0) >= 0, depths.argmax(axis=0), -1)
    tables = [_table(gain) for gain in _gains(pictures, overview, depths)]
    canvas = np.zeros((scene.height, scene.width, 3), np.uint8)
    reach = -(-_REACH // step) + 1

    def fill(corner: tuple[int, int]) -> None:
        y, x = corner
        here = canvas[y : y + _TILE, x : x + _TILE]
        rows, columns = (
            slice(max(first // step - reach, 0), (first + extent) // step + reach + 1)
            for first, extent in ((y, here.shape[0]), (x, here.shape[1]))
        )
        around = labels[rows, columns]
        seen = [int(index) for index in np.unique(around) if index >= 0]
        if len(seen) == 1:
            here[...] = _seen(
                pictures[seen[0]], tables[seen[0]], scene, seen[0], x, y, (here.shape[0], here.shape[1])
            )
        elif seen:
            # Out to where the seam cannot be felt, in whole pixels of the coarsest band.
            left, top = max(x - _REACH, 0), max(y - _REACH, 0)
            right = min(x + here.shape[1] + _REACH, scene.width)
            bottom = min(y + here.shape[0] + _REACH, scene.height)
            blended = _blended(pictures, tables, scene, seen, left, top, right - left, bottom - top)
            here[...] = blended[y - top :, x - left :][: here.shape[0], : here.shape[1]]

    corners = [(y, x) for y in range(0, scene.height, _TILE) for x in range(0, scene.width, _TILE)]
    with ThreadPoolExecutor(_core.num_threads()) as pool:
        for _ in pool.map(fill, corners):
            pass
    return canvas


def _depth(u: _Floats, v: _Floats, picture: _Pixels) -> _Floats:
    """How far inside the photograph positions lie, in its pixels; negative outside."""
    height, width = picture.shape[:2]
    across = np.minimum(u, np.float32(width - 1) - u)
    depth: _Floats = np.minimum(across, np.minimum(v, np.float32(height - 1) - v))
    return depth + np.float32(1e-3)  # what rounding puts just outside is inside


def _gains(
    pictures: Sequence[_Pixels], overview: Sequence[tuple[_Floats, _Floats]], depths: _Floats
) -> npt.NDArray[np.float64]:
    """Factors after which photographs agree where they overlap, and which are near 1."""
    count = len(pictures)
    normal, right = np.zeros((count, count)), np.zeros(count)
    grey = [
        _core.remap(picture[None], u, v, "nearest", "replicate", [0.0] * 3)[0].mean(axis=2)
        for picture, (u, v) in zip(pictures, overview, strict=True)
    ]
    for i, j in combinations(range(count), 2):
        both = (depths[i] >= 0) & (depths[j] >= 0)
        # Clipped pixels say nothing of exposure.
        both &= (np.minimum(grey[i], grey[j]) > 5) & (np.maximum(grey[i], grey[j]) < 250)
        number = float(both.sum())
        if number == 0:
            continue
        mean_i, mean_j = (float(picture[both].mean()) for picture in (grey[i], grey[j]))
        # number ((g_i mean_i - g_j mean_j)^2 / 10^2 + (1 - g_i)^2 + (1 - g_j)^2): Brown and Lowe's, with less
        # weight on gains near 1, which are only there to say how bright the whole is.
        normal[i, i] += number * (mean_i**2 / 100 + 1)
        normal[j, j] += number * (mean_j**2 / 100 + 1)
        normal[i, j] = normal[j, i] = -number * mean_i * mean_j / 100
        right[[i, j]] += number
    alone = normal.diagonal() == 0
    normal[alone, alone], right[alone] = 1, 1
    return np.asarray(np.linalg.solve(normal, right))


def _table(gain: float) -> _Pixels | None:
    """Every level times the factor; None where that changes nothing that can be seen."""
    if abs(gain - 1) < 1 / 512:
        return None
    table: _Pixels = np.rint(np.arange(256) * gain).clip(0, 255).astype(np.uint8)
    return table


def _corrected(pixels: _Pixels, table: _Pixels | None) -> _Pixels:
    return pixels if table is None else np.asarray(table[pixels])


def _seen(
    picture: _Pixels,
    table: _Pixels | None,
    scene: _Scene,
    index: int,
    x: int,
    y: int,
    extent: tuple[int, ...],
) -> _Pixels:
    """One photograph's part of the panorama, black outside it."""
    if scene.focal is None:
        m = scene.transform(index, x, y).ravel().tolist()
        height, width = extent
        outside = [0.0] * 3
        pixels = _core.warp_projective(picture[None], m, height, width, "bilinear", "constant", outside, _OP)[
            0
        ]
    else:
        u, v = scene.positions(index, x, y, extent[1], extent[0])
        pixels = _core.remap(picture[None], u, v, "bilinear", "constant", [0.0] * 3)[0]
    return _corrected(pixels, table)


def _blended(
    pictures: Sequence[_Pixels],
    tables: Sequence[_Pixels | None],
    scene: _Scene,
    seen: Sequence[int],
    x: int,
    y: int,
    width: int,
    height: int,
) -> _Pixels:
    """Several photographs' part of the panorama.

    Outside a photograph stands what the panorama shows there without blending, so that its edge is none.
    """
    depths, parts = [], []
    for index in seen:
        u, v = scene.positions(index, x, y, width, height)
        depths.append(_depth(u, v, pictures[index]))
        pixels = _core.remap(pictures[index][None], u, v, "bilinear", "constant", [0.0] * 3)[0]
        parts.append(_corrected(pixels, tables[index]))
    owner = np.argmax(depths, axis=0)
    plain = parts[0].copy()
    for k in range(1, len(seen)):
        np.copyto(plain, parts[k], where=(owner == k)[:, :, None])
    # Only so far from the seams is there anything to blend.
    rows, columns = (_around(np.diff(owner, axis=axis).any(axis=1 - axis)) for axis in (0, 1))
    filled = [
        np.where((depth >= 0)[:, :, None], part, plain)[rows, columns].astype(np.float32)
        for depth, part in zip(depths, parts, strict=True)
    ]
    total = filled[0]
    for k in range(1, len(seen)):
        weight = (owner[rows, columns] == k).astype(np.float32)[:, :, None]
        if weight.any():
            total = total + _banded(filled[k] - filled[0], weight, _BANDS)
    plain[rows, columns] = np.rint(total).clip(0, 255)
    plain[np.max(depths, axis=0) < 0] = 0
    return plain


def _around(changes: npt.NDArray[np.bool_]) -> slice:
    """Where something changes, and as far as blending reaches; from a multiple of 2^bands on."""
    places = np.flatnonzero(changes)
    if len(places) == 0:
        return slice(0, 1)
    return slice(max(int(places[0]) - _REACH, 0) // 2**_BANDS * 2**_BANDS, int(places[-1]) + 1 + _REACH)


def _banded(difference: _Floats, weight: _Floats, bands: int) -> _Floats:
    """``difference`` times ``weight``, each band of frequencies by a weight as smooth as itself."""
    height, width = difference.shape[:2]
    if bands == 0 or min(height, width) < 2:
        return difference * weight
    low = _core.pyr_down(difference)
    high = difference - _core.pyr_up(low, height, width)
    high *= weight
    high += _core.pyr_up(_banded(low, _core.pyr_down(weight), bands - 1), height, width)
    return high

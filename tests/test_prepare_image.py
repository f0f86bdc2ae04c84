# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyvision import ops
from tests._guard import guarded
from tests.helpers import EPS, check_threads_agree
from tests.reference import prepare_image as reference

MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
# A float32 weight is off by 2^-24, so a value by that much of 255; interpolation and division add a few more.
ABSOLUTE = 8 * EPS * 255
with_fixtures = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def picture(height: int, width: int, *channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(sizes, sizes, st.sampled_from(["RGB", "BGR"]), st.sampled_from([(), (3,), (4,)]))
@with_fixtures
def test_equals_the_reference(
    isa: str, shape: tuple[int, int], size: tuple[int, int], order: Any, channels: tuple[int, ...]
) -> None:
    image = picture(*shape, *channels)
    rgb = image[..., :3] if channels else np.repeat(image[..., None], 3, axis=2)
    tensor, _ = ops.prepare_image(guarded(image), size, mean=MEAN, std=STD, channel_order=order)
    assert tensor.shape == (1, *size, 3)
    assert tensor.dtype == np.float32
    expected = reference.resize(rgb if order == "RGB" else rgb[..., ::-1], *size)
    expected = (expected - MEAN) / STD
    np.testing.assert_allclose(tensor[0], expected, rtol=4 * EPS, atol=ABSOLUTE / min(STD))


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("width", [1, 5, 6, 16, 17, 53])
def test_same_size_is_exactly_the_formula(isa: str, width: int, order: Any) -> None:
    image = picture(9, width, 3)
    tensor, _ = ops.prepare_image(image, (9, width), mean=MEAN, std=STD, channel_order=order)
    pixels = (image if order == "RGB" else image[..., ::-1]).astype(np.float32)
    np.testing.assert_array_equal(tensor[0], (pixels - np.float32(MEAN)) / np.float32(STD))


@pytest.mark.parametrize(
    ("shape", "size", "region"),
    [
        ((20, 40), (32, 32), (8, 0, 16, 32)),
        ((40, 20), (32, 32), (0, 8, 32, 16)),
        ((30, 40), (64, 48), (14, 0, 36, 48)),
        ((7, 7), (7, 7), (0, 0, 7, 7)),
        ((1, 1000), (16, 16), (7, 0, 1, 16)),
        ((1, 1), (5, 9), (0, 2, 5, 5)),
    ],
)
def test_letterbox(
    isa: str, shape: tuple[int, int], size: tuple[int, int], region: tuple[int, int, int, int]
) -> None:
    image = picture(*shape, 3)
    tensor, transform = ops.prepare_image(image, size, mode="letterbox", mean=MEAN, std=STD, pad_value=114)
    top, left, height, width = region
    expected = np.full((*size, 3), 114.0)
    expected[top : top + height, left : left + width] = reference.resize(image, height, width)
    np.testing.assert_allclose(tensor[0], (expected - MEAN) / STD, rtol=4 * EPS, atol=ABSOLUTE / min(STD))
    corners = np.array([[left, top, left + width, top + height]], np.float64)
    np.testing.assert_allclose(transform.to_original(corners), [[0, 0, shape[1], shape[0]]], atol=1e-9)


def test_stretch_transform() -> None:
    _, transform = ops.prepare_image(picture(50, 100, 3), (25, 20))
    assert transform == ops.ImageTransform(0.2, 0.5, 0.0, 0.0)
    boxes = np.array([[[2, 5, 20, 25]]], np.float32)
    original = transform.to_original(boxes)
    assert original.dtype == np.float32
    np.testing.assert_allclose(original, [[[10, 10, 100, 50]]], rtol=EPS)


def views(image: np.ndarray) -> dict[str, np.ndarray]:
    """The same pixels, laid out otherwise."""
    height, width, _ = image.shape
    planar = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    padded = np.zeros((height, width + 3, 4), np.uint8)
    padded[:, 1:-2, :3] = image
    frozen = image.copy()
    frozen.flags.writeable = False
    return {
        "planar": planar,
        "padded": padded[:, 1:-2, :3],
        "reversed rows": np.ascontiguousarray(image[::-1])[::-1],
        "reversed columns": np.ascontiguousarray(image[:, ::-1])[:, ::-1],
        "reversed channels": np.ascontiguousarray(image[..., ::-1])[..., ::-1],
        "fortran": np.asfortranarray(image),
        "every second": np.repeat(np.repeat(image, 2, 0), 2, 1)[::2, ::2],
        "read-only": frozen,
        "ends at a page": guarded(image),
        "begins at a page": guarded(image, before=True),
    }


@pytest.mark.parametrize("name", views(picture(2, 2, 3)))
@pytest.mark.parametrize("size", [(11, 13), (30, 7), (5, 40)])
def test_any_strides(isa: str, name: str, size: tuple[int, int]) -> None:
    image = picture(11, 13, 3)
    expected, _ = ops.prepare_image(image, size)
    tensor, _ = ops.prepare_image(views(image)[name], size)
    np.testing.assert_array_equal(tensor, expected)


def test_repeated_pixels() -> None:
    tensor, _ = ops.prepare_image(np.broadcast_to(np.uint8([7, 8, 9]), (50, 60, 3)), (9, 9))
    np.testing.assert_array_equal(tensor, np.broadcast_to(np.float32([7, 8, 9]), (1, 9, 9, 3)))


def test_is_the_same_with_any_number_of_threads() -> None:
    image = picture(300, 200, 3)
    check_threads_agree(lambda: ops.prepare_image(image, (256, 256), mode="letterbox", mean=MEAN, std=STD)[0])


def test_out_receives_the_tensor_and_nothing_else_is_written() -> None:
    image = picture(30, 40, 3)
    expected, _ = ops.prepare_image(image, (16, 17), mode="letterbox", pad_value=3)
    memory = np.full((3, 16, 17, 3), -5, np.float32)
    tensor, _ = ops.prepare_image(image, (16, 17), mode="letterbox", pad_value=3, out=memory[1:2])
    assert np.shares_memory(tensor, memory)
    np.testing.assert_array_equal(memory[1:2], expected)
    assert (memory[::2] == -5).all()


@pytest.mark.parametrize("size", [(416, 416), (100, 333), (700, 900), (512, 512)])
def test_equals_opencv_to_the_grey_level(size: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8), (0, 0), 2)
    tensor, _ = ops.prepare_image(image, size)
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(tensor[0] - expected).max() <= 1


def test_torch_in_torch_out() -> None:
    torch = pytest.importorskip("torch")
    image = picture(8, 8, 3)
    tensor, _ = ops.prepare_image(torch.from_numpy(image), (4, 4))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), ops.prepare_image(image, (4, 4))[0])


IMAGE = picture(6, 5, 3)


@pytest.mark.parametrize(
    ("image", "size", "options", "error", "message"),
    [
        ([[1]], (4, 4), {}, TypeError, "image to be an array"),
        (IMAGE.astype(np.float32), (4, 4), {}, TypeError, "image of dtype uint8, got float32"),
        (IMAGE.astype(np.uint16), (4, 4), {}, TypeError, "image of dtype uint8, got uint16"),
        (IMAGE[..., :2], (4, 4), {}, ValueError, "image of shape"),
        (IMAGE[..., :1], (4, 4), {}, ValueError, "image of shape"),
        (IMAGE[:0], (4, 4), {}, ValueError, "image of shape"),
        (IMAGE[:, :0], (4, 4), {}, ValueError, "image of shape"),
        (IMAGE[0, 0], (4, 4), {}, ValueError, "image of shape"),
        (IMAGE[None], (4, 4), {}, ValueError, "image of shape"),
        (IMAGE, (0, 4), {}, ValueError, r"size to be positive, got \(0, 4\)"),
        (IMAGE, (4, -1), {}, ValueError, "size to be positive"),
        (IMAGE, (0, 4), {"mode": "letterbox"}, ValueError, "size to be positive"),
        (IMAGE, (4, 4, 4), {}, ValueError, "size to be"),
        (IMAGE, (4.0, 4), {}, TypeError, "size to be an integer"),
        (IMAGE, (2**40, 2**40), {}, ValueError, "an output that fits in memory"),
        (IMAGE, (2**62, 2**62), {"mode": "letterbox"}, ValueError, "an output that fits in memory"),
        (IMAGE, (4, 4), {"mode": "crop"}, ValueError, "mode to be"),
        (IMAGE, (4, 4), {"channel_order": "rgb"}, ValueError, "channel_order to be"),
        (IMAGE, (4, 4), {"mean": (0, 0)}, ValueError, "mean to be three numbers, got 2"),
        (IMAGE, (4, 4), {"mean": 0}, TypeError, "mean to be three numbers"),
        (IMAGE, (4, 4), {"mean": "abc"}, TypeError, "mean to be three numbers"),
        (IMAGE, (4, 4), {"mean": (0, 0, np.nan)}, ValueError, "finite mean"),
        (IMAGE, (4, 4), {"std": (1, 0, 1)}, ValueError, "finite std other than 0"),
        (IMAGE, (4, 4), {"std": (1, np.inf, 1)}, ValueError, "finite std other than 0"),
        (IMAGE, (4, 4), {"std": (1, 1, "1")}, TypeError, "std to be a number"),
        (IMAGE, (4, 4), {"dtype": "float16"}, ValueError, "dtype to be float32, got 'float16'"),
        (IMAGE, (4, 4), {"dtype": None}, ValueError, "dtype to be float32"),
        (IMAGE, (4, 4), {"pad_value": np.nan}, ValueError, "a finite pad_value"),
        (IMAGE, (4, 4), {"pad_value": 1e300}, ValueError, "a finite pad_value"),
        (IMAGE, (4, 4), {"pad_value": None}, TypeError, "pad_value to be a number"),
        (IMAGE, (4, 4), {"out": np.zeros((1, 4, 5, 3), np.float32)}, ValueError, "out of shape"),
        (IMAGE, (4, 4), {"out": np.zeros((1, 4, 4, 3), np.float64)}, TypeError, "out of dtype float32"),
        (
            IMAGE,
            (4, 4),
            {"out": np.zeros((1, 4, 4, 6), np.float32)[..., ::2]},
            ValueError,
            "out to be C-contiguous",
        ),
        (IMAGE, (4, 4), {"out": [0]}, TypeError, "out to be a NumPy array"),
    ],
)
def test_bad_arguments(image: Any, size: Any, options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^\[prepare_image\] expected .*{message}"):
        ops.prepare_image(image, size, **options)


def test_out_must_be_writeable_and_apart_from_the_image() -> None:
    out = np.zeros((1, 4, 4, 3), np.float32)
    with pytest.raises(ValueError, match="out not to overlap image"):
        ops.prepare_image(out.view(np.uint8)[0], (4, 4), out=out)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out to be writeable"):
        ops.prepare_image(IMAGE, (4, 4), out=out)


def test_to_original_rejects_what_is_no_box() -> None:
    transform = ops.ImageTransform(1.0, 1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"^\[to_original\] expected boxes of shape"):
        transform.to_original(np.zeros((2, 3), np.float32))
    with pytest.raises(TypeError, match=r"^\[to_original\] expected boxes of dtype"):
        transform.to_original(np.zeros((2, 4), np.int64))

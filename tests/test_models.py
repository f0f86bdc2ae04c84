# SPDX-License-Identifier: Apache-2.0
"""The two networks against reference outputs, and every way a weights file can be wrong."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from pyvision import _core, models
from pyvision.models import weights as weights_files
from tests.helpers import check_threads_agree

DATA = Path(__file__).parent / "data"
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def nanodet() -> models.NanoDet:
    return models.nanodet_g()


@pytest.fixture(scope="module")
def selfie() -> models.SelfieSegmentation:
    return models.selfie_segmentation()


def prepared(model: Any, image: np.ndarray) -> np.ndarray:
    """The model's input (1, H, W, 3) from an RGB image of its size."""
    spec = model.preprocessing
    x = image[..., ::-1] if spec.channel_order == "BGR" else image
    return ((x - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32))[None].astype(np.float32)


def portrait(h: int, w: int) -> np.ndarray:
    """The golden file's 64 x 64 portrait with its pixels repeated."""
    image = np.load(DATA / "models_golden.npz")["image"]
    rows, columns = np.arange(h) * 64 // h, np.arange(w) * 64 // w
    return image[rows[:, None], columns]


def test_nanodet_reproduces_the_reference(nanodet: models.NanoDet, shared: Path) -> None:
    reference = np.load(shared / "models" / "nanodet_g_coco" / "reference_astronaut.npz")
    got = nanodet.raw_outputs(prepared(nanodet, reference["image_rgb_416"]), layout="NHWC")
    assert {*got} == {*reference} - {"image_rgb_416"}
    for name, array in got.items():
        np.testing.assert_allclose(array, reference[name], rtol=0, atol=TOLERANCE, err_msg=name)


def test_nanodet_finds_the_astronaut(nanodet: models.NanoDet, shared: Path) -> None:
    reference = np.load(shared / "models" / "nanodet_g_coco" / "reference_astronaut.npz")
    x = prepared(nanodet, reference["image_rgb_416"])
    boxes, scores, labels = nanodet.detect(x, score_threshold=0.4)
    assert models.COCO_CATEGORIES[labels[0]] == "person"
    assert scores[0] == pytest.approx(0.734, abs=1e-3)
    np.testing.assert_allclose(boxes[0], [11.6, 11.7, 295.9, 412.7], atol=0.1)
    assert (np.diff(scores) <= 0).all()
    results = nanodet(np.concatenate([x, x]).transpose(0, 3, 1, 2))
    assert len(results) == 2
    for result in results:
        above = result["scores"] > 0.4
        np.testing.assert_allclose(result["boxes"][above], boxes, atol=1e-3)
        np.testing.assert_array_equal(result["labels"][above], labels)
        assert result["labels"].dtype == np.int64


def test_selfie_reproduces_the_reference(selfie: models.SelfieSegmentation, shared: Path) -> None:
    reference = np.load(shared / "models" / "selfie_segmentation" / "reference_astronaut.npz")
    x = prepared(selfie, reference["image_rgb_256"])
    mask = reference["mask"]
    np.testing.assert_allclose(selfie(x.transpose(0, 3, 1, 2)), mask, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(selfie.segment(x), mask[0, 0], rtol=0, atol=TOLERANCE)
    assert [*selfie.raw_outputs(x, layout="NHWC")] == ["mask"]


def test_each_isa_reproduces_the_golden_outputs(isa: str) -> None:
    """The goldens are ONNX Runtime's for portrait(): every 13th cell, and every 8th pixel of the mask."""
    golden = np.load(DATA / "models_golden.npz")
    detector, segmenter = models.nanodet_g(), models.selfie_segmentation()
    outputs = detector.raw_outputs(prepared(detector, portrait(416, 416)), layout="NHWC")
    for name, array in outputs.items():
        np.testing.assert_allclose(array[0, ::13], golden[name], rtol=0, atol=TOLERANCE, err_msg=name)
    mask = segmenter.segment(prepared(segmenter, portrait(256, 256)))
    np.testing.assert_allclose(mask[::8, ::8], golden["mask"], rtol=0, atol=TOLERANCE)


def test_thread_counts_agree_bitwise(nanodet: models.NanoDet, selfie: models.SelfieSegmentation) -> None:
    x = prepared(nanodet, portrait(416, 416))
    check_threads_agree(lambda: nanodet.raw_outputs(x, layout="NHWC")["reg_stride16"])
    y = prepared(selfie, portrait(256, 256))
    check_threads_agree(lambda: selfie(y, layout="NHWC"))


def test_models_run_on_other_sizes_and_batches(
    nanodet: models.NanoDet, selfie: models.SelfieSegmentation
) -> None:
    x = np.concatenate([prepared(nanodet, portrait(96, 160)), prepared(nanodet, portrait(96, 160)[::-1])])
    outputs = nanodet.raw_outputs(x, layout="NHWC")
    assert outputs["cls_stride8"].shape == (2, 12 * 20, 80)
    assert outputs["reg_stride32"].shape == (2, 3 * 5, 44)
    alone = nanodet.raw_outputs(x[1:], layout="NHWC")
    np.testing.assert_allclose(outputs["reg_stride8"][1:], alone["reg_stride8"], rtol=0, atol=1e-4)
    assert nanodet.raw_outputs(x[:0], layout="NHWC")["cls_stride8"].shape == (0, 12 * 20, 80)
    assert nanodet(x[:0], layout="NHWC") == []
    assert selfie(np.zeros((3, 3, 64, 96), np.float32)).shape == (3, 1, 64, 96)


def test_a_model_may_be_called_from_many_threads_and_pickled(selfie: models.SelfieSegmentation) -> None:
    x = prepared(selfie, portrait(256, 256))
    expected = selfie.segment(x)
    other = pickle.loads(pickle.dumps(selfie))
    with ThreadPoolExecutor(4) as pool:
        for mask in pool.map(lambda m: m.segment(x), [selfie, other] * 6):
            np.testing.assert_array_equal(mask, expected)


def test_every_convolution_absorbs_what_follows_it(
    nanodet: models.NanoDet, selfie: models.SelfieSegmentation, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = nanodet._runtime.executable(nanodet, ((416, 416, 3),)).summary_rows()
    ops = [row["op"] for row in rows]
    assert sum(op.startswith("conv2d") for op in ops) == 34 + 3  # the head's last ones are two each
    assert not {"concat", "split", "add", "activation"} & {*ops}
    assert sum(row["parameters"] for row in rows) == sum(p.size for p in nanodet.parameters()) == 3_786_068
    rows = selfie._runtime.executable(selfie, ((256, 256, 3),)).summary_rows()
    ops = [row["op"] for row in rows]
    assert not {"activation", "pad", "identity"} & {*ops}
    assert ops.count("mul_add") == 3
    nanodet.summary()
    assert "3,786,068" in capsys.readouterr().out


def test_registry() -> None:
    assert models.list_models() == ["nanodet_g", "selfie_segmentation"]
    for name in models.list_models():
        model = models.get_model(name, None)
        assert model.task in ("detect", "segment")
        assert len(model.categories) in (80, 2)
    with pytest.raises(ValueError, match="expected one of nanodet_g, selfie_segmentation, got 'yolo'"):
        models.get_model("yolo")


def test_random_weights_are_the_same_every_time() -> None:
    first, second = models.selfie_segmentation(None), models.selfie_segmentation(None)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(a, b)


# Weights files


@pytest.mark.parametrize("name", ["nanodet_g", "selfie_segmentation"])
def test_embedded_files_are_half_precision_and_match_their_sha256(name: str) -> None:
    file = weights_files.EMBEDDED[name]
    data = (Path(weights_files.__file__).parent / "weights" / file.name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == file.sha256
    assert {array.dtype for array in weights_files.read_embedded(name).values()} == {np.dtype(np.float16)}


def test_a_tampered_embedded_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(weights_files.__file__).parent / "weights"
    shutil.copytree(folder, tmp_path / "weights")
    target = tmp_path / "weights" / "selfie_segmentation.safetensors"
    data = bytearray(target.read_bytes())
    data[-1] ^= 1
    target.write_bytes(data)
    monkeypatch.setattr(weights_files, "__file__", str(tmp_path / "weights.py"))
    with pytest.raises(ValueError, match="SHA-256"):
        models.selfie_segmentation()


def with_header(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


WRONG_FILES: dict[str, tuple[Callable[[dict[str, np.ndarray]], bytes], str]] = {
    "empty": (lambda s: b"", "expected a safetensors file, got 0 bytes"),
    "truncated": (lambda s: save(s)[:-100], "expected a sound safetensors file"),
    "cut in the header": (lambda s: save(s)[:100], "expected a safetensors file, got 100 bytes"),
    "oversized header": (lambda s: struct.pack("<Q", 1 << 62) + save(s)[8:], "header of 4611686018427387904"),
    "header is not JSON": (lambda s: with_header(b"{not json}"), "expected a sound safetensors file"),
    "offsets beyond the data": (
        lambda s: with_header(
            json.dumps({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 40]}}).encode()
        ),
        "expected a sound safetensors file",
    ),
    "pickle": (pickle.dumps, "got a pickle"),
    "torch.save": (lambda s: b"PK\x03\x04" + bytes(100), "got a pickle or torch.save file"),
    "missing": (lambda s: save({k: v for k, v in s.items() if k != "mask.bias"}), "missing mask.bias"),
    "unexpected": (lambda s: save(s | {"extra": np.zeros(1, "f")}), "unexpected extra"),
    "wrong shape": (
        lambda s: save(s | {"mask.bias": np.zeros(2, "f")}),
        r"mask.bias of shape \(1,\), got \(2,\)",
    ),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_weights_files_are_refused(name: str, tmp_path: Path) -> None:
    make, message = WRONG_FILES[name]
    path = tmp_path / "weights.safetensors"
    path.write_bytes(make(weights_files.read_embedded("selfie_segmentation")))
    with pytest.raises(ValueError, match=message):
        models.selfie_segmentation(path)


def test_own_weights_are_taken(tmp_path: Path) -> None:
    state = {name: array * 0 for name, array in weights_files.read_embedded("selfie_segmentation").items()}
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    model = models.selfie_segmentation(str(path))
    np.testing.assert_array_equal(model(np.ones((1, 3, 64, 64), np.float32)), 0.5)
    with pytest.raises(FileNotFoundError):
        models.selfie_segmentation(tmp_path / "none.safetensors")


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    state = weights_files.read_embedded("selfie_segmentation") | {"mask.bias": np.zeros(1, np.int32)}
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    with pytest.raises(TypeError, match=r"mask.bias of dtype float32"):
        models.selfie_segmentation(path)


def test_isa_of_compiled_models_follows_the_isa_in_force(selfie: models.SelfieSegmentation, isa: str) -> None:
    assert selfie._runtime.executable(selfie, ((64, 64, 3),)).isa == isa == _core.isa()

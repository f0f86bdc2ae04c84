# SPDX-License-Identifier: Apache-2.0
"""Another project's Cython module that cimports pyvision's: built as a user would, and called."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import pyvision
from pyvision import ops
from pyvision.postprocess import get_include

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "cython_consumer"


@pytest.fixture(scope="module")
def consumer(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    for needed, version in (("Cython", "3.1"), ("setuptools", "74.1"), ("pip", None)):
        pytest.importorskip(needed, minversion=version)
    headers = sysconfig.get_paths()["include"]
    if shutil.which(os.environ.get("CC", "cc")) is None or not (Path(headers) / "Python.h").is_file():
        pytest.skip("no C compiler, or no headers of Python")
    folder = tmp_path_factory.mktemp("cython_consumer")
    project, target = shutil.copytree(EXAMPLE, folder / "project"), folder / "target"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index"),
            *("--target", target, project),
        ],
        # Cython looks for .pxd files where Python imports from, which an editable install is not in.
        env=os.environ | {"PYTHONPATH": str(Path(pyvision.__file__).parents[1]), "CFLAGS": "-O0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (module,) = target.glob("batch_postprocess*.so")
    spec = importlib.util.spec_from_file_location("batch_postprocess", module)
    assert spec is not None
    assert spec.loader is not None
    built = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(built)
    return built


def test_suppression_per_image(consumer: ModuleType) -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (200, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (200, 2))], axis=1).astype(np.float32)
    scores = rng.random(200).astype(np.float32)
    starts = np.array([0, 70, 70, 71, 200])
    keep, total = consumer.nms_per_image(boxes, scores, starts, 0.4)
    images = np.repeat(np.arange(4), np.diff(starts))
    expected = ops.batched_nms(boxes, scores, np.zeros(200, np.int64), 0.4, image_idxs=images)
    np.testing.assert_array_equal(keep[:total], expected)


def test_errors_of_the_kernels_reach_python(consumer: ModuleType) -> None:
    boxes, scores = np.zeros((3, 4), np.float32), np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=r"^\[nms\] expected iou_threshold in \[0, 1\]"):
        consumer.nms_per_image(boxes, scores, np.array([0, 3]), 1.5)


def test_overlaps_of_masks(consumer: ModuleType) -> None:
    masks = (np.random.default_rng(0).random((6, 40, 70)) < 0.4).astype(np.uint8)
    areas, overlaps = consumer.track_overlaps(masks)
    rles = ops.rle_encode(masks)
    np.testing.assert_array_equal(areas, ops.rle_area(rles))
    np.testing.assert_array_equal(overlaps[1:], np.diag(ops.rle_iou(rles, rles, [0] * 6), 1))


def test_the_header_is_where_get_include_says() -> None:
    assert (Path(get_include()) / "pyvision_c_api.h").is_file()

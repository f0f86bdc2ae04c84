# SPDX-License-Identifier: Apache-2.0
"""The `pyvision` command, as a user runs it: real processes on real image files."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pyvision
from pyvision.features import ORB
from pyvision.image_io import read_image
from tests.images import EXAMPLE, write_every_kind
from tests.photos import project, rotation


def run(*args: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyvision", *map(str, args)]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return Path(shutil.copy(EXAMPLE, tmp_path / "astronaut.jpg"))


def test_detect_finds_the_astronaut(tmp_path: Path, photo: Path) -> None:
    done = run("detect", photo.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "astronaut.jpg" in done.stdout
    assert "person" in done.stdout
    assert saved(tmp_path / "out") == ["astronaut.jpg", "astronaut.json"]
    summary = json.loads((tmp_path / "out" / "astronaut.json").read_text())
    assert list(summary) == ["image", "width", "height", "detections"]
    assert (summary["image"], summary["width"], summary["height"]) == ("astronaut.jpg", 512, 512)
    best = summary["detections"][0]
    assert list(best) == ["box", "label", "class_id", "score"]
    assert (best["label"], best["class_id"]) == ("person", 0)
    assert best["score"] == pytest.approx(0.734, abs=0.03)
    np.testing.assert_allclose(best["box"], np.array([11.6, 11.7, 295.9, 412.7]) * 512 / 416, atol=6)
    original, annotated = read_image(photo), read_image(tmp_path / "out" / "astronaut.jpg")
    changed = np.abs(annotated.astype(int) - original).max(axis=2) > 64
    assert 0.005 < changed.mean() < 0.2


def test_json_is_all_there_is_on_stdout(tmp_path: Path, photo: Path) -> None:
    done = run("detect", photo, "--json", "--no-save", "--threads", 1, cwd=tmp_path)
    assert done.returncode == 0
    (summary,) = json.loads(done.stdout)
    assert summary["image"] == str(photo)
    assert done.stderr == ""
    assert saved(tmp_path) == ["astronaut.jpg"]


def test_score_decides_what_is_reported(tmp_path: Path, photo: Path) -> None:
    def count(score: float) -> int:
        done = run("detect", photo, "--json", "--no-save", "--score", score, cwd=tmp_path)
        detections = json.loads(done.stdout)[0]["detections"]
        assert all(one["score"] >= score for one in detections)
        assert [one["score"] for one in detections] == sorted(
            (one["score"] for one in detections), reverse=True
        )
        return len(detections)

    assert count(0.9) == 0
    assert count(0.1) > count(0.5) == 1
    done = run("detect", photo, "--score", 0.9, cwd=tmp_path)
    assert done.returncode == 0
    assert "nothing" in done.stdout


def test_segment_cuts_out_the_astronaut(tmp_path: Path, photo: Path) -> None:
    done = run("segment", photo.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert saved(tmp_path / "out") == ["astronaut.jpg", "astronaut.json", "astronaut_mask.png"]
    summary = json.loads((tmp_path / "out" / "astronaut.json").read_text())
    assert list(summary) == ["image", "width", "height", "label", "threshold", "fraction", "box"]
    assert summary["label"] == "person"
    assert summary["fraction"] == pytest.approx(0.545, abs=0.02)
    with Image.open(tmp_path / "out" / "astronaut_mask.png") as mask:
        assert (mask.mode, mask.size) == ("L", (512, 512))
        assert np.mean(np.asarray(mask) > 127) == pytest.approx(summary["fraction"], abs=0.005)
    stricter = run("segment", photo, "--threshold", 0.95, "--json", "--no-save", cwd=tmp_path)
    assert json.loads(stricter.stdout)[0]["fraction"] < summary["fraction"]


def test_every_kind_of_image_file(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    write_every_kind(read_image(EXAMPLE), images)
    done = run("detect", images, "--json", "--out", "found", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summaries = json.loads(done.stdout)
    assert len(summaries) == len(list(images.iterdir()))
    for summary in summaries:
        assert (summary["width"], summary["height"]) == (512, 512), summary["image"]
        if "one_bit" in summary["image"]:  # a dithered bitmap is asking too much of the network
            continue
        assert summary["detections"][0]["label"] == "person", summary["image"]
        np.testing.assert_allclose(summary["detections"][0]["box"], [14, 14, 364, 508], atol=40)
    names = saved(tmp_path / "found")
    assert len(names) == 2 * len(summaries)
    assert {"webp.webp", "bmp.bmp", "gif.png", "upper case.JPG"} <= set(names)
    for name in names:
        if not name.endswith(".json"):
            assert read_image(tmp_path / "found" / name).shape == (512, 512, 3)


def test_bad_files_are_named_and_the_others_done(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "truncated.jpg").write_bytes(photo.read_bytes()[:20_000])
    (tmp_path / "letter.png").write_text("Dear reader, this is no picture.")
    (tmp_path / "empty.bmp").touch()
    (tmp_path / "folder").mkdir()
    bad = ["missing.jpg", "truncated.jpg", "letter.png", "empty.bmp", "folder", "*.webp"]
    done = run("detect", *bad[:3], photo.name, *bad[3:], "--json", cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert sorted(line.split(": ")[1] for line in lines) == sorted(bad)
    assert all(line.startswith("pyvision: ") and line.count(": ") >= 2 for line in lines)
    assert [summary["image"] for summary in json.loads(done.stdout)] == ["astronaut.jpg"]
    assert saved(tmp_path / "out") == ["astronaut.jpg", "astronaut.json"]


def test_only_bad_files(tmp_path: Path) -> None:
    done = run("detect", "missing.jpg", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pyvision: missing.jpg: no such file\n"
    assert json.loads(run("detect", "missing.jpg", "--json", cwd=tmp_path).stdout) == []


def test_equal_names_from_different_folders_do_not_overwrite_each_other(tmp_path: Path, photo: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(photo, tmp_path / folder / "x.jpg")
    Image.open(photo).save(tmp_path / "a" / "x.png")
    done = run("detect", "a", "b", "a/x.jpg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert saved(tmp_path / "out") == ["x.jpg", "x.json", "x_2.json", "x_2.png", "x_3.jpg", "x_3.json"]
    images = [json.loads((tmp_path / "out" / f"x{n}.json").read_text())["image"] for n in ("", "_2", "_3")]
    assert images == ["a/x.jpg", "a/x.png", "b/x.jpg"]


def test_a_second_run_replaces_the_first(tmp_path: Path, photo: Path) -> None:
    for _ in range(2):
        assert run("detect", photo, cwd=tmp_path).returncode == 0
    assert saved(tmp_path / "out") == ["astronaut.jpg", "astronaut.json"]


def test_originals_are_never_overwritten(tmp_path: Path, photo: Path) -> None:
    before = photo.read_bytes()
    done = run("detect", photo.name, "--out", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "--out" in done.stderr
    assert photo.read_bytes() == before
    assert saved(tmp_path) == ["astronaut.jpg"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "COMMAND"),
        (["nonsense"], "invalid choice"),
        (["detect"], "IMAGE"),
        (["detect", "x.jpg", "--score", "1.5"], "[0, 1]"),
        (["detect", "x.jpg", "--score", "nan"], "[0, 1]"),
        (["detect", "x.jpg", "--iou", "much"], "invalid number value: 'much'"),
        (["detect", "x.jpg", "--threads", "0"], "[1, 4096]"),
        (["detect", "x.jpg", "--threads", "two"], "invalid integer value: 'two'"),
        (["detect", "x.jpg", "--model", "nanodet"], "did you mean 'nanodet_g'?"),
        (["detect", "x.jpg", "--model", "selfie_segmentation"], "not a model to detect with"),
        (["segment", "x.jpg", "--model", "nanodet_g"], "not a model to segment with"),
        (["segment", "x.jpg", "--score", "0.5"], "--score"),
        (["detect", "x.jpg", "--out", "o", "--no-save"], "not allowed with"),
        (["detect", "x.jpg", "--out", "a_file"], "cannot make a_file"),
    ],
)
def test_bad_arguments_exit_with_2(tmp_path: Path, args: list[str], message: str) -> None:
    (tmp_path / "a_file").touch()
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: pyvision")
    assert message in done.stderr
    assert saved(tmp_path) == ["a_file"]


def test_model_may_be_a_weights_file(tmp_path: Path, photo: Path) -> None:
    weights = Path(pyvision.models.__file__).parent / "weights" / "nanodet_g.safetensors"
    done = run("detect", photo, "--json", "--no-save", "--model", weights, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["detections"][0]["label"] == "person"
    (tmp_path / "bad.safetensors").write_bytes(weights.read_bytes()[:5000])
    done = run("detect", photo, "--model", "bad.safetensors", cwd=tmp_path)
    assert done.returncode == 2
    assert "bad.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "out" / "astronaut.jpg").mkdir(parents=True)  # where the picture should go
    done = run("detect", photo.name, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("pyvision: astronaut.jpg: cannot save ")
    assert len(done.stderr.splitlines()) == 1
    assert saved(tmp_path / "out") == ["astronaut.jpg"]


def test_odd_file_names(tmp_path: Path, photo: Path) -> None:
    names = [b"[bold]a[red].jpg", b"na\xefve.jpg", "été 日本.jpg".encode(), b"-dash.jpg", b"two\nlines.jpg"]
    folder = tmp_path / "names"
    folder.mkdir()
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(photo.read_bytes())
    for environment in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}):
        done = run("detect", folder, cwd=tmp_path, **environment)
        assert done.returncode == 0, done.stderr
        assert "[bold]a[red].jpg" in done.stdout
    assert len(saved(tmp_path / "out")) == 2 * len(names)
    assert run("detect", "two\nlines.png", cwd=tmp_path).stderr.count("\n") == 1


def test_info_prints_the_configuration_and_why(tmp_path: Path) -> None:
    done = run("info", cwd=tmp_path, PYVISION_ISA="scalar", PYVISION_NUM_THREADS="1")
    assert done.returncode == 0
    assert pyvision.__version__ in done.stdout
    assert "scalar (PYVISION_ISA)" in done.stdout
    assert "1 (PYVISION_NUM_THREADS" in done.stdout
    assert "CUDA" in done.stdout


def test_version_and_the_installed_command(tmp_path: Path) -> None:
    command = shutil.which("pyvision", path=Path(sys.executable).parent)
    assert command is not None
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"pyvision {pyvision.__version__}\n")
    assert run("--help", cwd=tmp_path).returncode == 0


def test_a_reader_that_leaves_early_is_no_error_message(tmp_path: Path, photo: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pyvision", "detect", str(photo), "--json", "--no-save"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=60)


def test_ctrl_c_stops_at_once_with_whole_files_only(tmp_path: Path, photo: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(3000):
        os.link(photo, folder / f"{i:04}.jpg")
    process = subprocess.Popen(
        [sys.executable, "-m", "pyvision", "detect", str(folder)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out = tmp_path / "out"
    deadline = time.monotonic() + 60
    while not (out.is_dir() and len(list(out.iterdir())) > 4):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr == "pyvision: interrupted\n"
    assert stdout == ""
    for path in out.iterdir():
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            assert read_image(path).shape == (512, 512, 3)


def test_features_marks_what_it_finds(tmp_path: Path, photo: Path) -> None:
    done = run("features", photo.name, "--max-features", 300, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (summary,) = json.loads(done.stdout)
    assert list(summary) == ["image", "width", "height", "keypoints"]
    found = ORB(300).detect(read_image(photo))
    assert [k["x"] for k in summary["keypoints"]] == found.xy[:, 0].tolist()
    assert set(summary["keypoints"][0]) == {"x", "y", "size", "angle", "response", "octave"}
    assert saved(tmp_path / "out") == ["astronaut.jpg", "astronaut.json"]
    assert (read_image(tmp_path / "out" / "astronaut.jpg") != read_image(photo)).any()
    for method in ("fast", "sift", "surf", "brisk", "brief", "harris", "shi-tomasi"):
        table = run(
            "features", photo.name, "--method", method, "--max-features", 400, "--no-save", cwd=tmp_path
        )
        assert table.returncode == 0, table.stderr
        count = r"\b3\d\d\b" if method == "brief" else r"\b400\b"  # near the border it describes none
        assert re.search(count, table.stdout)
    assert run("features", photo.name, "--max-features", 0, cwd=tmp_path).returncode == 2


def test_match_draws_lines_between_two_pictures(tmp_path: Path, photo: Path) -> None:
    Image.open(photo).rotate(20).save(tmp_path / "turned.png")
    done = run("match", photo.name, "turned.png", "-o", "lines.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["images"] == ["astronaut.jpg", "turned.png"]
    assert len(result["matches"]) > 200
    here, there = (
        np.array([[k["x"], k["y"]] for k in keypoints])[[m["indices"][side] for m in result["matches"]]]
        for side, keypoints in enumerate(result["keypoints"])
    )
    expected = project(rotation(-20, 1, (512, 512)), here)
    assert (np.linalg.norm(there - expected, axis=1) < 3).mean() > 0.9
    assert read_image(tmp_path / "lines.png").shape == (512, 1024, 3)
    text = run("match", photo.name, "turned.png", "--no-save", cwd=tmp_path)
    assert "matches of 1000 and 1000 keypoints" in text.stdout
    for method in ("sift", "surf", "brisk", "brief"):
        options = ("--method", method, "--max-features", 300, "--no-save")
        text = run("match", photo.name, "turned.png", *options, cwd=tmp_path)
        count = r"\d+" if method == "brief" else "300"  # near the border it describes none
        assert re.search(rf"matches of {count} and {count} keypoints", text.stdout), text.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("astronaut.jpg",), 2, "IMAGE"),
        (("astronaut.jpg", "absent.jpg"), 1, "absent.jpg: no such file"),
        (("astronaut.jpg", "astronaut.jpg", "--ratio", "0"), 2, "--ratio"),
        (("astronaut.jpg", "astronaut.jpg", "--max-features", "0"), 2, "max_features"),
        (("astronaut.jpg", "astronaut.jpg", "-o", "lines.txt"), 2, "--out"),
        (("astronaut.jpg", "astronaut.jpg", "-o", "absent/lines.png"), 2, "--out"),
    ],
)
def test_match_says_what_is_wrong(
    tmp_path: Path, photo: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    done = run("match", *arguments, cwd=tmp_path)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr

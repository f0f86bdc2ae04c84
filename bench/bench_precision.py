# SPDX-License-Identifier: Apache-2.0
"""bf16 and int8 convolutions on ResNet-50's layers, beside our float32 ones and other libraries' narrow ones.

Each layer is three rows: bf16 from float32 maps, bf16 from bf16 maps, int8 from uint8 to uint8 maps.
"Direct f32" computes the same products; "chosen f32" may be Winograd's algorithm, which needs fewer.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _common import add_case, budget, finish, new_report, parse_arguments

from pyvision import _core
from pyvision.profile import Case, Report, compare_with_peak, load_network
from pyvision.profile.peers import (
    BF16_PEERS,
    ConvCase,
    OnnxRuntime,
    Prepared,
    Run,
    candidates,
    drop_wrong,
    prepare_all,
    require,
)

INPUT_SCALE, INPUT_ZERO_POINT, OUTPUT_SCALE, OUTPUT_ZERO_POINT = 0.02, 121, 0.03, 128
_TOLERANCE = 0.1  # outputs are of order 1: several of bf16's 8 bits


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("precision")
    for layer in load_network("resnet50").layers:
        if options.only in layer.problem.name:
            time_layer(report, options, layer.problem)
    finish(report, options)


def time_layer(report: Report, options: argparse.Namespace, problem: ConvCase) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(problem.weight_shape, np.float32)
    weight /= np.float32(np.sqrt(np.prod(problem.weight_shape[1:])))
    bias = rng.standard_normal(problem.out_channels, np.float32)
    x = rng.standard_normal((problem.batch, problem.height, problem.width, problem.in_channels), np.float32)
    geometry = (problem.stride,) * 2, problem.padding, (problem.dilation,) * 2, problem.groups
    size = problem.height, problem.width

    direct, chosen, narrow = (
        _core.Conv2d(weight, bias, *geometry, algorithm=algorithm, input_size=size, precision=precision)
        for algorithm, precision in (("direct", "f32"), ("auto", "f32"), ("auto", "bf16"))
    )
    y = direct.run(x)
    f32: dict[str, Run] = {"direct f32": lambda: direct.run(x, out=y)}
    if chosen.algorithm != "direct":
        f32["chosen f32"] = lambda: chosen.run(x, out=y)

    y_narrow, nchw = np.empty_like(y), _nchw(x)  # of which peers keep the address alone
    peers, absent = prepare_all(
        BF16_PEERS,
        lambda peer: peer.conv2d(problem, weight, bias, nchw, options.threads),
    )
    drop_wrong([_nchw(y)], peers, absent, _TOLERANCE)
    note = f"{narrow.kernel_isa}; f32: {chosen.algorithm}"
    ours: Run = lambda: narrow.run(x, out=y_narrow)  # noqa: E731
    _add(report, options, problem, "bf16", ours, f32, peers, absent, note)

    bits = (x.view(np.uint32) >> 16).astype(np.uint16)
    y_bits = narrow.run(bits)
    ours = lambda: narrow.run(bits, out=y_bits)  # noqa: E731
    _add(report, options, problem, "bf16 maps", ours, f32, {}, {}, note)

    x_u8 = np.clip(np.rint(x / INPUT_SCALE) + INPUT_ZERO_POINT, 0, 255).astype(np.uint8)
    scale = np.abs(weight).max(axis=(1, 2, 3)) / np.float32(127)
    weight_s8 = np.rint(weight / scale[:, None, None, None]).astype(np.int8)
    nchw_u8 = _nchw(x_u8)
    bias_s32 = np.rint(bias / (INPUT_SCALE * scale)).astype(np.int32)
    quantised = _core.Conv2dInt8(
        weight_s8, scale, INPUT_SCALE, INPUT_ZERO_POINT, bias_s32, *geometry, OUTPUT_SCALE, OUTPUT_ZERO_POINT
    )

    def onnxruntime(peer: OnnxRuntime) -> Prepared:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "qlinearconv.onnx"
            path.write_bytes(_qlinear_model(problem, weight_s8, scale, bias_s32))
            return peer.model(path, nchw_u8, options.threads)

    peers, absent = prepare_all([OnnxRuntime()], onnxruntime)  # type: ignore[arg-type]
    drop_wrong([_nchw(quantised.run(x_u8))], peers, absent, 0)
    note = f"{quantised.kernel_isa}; f32: {chosen.algorithm}"
    _add(report, options, problem, "int8", lambda: quantised.run(x_u8), f32, peers, absent, note)


def _add(
    report: Report, options: argparse.Namespace, problem: ConvCase, precision: str, ours: Run,
    f32: Mapping[str, Run], peers: dict[str, Prepared], absent: dict[str, str], note: str,
) -> None:  # fmt: skip
    times, peak = compare_with_peak(candidates(ours, peers) | f32, budget(options))
    add_case(report, Case(f"{problem.name}, {precision}", times, peak, problem.gflop, None, note, absent))


def _nchw(x: Any) -> Any:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def _qlinear_model(problem: ConvCase, weight: Any, scale: Any, bias: Any) -> bytes:
    onnx = require("onnx")
    constants = {
        "x_scale": np.float32(INPUT_SCALE),
        "x_zero_point": np.uint8(INPUT_ZERO_POINT),
        "weight": weight,
        "weight_scale": scale,
        "weight_zero_point": np.zeros(problem.out_channels, np.int8),
        "y_scale": np.float32(OUTPUT_SCALE),
        "y_zero_point": np.uint8(OUTPUT_ZERO_POINT),
        "bias": bias,
    }
    node = onnx.helper.make_node(
        "QLinearConv", ["x", *constants], ["y"], kernel_shape=[problem.kernel] * 2,
        strides=[problem.stride] * 2, pads=list(problem.padding), dilations=[problem.dilation] * 2,
        group=problem.groups,
    )  # fmt: skip
    u8 = onnx.TensorProto.UINT8
    shapes = {
        "x": [problem.batch, problem.in_channels, problem.height, problem.width],
        "y": [problem.batch, problem.out_channels, *problem.out_size],
    }
    graph = onnx.helper.make_graph(
        [node], "conv", [onnx.helper.make_tensor_value_info("x", u8, shapes["x"])],
        [onnx.helper.make_tensor_value_info("y", u8, shapes["y"])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 17)]
    serialized: bytes = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return serialized


if __name__ == "__main__":
    main()

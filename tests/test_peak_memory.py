# SPDX-License-Identifier: Apache-2.0
"""What a convolution needs beside its arrays: packed weights, and at most 4 MB for each thread.

No columns of the input, no copy of a whole map. But an NCHW map is copied for a deformable convolution whose
offsets reach most of it from everywhere, and for the gradients of any; and gradients of several convolutions
store the maps between them. Each case is the first large call of a process of its own: memory that threads
keep from call to call counts.
"""

from __future__ import annotations

import sys

import pytest

from tests._process import output_of

THREADS = 2
BUDGET = THREADS * (4 << 20) + (1 << 20)  # what the interpreter allocates meanwhile

SETUP = """
    import ctypes, re
    import numpy as np
    import pyvision
    from pyvision import ops

    def status(name):
        with open("/proc/self/status") as file:
            return int(re.search(name + r":\\s*(\\d+) kB", file.read())[1]) << 10

    def random(*shape):
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    def beside_the_results(call):
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak begins anew
        before = status("VmRSS")
        results = call()
        peak = status("VmHWM")
        results = results if isinstance(results, tuple) else (results,)
        return peak - before - sum(result.nbytes for result in results if result is not None)

    pyvision.set_num_threads({threads})
    tiny = random(1, 8, 8, 8)
    ops.conv2d(tiny, random(8, 8, 3, 3), layout="NHWC")  # starts the threads
    x, planes = random(1, 320, 320, 64), random(1, 64, 320, 320)  # 26 MB each
    quarter = random(1, 64, 160, 160)
    w = random(64, 64, 3, 3)
    offsets, offset_planes = random(1, 320, 320, 18), random(1, 18, 320, 320)
    bytes_, byte_planes = (np.full_like(map, 200, np.uint8) for map in (x, planes))
"""

BF16 = "\n    import ml_dtypes; narrow = x.astype(ml_dtypes.bfloat16); del x, planes"
CASES = {
    "winograd": "ops.conv2d(x, w, padding=1, layout='NHWC')",
    "winograd NCHW": "ops.conv2d(planes, w, padding=1)",
    "direct": "ops.conv2d(x, w, padding=1, layout='NHWC', allow_winograd=False)",
    "direct NCHW": "ops.conv2d(planes, w, padding=1, allow_winograd=False)",
    "dilated": "ops.conv2d(x, w, padding=12, dilation=12, layout='NHWC')",
    "strided": "ops.conv2d(x, w, stride=2, layout='NHWC')",
    "1x1": "ops.conv2d(x, w[:, :, :1, :1].copy(), layout='NHWC')",
    "1x1 NCHW": "ops.conv2d(planes, w[:, :, :1, :1].copy())",
    "grouped": "ops.conv2d(x, w[:, :4].copy(), padding=1, groups=16, layout='NHWC')",
    "grouped NCHW": "ops.conv2d(planes, w[:, :4].copy(), padding=1, groups=16)",
    "bf16": "ops.conv2d(x, w, padding=1, precision='bf16', layout='NHWC')",
    "bf16 maps": "ops.conv2d(narrow, w, padding=1, precision='bf16', layout='NHWC')",
    "bf16 maps, grouped": "ops.conv2d("
    "narrow, w[:, :4].copy(), padding=1, groups=16, precision='bf16', layout='NHWC')",
    "depthwise": "ops.depthwise_conv2d(x, w[:, :1].copy(), padding=1, layout='NHWC')",
    "depthwise NCHW": "ops.depthwise_conv2d(planes, w[:, :1].copy(), padding=1)",
    "separable": "ops.separable_conv2d(x, w[:, :1].copy(), w[:, :, :1, :1].copy(), padding=1, layout='NHWC')",
    "inverted residual": "ops.inverted_residual(x, random(256, 64, 1, 1), random(256, 1, 3, 3), "
    "random(64, 256, 1, 1), padding=1, layout='NHWC')",
    "transposed": "ops.conv_transpose2d(x, random(64, 32, 4, 4), stride=2, padding=1, layout='NHWC')",
    "deformable": "ops.deform_conv2d(x, offsets, w, padding=1, layout='NHWC')",
    "separable NCHW": "ops.separable_conv2d(planes, w[:, :1].copy(), w[:, :, :1, :1].copy(), padding=1)",
    "inverted residual NCHW": "ops.inverted_residual(planes, random(256, 64, 1, 1), random(256, 1, 3, 3), "
    "random(64, 256, 1, 1), padding=1, residual=planes)",
    "residual NCHW": "ops.conv2d(planes, w, padding=1, residual=planes)",
    "transposed NCHW": "ops.conv_transpose2d(planes, random(64, 32, 4, 4), stride=2, padding=1)",
    "transposed to three channels NCHW": "ops.conv_transpose2d("
    "planes, random(64, 3, 4, 4), stride=2, padding=1)",
    "deformable NCHW": "ops.deform_conv2d(planes, offset_planes, w, padding=1)",
    "int8": "ops.conv2d_int8(bytes_, (10 * w).astype(np.int8), 0.1, 0.1, 128, padding=1, layout='NHWC')",
    "int8 NCHW": "ops.conv2d_int8(byte_planes, (10 * w).astype(np.int8), 0.1, 0.1, 128, padding=1)",
    "backward NCHW": "ops.conv2d_backward(planes, planes, w, padding=1)",
    "strided backward NCHW": "ops.conv2d_backward(quarter, planes, w, 2, 1)",
    "depthwise backward NCHW": "ops.depthwise_conv2d_backward(planes, planes, w[:, :1].copy(), padding=1)",
    "grouped backward NCHW": "ops.conv2d_backward(planes, planes, w[:, :4].copy(), padding=1, groups=16)",
    "transposed backward NCHW": "ops.conv_transpose2d_backward("
    "planes, quarter, random(64, 64, 4, 4), stride=2, padding=1)",
    "backward": "ops.conv2d_backward(x, x, w, padding=1, layout='NHWC')",
    "depthwise backward": "ops.depthwise_conv2d_backward(x, x, w[:, :1].copy(), padding=1, layout='NHWC')",
}


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux' /proc")
@pytest.mark.parametrize("case", CASES)
def test_a_call_needs_little_beside_its_arrays(case: str) -> None:
    setup = SETUP
    if "narrow" in CASES[case]:
        pytest.importorskip("ml_dtypes")
        setup += BF16
    script = setup.format(threads=THREADS) + f"\n    print(beside_the_results(lambda: {CASES[case]}))\n"
    assert int(output_of(script)) <= BUDGET

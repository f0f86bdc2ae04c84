// SPDX-License-Identifier: Apache-2.0
// The engine's pad: zeros around a map. Only pads that no convolution follows come this far: see
// fold_zero_pad in engine/passes.cc.
#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "core/parallel.h"
#include "engine/op.h"

namespace pyvision::engine::pad_node {

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  const auto& padding = node.integers("padding", 4);  // top, left, bottom, right
  for (const int64_t amount : padding)
    check(amount >= 0 && amount <= INT32_MAX, "pad", "expected padding in [0, 2^31), got ", amount);
  return {{inputs[0].h + padding[0] + padding[2], inputs[0].w + padding[1] + padding[3], inputs[0].c}};
}

// One row of the output: zeros, a row of x, zeros.
void pad_row(const Nhwc<const float>& x, const Nhwc<float>& y, int64_t n, int64_t oh, int64_t top,
             int64_t left) {
  const size_t pixel_bytes = static_cast<size_t>(x.c) * sizeof(float);
  const int64_t ih = oh - top;
  for (int64_t ow = 0; ow < y.w; ++ow) {
    const int64_t iw = ow - left;
    const bool inside = ih >= 0 && ih < x.h && iw >= 0 && iw < x.w;
    if (inside)
      std::memcpy(y.at(n, oh, ow), x.at(n, ih, iw), pixel_bytes);
    else
      std::memset(y.at(n, oh, ow), 0, pixel_bytes);
  }
}

Step prepare(const Node& node, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  const auto& padding = node.integers("padding", 4);
  Step step;
  step.run = [top = padding[0], left = padding[1]](const StepMaps& maps) {
    const Nhwc<const float>& x = maps.inputs[0];
    const Nhwc<float>& y = maps.outputs[0];
    const int64_t grain = std::max<int64_t>(1, 16384 / (y.w * y.c));  // a few microseconds of copying
    parallel_for(y.n * y.h, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) pad_row(x, y, row / y.h, row % y.h, top, left);
    });
  };
  return step;
}

const RegisterOp kRegistered({"pad", infer_shapes, prepare});

}  // namespace pyvision::engine::pad_node

// SPDX-License-Identifier: Apache-2.0
// The engine's flatten: (n, h, w, c) -> (n, 1, 1, c * h * w) in the order of torch's NCHW flatten. For 1 x 1
// maps, the usual case, input and output are the same memory.
#include "core/parallel.h"
#include "engine/op.h"

namespace pyvision::engine::flatten_node {

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  return {{1, 1, inputs[0].numel()}};
}

Step prepare(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [](const StepMaps& maps) {
    const Nhwc<const float>& x = maps.inputs[0];
    parallel_for(x.n * x.c, /*grain=*/64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / x.c, c = i % x.c;
        float* y = maps.outputs[0].at(n, 0, 0) + c * x.h * x.w;  // (h, w)
        for (int64_t h = 0; h < x.h; ++h)
          for (int64_t w = 0; w < x.w; ++w) *y++ = x.at(n, h, w)[c];
      }
    });
  };
  return step;
}

std::vector<Alias> aliases(const Node&, const std::vector<MapShape>& inputs, const std::vector<MapShape>&) {
  if (inputs[0].h * inputs[0].w != 1) return {};
  return {{Alias::kSliceOfInput, /*input=*/0, /*output=*/0}};
}

const RegisterOp kRegistered({"flatten", infer_shapes, prepare, aliases});

}  // namespace pyvision::engine::flatten_node

// SPDX-License-Identifier: Apache-2.0
// What the engine knows of an op. Each op registers itself from csrc/ops/<op>/engine.cc, so that the engine
// has no list of ops to edit:
//
//   const RegisterOp kRegistered({"max_pool2d", infer_shapes, prepare});
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "engine/graph.h"

namespace pyvision::engine {

// The maps of one node in one run. Pixels may be further apart than their channels: a map can be a channel
// slice of a wider one.
struct StepMaps {
  std::vector<Nhwc<const float>> inputs;
  std::vector<Nhwc<float>> outputs;
};

// A map whose storage is bf16, among those of a step. To: Bf16 or const Bf16
template <class To, class From>
Nhwc<To> stored_as(const Nhwc<From>& map) {
  return {
      reinterpret_cast<To*>(map.data), map.n, map.h, map.w, map.c, map.stride_n, map.stride_h, map.stride_w};
}

// A node made ready to run: weights packed for the ISA in force, algorithm chosen. Immutable once made, so
// that several threads may run it at once.
struct Step {
  std::function<void(const StepMaps&)> run;
  std::string algorithm;     // of the kernel, for people: "direct", "depthwise"; may be empty
  int64_t flops = 0;         // floating-point operations for one image; a multiply-add counts as two
  int64_t packed_bytes = 0;  // of weights
};

// A wish that two maps of a node share memory. The memory plan grants it where that is legal; kernels and
// step bodies work either way.
struct Alias {
  enum Kind {
    kSliceOfInput,   // the output is channels [channel, channel + c) of the input: nothing to compute
    kSliceOfOutput,  // the input is channels [channel, channel + c) of the output: its producer writes there
    kInPlace,        // the output may overwrite the input, whose last reader this node is
  };
  Kind kind;
  int input, output;    // positions in the node's lists
  int64_t channel = 0;  // where the slice begins
};

struct EngineOp {
  const char* name;
  // Shapes of the outputs. Checks everything the node says: throws std::invalid_argument where it does not
  // fit.
  std::vector<MapShape> (*infer_shapes)(const Node& node, const std::vector<MapShape>& inputs);
  Step (*prepare)(const Node& node, const std::vector<MapShape>& inputs,
                  const std::vector<MapShape>& outputs);
  // Null when the outputs always have memory of their own.
  std::vector<Alias> (*aliases)(const Node& node, const std::vector<MapShape>& inputs,
                                const std::vector<MapShape>& outputs) = nullptr;
  // True when the kernel's last act can be an activation, given by the attributes "activation" and "slope".
  bool fuses_activation = false;
  // True when the op reads and writes maps whose pixels are further apart than their channels.
  bool takes_slices = true;
};

// Throws std::invalid_argument for a name no op registered.
const EngineOp& find_op(const std::string& name);

struct RegisterOp {
  explicit RegisterOp(const EngineOp& op);
};

// Channels [channel, channel + count) of every pixel.
template <class T>
Nhwc<T> channel_slice(Nhwc<T> map, int64_t channel, int64_t count) {
  map.data += channel;
  map.c = count;
  return map;
}

void check_input_count(const Node& node, const std::vector<MapShape>& inputs, size_t count);

}  // namespace pyvision::engine

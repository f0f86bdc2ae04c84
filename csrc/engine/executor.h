// SPDX-License-Identifier: Apache-2.0
// A graph made ready to run: steps with packed weights, and a memory plan. Immutable but for its pool of
// arenas, so any number of threads may run it at once; each concurrent run has an arena of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/cpu.h"
#include "engine/graph.h"
#include "engine/memory_plan.h"
#include "engine/op.h"

namespace pyvision::engine {

struct StepInfo {
  std::string name, op, algorithm;  // op with its fused parts: "conv2d+add+relu"
  MapShape output;
  int64_t flops = 0, parameters = 0, packed_bytes = 0;
};

class Executable {
 public:
  // Takes the graph as it is: optimize() it before. Weights are packed for the ISA in force now, and the
  // executable runs under no other.
  explicit Executable(Graph graph);

  // inputs and outputs: dense (n, h, w, c) arrays, one per graph input and output; the outputs alias nothing.
  // nanoseconds: null, or one entry per step that receives the time it took.
  void run(const std::vector<const float*>& inputs, int64_t n, const std::vector<float*>& outputs,
           int64_t* nanoseconds = nullptr);

  const std::vector<MapShape>& input_shapes() const { return input_shapes_; }
  const std::vector<MapShape>& output_shapes() const { return output_shapes_; }
  const std::vector<StepInfo>& steps() const { return infos_; }
  int64_t arena_bytes(int64_t n) const;
  Isa isa() const { return isa_; }

 private:
  // What one run needs to itself; kept for the next one.
  struct Frame {
    AlignedBuffer arena;
    std::vector<StepMaps> maps;  // by step
  };
  struct ReadyStep {
    Step step;
    std::vector<ValueId> inputs, outputs;
  };
  class FrameLease;

  std::unique_ptr<Frame> new_frame() const;
  void bind(Frame& frame, const std::vector<const float*>& inputs, int64_t n,
            const std::vector<float*>& outputs) const;
  Nhwc<float> strided_map(ValueId id) const;

  Isa isa_;
  MemoryPlan plan_;
  std::vector<MapShape> shapes_;  // by ValueId
  std::vector<MapShape> input_shapes_, output_shapes_;
  std::vector<ReadyStep> steps_;
  std::vector<StepInfo> infos_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Frame>> idle_;  // guarded by mutex_
};

}  // namespace pyvision::engine

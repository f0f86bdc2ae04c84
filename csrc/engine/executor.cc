// SPDX-License-Identifier: Apache-2.0
#include "engine/executor.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/check.h"

namespace pyvision::engine {
namespace {

using Clock = std::chrono::steady_clock;

// True when the memory plan put every map that this node would move where it moves it to: concat, split and
// reshapes then have nothing to do.
bool only_renames(const Graph& graph, const MemoryPlan& plan, const Node& node) {
  const EngineOp& op = find_op(node.op);
  if (op.aliases == nullptr) return false;
  bool any = false;
  for (const Alias& alias : op.aliases(node, graph.shapes(node.inputs), graph.shapes(node.outputs))) {
    if (alias.kind == Alias::kInPlace) return false;
    const Placement& in = plan.placements[node.inputs[alias.input]];
    const Placement& out = plan.placements[node.outputs[alias.output]];
    const Placement& whole = alias.kind == Alias::kSliceOfInput ? in : out;
    const Placement& part = alias.kind == Alias::kSliceOfInput ? out : in;
    if (whole.root != part.root || part.channel != whole.channel + alias.channel) return false;
    any = true;
  }
  return any;
}

}  // namespace

// Takes an idle frame, or makes one, for the length of a run.
class Executable::FrameLease {
 public:
  explicit FrameLease(Executable& owner) : owner_(owner) {
    {
      std::lock_guard<std::mutex> lock(owner.mutex_);
      if (!owner.idle_.empty()) {
        frame_ = std::move(owner.idle_.back());
        owner.idle_.pop_back();
      }
    }
    if (frame_ == nullptr) frame_ = owner.new_frame();
  }
  ~FrameLease() {
    std::lock_guard<std::mutex> lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(frame_));
  }
  FrameLease(const FrameLease&) = delete;
  FrameLease& operator=(const FrameLease&) = delete;

  Frame& operator*() const { return *frame_; }

 private:
  Executable& owner_;
  std::unique_ptr<Frame> frame_;
};

Executable::Executable(Graph graph) : isa_(active_isa()) {
  separate_outputs(graph);
  check(!graph.outputs().empty(), "graph", "expected at least one output");
  plan_ = plan_memory(graph);
  input_shapes_ = graph.shapes(graph.inputs());
  output_shapes_ = graph.shapes(graph.outputs());
  for (ValueId id = 0; id < graph.value_count(); ++id) shapes_.push_back(graph.shape(id));
  for (const Node& node : graph.nodes()) {
    if (only_renames(graph, plan_, node)) continue;
    Step step = find_op(node.op).prepare(node, graph.shapes(node.inputs), graph.shapes(node.outputs));
    StepInfo info;
    info.name = node.name;
    info.op = node.op + node.fused;
    info.algorithm = step.algorithm;
    info.output = graph.shape(node.outputs[0]);
    info.flops = step.flops;
    info.packed_bytes = step.packed_bytes;
    for (const auto& [key, constant] : node.constants)
      info.parameters += static_cast<int64_t>(constant->data.size());
    infos_.push_back(std::move(info));
    steps_.push_back({std::move(step), node.inputs, node.outputs});
  }
}

int64_t Executable::arena_bytes(int64_t n) const {
  const int64_t extents[] = {n, plan_.arena_floats};
  return checked_numel("graph", extents, 2, sizeof(float)) * static_cast<int64_t>(sizeof(float));
}

Nhwc<float> Executable::strided_map(ValueId id) const {
  const MapShape& shape = shapes_[static_cast<size_t>(id)];
  const MapShape& root = shapes_[static_cast<size_t>(plan_.placements[id].root)];
  return {nullptr, 0, shape.h, shape.w, shape.c, root.numel(), root.w * root.c, root.c};
}

std::unique_ptr<Executable::Frame> Executable::new_frame() const {
  auto frame = std::make_unique<Frame>();
  for (const ReadyStep& ready : steps_) {
    StepMaps maps;
    for (const ValueId id : ready.inputs) {
      const Nhwc<float> map = strided_map(id);
      maps.inputs.push_back({nullptr, 0, map.h, map.w, map.c, map.stride_n, map.stride_h, map.stride_w});
    }
    for (const ValueId id : ready.outputs) maps.outputs.push_back(strided_map(id));
    frame->maps.push_back(std::move(maps));
  }
  return frame;
}

void Executable::bind(Frame& frame, const std::vector<const float*>& inputs, int64_t n,
                      const std::vector<float*>& outputs) const {
  float* const arena = frame.arena.as<float>();
  const auto writable = [&](ValueId id) {
    const Placement& place = plan_.placements[id];
    float* const base = place.where == Placement::kArena ? arena + n * place.base : outputs[place.base];
    return base + place.channel;
  };
  const auto readable = [&](ValueId id) -> const float* {
    const Placement& place = plan_.placements[id];
    return place.where == Placement::kInput ? inputs[place.base] + place.channel : writable(id);
  };
  for (size_t s = 0; s < steps_.size(); ++s) {
    StepMaps& maps = frame.maps[s];
    for (size_t i = 0; i < maps.inputs.size(); ++i) {
      maps.inputs[i].n = n;
      maps.inputs[i].data = readable(steps_[s].inputs[i]);
    }
    for (size_t i = 0; i < maps.outputs.size(); ++i) {
      maps.outputs[i].n = n;
      maps.outputs[i].data = writable(steps_[s].outputs[i]);
    }
  }
}

void Executable::run(const std::vector<const float*>& inputs, int64_t n, const std::vector<float*>& outputs,
                     int64_t* nanoseconds) {
  check(active_isa() == isa_, "graph", "expected ", isa_name(isa_),
        ", for which the weights were packed, to be in force, got ", isa_name(active_isa()));
  const size_t bytes = static_cast<size_t>(arena_bytes(n));
  FrameLease frame(*this);
  if ((*frame).arena.bytes() < bytes) {
    (*frame).arena = AlignedBuffer();  // free first: the old block and the new one need not coexist
    (*frame).arena = AlignedBuffer(bytes);
  }
  bind(*frame, inputs, n, outputs);
  for (size_t s = 0; s < steps_.size(); ++s) {
    const auto begin = nanoseconds != nullptr ? Clock::now() : Clock::time_point();
    steps_[s].step.run((*frame).maps[s]);
    if (nanoseconds != nullptr)
      nanoseconds[s] = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
  }
}

}  // namespace pyvision::engine

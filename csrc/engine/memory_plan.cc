// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_plan.h"

#include <algorithm>
#include <limits>

#include "core/arena.h"
#include "engine/op.h"

namespace pyvision::engine {
namespace {

constexpr int64_t kFloatsPerLine = static_cast<int64_t>(kAlignment / sizeof(float));

// A span of node indices, both ends included.
struct Interval {
  int begin = std::numeric_limits<int>::max(), end = -1;

  void cover(const Interval& other) {
    begin = std::min(begin, other.begin);
    end = std::max(end, other.end);
  }
  bool overlaps(const Interval& other) const { return begin <= other.end && other.begin <= end; }
};

class Planner {
 public:
  explicit Planner(const Graph& graph)
      : graph_(graph), count_(static_cast<size_t>(graph.value_count())), members_(count_), life_(count_) {
    plan_.placements.resize(count_);
    sliceable_.assign(count_, true);
    output_.assign(count_, false);
    for (size_t id = 0; id < count_; ++id) {
      plan_.placements[id].root = static_cast<ValueId>(id);
      members_[id] = {static_cast<ValueId>(id)};
    }
    find_lifetimes();
  }

  MemoryPlan run() {
    // Slices first: they save whole maps, and only then is it known which memory an in-place op would
    // overwrite.
    for_each_alias([&](const Node& node, int, const Alias& alias) {
      const ValueId in = node.inputs[alias.input], out = node.outputs[alias.output];
      if (alias.kind == Alias::kSliceOfInput && may_be_slice(out)) place(out, in, alias.channel);
      if (alias.kind == Alias::kSliceOfOutput && may_be_slice(in) && !is_graph_input(in))
        place(in, out, alias.channel);
    });
    for_each_alias([&](const Node& node, int index, const Alias& alias) {
      const ValueId in = node.inputs[alias.input], out = node.outputs[alias.output];
      if (alias.kind == Alias::kInPlace && may_overwrite(node, index, in, out)) place(out, in, 0);
    });
    for (size_t i = 0; i < graph_.inputs().size(); ++i) put_group(graph_.inputs()[i], Placement::kInput, i);
    for (size_t i = 0; i < graph_.outputs().size(); ++i)
      put_group(graph_.outputs()[i], Placement::kOutput, i);
    pack_arena();
    return std::move(plan_);
  }

 private:
  void find_lifetimes() {
    const int node_count = static_cast<int>(graph_.nodes().size());
    for (const ValueId id : graph_.inputs()) life_[id] = {0, node_count};
    for (int i = 0; i < node_count; ++i) {
      const Node& node = graph_.nodes()[static_cast<size_t>(i)];
      const bool takes_slices = find_op(node.op).takes_slices;
      for (const ValueId id : node.inputs) life_[id].end = std::max(life_[id].end, i);
      for (const ValueId id : node.outputs) life_[id] = {i, i};
      if (takes_slices) continue;
      for (const ValueId id : node.inputs) sliceable_[id] = false;
      for (const ValueId id : node.outputs) sliceable_[id] = false;
    }
    for (const ValueId id : graph_.outputs()) {
      life_[id].end = node_count;
      output_[id] = true;
    }
  }

  template <class Body>  // body(node, index, alias)
  void for_each_alias(Body body) const {
    for (size_t i = 0; i < graph_.nodes().size(); ++i) {
      const Node& node = graph_.nodes()[i];
      const EngineOp& op = find_op(node.op);
      if (op.aliases == nullptr) continue;
      for (const Alias& alias : op.aliases(node, graph_.shapes(node.inputs), graph_.shapes(node.outputs)))
        body(node, static_cast<int>(i), alias);
    }
  }

  ValueId root(ValueId id) const { return plan_.placements[id].root; }
  bool is_graph_input(ValueId id) const { return graph_.is_input(id); }

  Interval group_life(ValueId root) const {
    Interval life;
    for (const ValueId member : members_[root]) life.cover(life_[member]);
    return life;
  }

  // The value and all that lie in it can be read and written with the wider map's pixel distance, and none is
  // a result, which must be an array of its own.
  bool may_be_slice(ValueId id) const {
    if (root(id) != id) return false;  // has its place already
    return std::all_of(members_[id].begin(), members_[id].end(),
                       [&](ValueId member) { return sliceable_[member] && !output_[member]; });
  }

  // Both are whole maps, and nobody reads `in`, or anything that lies in the same memory, after this node or
  // through another input of it (a convolution's residual may be overwritten, its input may not).
  bool may_overwrite(const Node& node, int index, ValueId in, ValueId out) const {
    const auto shares = [&](ValueId id) { return root(id) == root(in); };
    if (std::count_if(node.inputs.begin(), node.inputs.end(), shares) > 1) return false;
    if (root(in) == root(out) || root(out) != out || output_[out] || is_graph_input(root(in))) return false;
    if (plan_.placements[in].channel != 0 || graph_.shape(in) != graph_.shape(root(in))) return false;
    return graph_.shape(in) == graph_.shape(out) && group_life(root(in)).end == index;
  }

  // Value `id`, a root, and everything in it become part of the memory of `in`.
  void place(ValueId id, ValueId in, int64_t channel) {
    const Placement target = plan_.placements[in];
    for (const ValueId member : members_[id]) {
      plan_.placements[member].root = target.root;
      plan_.placements[member].channel += target.channel + channel;
      members_[target.root].push_back(member);
    }
    members_[id].clear();
  }

  void put_group(ValueId id, Placement::Where where, size_t position) {
    for (const ValueId member : members_[root(id)]) {
      plan_.placements[member].where = where;
      plan_.placements[member].base = static_cast<int64_t>(position);
    }
  }

  // Greedy by size: the largest groups first, each in the smallest gap that its time leaves free.
  void pack_arena() {
    struct Block {
      ValueId root;
      Interval life;
      int64_t size, base;
    };
    std::vector<Block> waiting, packed;
    for (size_t id = 0; id < count_; ++id) {
      if (members_[id].empty() || plan_.placements[id].where != Placement::kArena) continue;
      const Interval life = group_life(static_cast<ValueId>(id));
      if (life.end < 0) continue;  // a value that a pass left behind
      const int64_t floats = graph_.shape(static_cast<ValueId>(id)).floats();
      const int64_t size = (floats + kFloatsPerLine - 1) / kFloatsPerLine * kFloatsPerLine;
      waiting.push_back({static_cast<ValueId>(id), life, size, 0});
    }
    std::stable_sort(waiting.begin(), waiting.end(),
                     [](const Block& a, const Block& b) { return a.size > b.size; });
    for (Block& block : waiting) {
      int64_t begin = 0, best_gap = std::numeric_limits<int64_t>::max();
      block.base = -1;
      for (const Block& other : packed) {  // by base, ascending
        if (!other.life.overlaps(block.life)) continue;
        const int64_t gap = other.base - begin;
        if (gap >= block.size && gap < best_gap) {
          best_gap = gap;
          block.base = begin;
        }
        begin = std::max(begin, other.base + other.size);
      }
      if (block.base < 0) block.base = begin;
      plan_.arena_floats = std::max(plan_.arena_floats, block.base + block.size);
      for (const ValueId member : members_[block.root]) plan_.placements[member].base = block.base;
      packed.insert(std::upper_bound(packed.begin(), packed.end(), block,
                                     [](const Block& a, const Block& b) { return a.base < b.base; }),
                    block);
    }
  }

  const Graph& graph_;
  size_t count_;
  std::vector<std::vector<ValueId>> members_;  // by root: the values in its memory, itself included
  std::vector<Interval> life_;                 // by value
  std::vector<bool> sliceable_, output_;       // by value
  MemoryPlan plan_;
};

}  // namespace

MemoryPlan plan_memory(const Graph& graph) { return Planner(graph).run(); }

void separate_outputs(Graph& graph) {
  std::vector<ValueId> outputs;
  for (ValueId id : graph.outputs()) {
    const bool repeated = std::find(outputs.begin(), outputs.end(), id) != outputs.end();
    if (graph.is_input(id) || repeated) {
      Node copy;
      copy.op = "identity";
      copy.inputs = {id};
      id = graph.add_node(std::move(copy))[0];
    }
    outputs.push_back(id);
  }
  graph.set_outputs(std::move(outputs));
}

}  // namespace pyvision::engine

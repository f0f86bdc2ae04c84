// SPDX-License-Identifier: Apache-2.0
// Where every value of a graph lives: in the caller's input, in a result array, or in one arena that values
// share over time.
//
// Values that can share memory at the same time form a group around a root map: the inputs of a concatenation
// are channel slices of its output (their producers write there, the concatenation itself has nothing to do),
// the outputs of a split are slices of its input, and an element-wise op may overwrite an input that nobody
// reads later. A group occupies the arena from the node that first writes it to the node that last reads it;
// groups whose times do not overlap may occupy the same bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/graph.h"

namespace pyvision::engine {

struct Placement {
  enum Where { kArena, kInput, kOutput };
  Where where = kArena;
  ValueId root = -1;
  int64_t channel = 0;  // of this value's first channel in the root's map
  int64_t base = 0;  // of the root: floats for one image in kArena, else a position in inputs() or outputs()
};

struct MemoryPlan {
  std::vector<Placement> placements;  // by ValueId
  // For one image; n images take n times as much and every base moves n times as far. A multiple of 64 bytes.
  int64_t arena_floats = 0;
};

// Needs distinct outputs that are not inputs: see separate_outputs().
MemoryPlan plan_memory(const Graph& graph);

// Puts an identity (a copy) before each output that is a graph input or occurs earlier among the outputs, so
// that every output is an array of its own.
void separate_outputs(Graph& graph);

}  // namespace pyvision::engine

// SPDX-License-Identifier: Apache-2.0
// Rewrites that make a graph cheaper and leave its results the same up to rounding. Each is a function of its
// own, valid by itself; why it is valid stands at its definition.
#pragma once

#include <vector>

#include "engine/graph.h"

namespace pyvision::engine {

struct Pass {
  const char* name;
  void (*run)(Graph& graph);
};

// In the order in which optimize() runs them.
const std::vector<Pass>& passes();

// Runs one pass by name; throws std::invalid_argument for an unknown name.
void run_pass(Graph& graph, const std::string& name);

void optimize(Graph& graph);

}  // namespace pyvision::engine

// SPDX-License-Identifier: Apache-2.0
#include "engine/op.h"

#include "core/check.h"

namespace pyvision::engine {
namespace {

std::map<std::string, EngineOp>& registry() {
  static std::map<std::string, EngineOp> ops;  // made on first use: registration order is unspecified
  return ops;
}

}  // namespace

const EngineOp& find_op(const std::string& name) {
  const auto found = registry().find(name);
  check(found != registry().end(), "graph", "expected the name of an engine op, got '", name, "'");
  return found->second;
}

RegisterOp::RegisterOp(const EngineOp& op) { registry().emplace(op.name, op); }

void check_input_count(const Node& node, const std::vector<MapShape>& inputs, size_t count) {
  check(inputs.size() == count, node.op.c_str(), "expected ", count, " inputs, got ", inputs.size());
}

}  // namespace pyvision::engine

// SPDX-License-Identifier: Apache-2.0
#include "engine/graph.h"

#include <algorithm>

#include "core/check.h"
#include "engine/op.h"

namespace pyvision::engine {
namespace {

template <class T>
const T& attribute(const Node& node, const std::string& key) {
  const auto found = node.attributes.find(key);
  check(found != node.attributes.end(), node.op.c_str(), "expected attribute '", key, "'");
  const T* value = std::get_if<T>(&found->second);
  check(value != nullptr, node.op.c_str(), "attribute '", key, "' is of the wrong kind");
  return *value;
}

}  // namespace

std::string shape_text(const MapShape& shape) {
  return concat_text("(n, ", shape.h, ", ", shape.w, ", ", shape.c, ")");
}

int64_t Node::integer(const std::string& key) const { return attribute<int64_t>(*this, key); }

double Node::real(const std::string& key) const {
  const auto found = attributes.find(key);
  if (found != attributes.end() && std::holds_alternative<int64_t>(found->second))
    return static_cast<double>(std::get<int64_t>(found->second));
  return attribute<double>(*this, key);
}

const std::string& Node::text(const std::string& key) const { return attribute<std::string>(*this, key); }

const std::vector<int64_t>& Node::integers(const std::string& key) const {
  return attribute<std::vector<int64_t>>(*this, key);
}

const std::vector<int64_t>& Node::integers(const std::string& key, size_t count) const {
  const std::vector<int64_t>& values = integers(key);
  check(values.size() == count, op.c_str(), "expected ", count, " values in '", key, "', got ",
        values.size());
  return values;
}

const Constant& Node::constant(const std::string& key, size_t rank) const {
  const auto found = constants.find(key);
  check(found != constants.end(), op.c_str(), "expected constant '", key, "'");
  check(found->second->shape.size() == rank, op.c_str(), "expected ", key, " with ", rank,
        " dimensions, got ", found->second->shape.size());
  return *found->second;
}

ActivationParams Node::activation(const std::string& prefix) const {
  ActivationParams params;
  if (has(prefix + "activation")) params.kind = parse_activation(op.c_str(), text(prefix + "activation"));
  if (has(prefix + "slope")) params.slope = static_cast<float>(real(prefix + "slope"));
  if (has(prefix + "sixth")) params.sixth = static_cast<float>(real(prefix + "sixth"));
  return params;
}

ValueId Graph::new_value(const MapShape& shape) {
  const int64_t extents[] = {shape.h, shape.w, shape.c};
  checked_numel("graph", extents, 3);
  check(shape.numel() > 0, "graph", "expected a map that is not empty, got shape ", shape_text(shape));
  shapes_.push_back(shape);
  return value_count() - 1;
}

ValueId Graph::add_input(const MapShape& shape) {
  inputs_.push_back(new_value(shape));
  return inputs_.back();
}

std::vector<ValueId> Graph::add_node(Node node) {
  const EngineOp& op = find_op(node.op);
  for (const ValueId id : node.inputs)
    check(id >= 0 && id < value_count(), op.name, "expected a value in [0, ", value_count(), "), got ", id);
  node.outputs.clear();
  for (const MapShape& shape : op.infer_shapes(node, shapes(node.inputs)))
    node.outputs.push_back(new_value(shape));
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

void Graph::set_outputs(std::vector<ValueId> outputs) {
  for (const ValueId id : outputs)
    check(id >= 0 && id < value_count(), "graph", "expected a value in [0, ", value_count(), "), got ", id);
  outputs_ = std::move(outputs);
}

std::vector<MapShape> Graph::shapes(const std::vector<ValueId>& ids) const {
  std::vector<MapShape> result;
  for (const ValueId id : ids) result.push_back(shape(id));
  return result;
}

bool Graph::is_output(ValueId id) const {
  return std::find(outputs_.begin(), outputs_.end(), id) != outputs_.end();
}

bool Graph::is_input(ValueId id) const {
  return std::find(inputs_.begin(), inputs_.end(), id) != inputs_.end();
}

int Graph::use_count(ValueId id) const {
  auto count = std::count(outputs_.begin(), outputs_.end(), id);
  for (const Node& node : nodes_) count += std::count(node.inputs.begin(), node.inputs.end(), id);
  return static_cast<int>(count);
}

int Graph::producer(ValueId id) const {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const auto& outputs = nodes_[i].outputs;
    if (std::find(outputs.begin(), outputs.end(), id) != outputs.end()) return static_cast<int>(i);
  }
  return -1;
}

int Graph::only_consumer(ValueId id) const {
  if (use_count(id) != 1) return -1;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const auto& inputs = nodes_[i].inputs;
    if (std::find(inputs.begin(), inputs.end(), id) != inputs.end()) return static_cast<int>(i);
  }
  return -1;
}

void Graph::replace_uses(ValueId from, ValueId to) {
  for (Node& node : nodes_) std::replace(node.inputs.begin(), node.inputs.end(), from, to);
  std::replace(outputs_.begin(), outputs_.end(), from, to);
}

}  // namespace pyvision::engine

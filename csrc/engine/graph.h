// SPDX-License-Identifier: Apache-2.0
// A traced network: values (feature maps) and the nodes that compute them, in an order that can be run.
//
// Every value is an NHWC map whose batch size is known only when the graph runs; a vector of features is a
// map of 1 x 1 pixels. Nodes are kept in topological order: a node reads values of earlier nodes only. Passes
// (passes.h) rewrite the graph, memory_plan.h gives each value its place, executor.h runs it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/activation.h"

namespace pyvision::engine {

using ValueId = int;

// What a map's values are in memory. Networks are traced in f32; a pass stores what lies between convolutions
// of precision bf16 as those will read it.
enum class Storage { kF32, kBf16 };

// The shape of one image's map, and how it is stored.
struct MapShape {
  int64_t h = 0, w = 0, c = 0;
  Storage storage = Storage::kF32;

  int64_t numel() const { return h * w * c; }
  // Of memory, counted in floats.
  int64_t floats() const { return storage == Storage::kBf16 ? (numel() + 1) / 2 : numel(); }
  bool operator==(const MapShape& other) const {
    return h == other.h && w == other.w && c == other.c && storage == other.storage;
  }
  bool operator!=(const MapShape& other) const { return !(*this == other); }
};

std::string shape_text(const MapShape& shape);  // "(n, 52, 52, 128)"

// A trained array, shared between the graphs that passes copy it into; never changed once made.
struct Constant {
  std::vector<int64_t> shape;
  std::vector<float> data;
};
using ConstantPtr = std::shared_ptr<const Constant>;

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>>;

struct Node {
  std::string op;     // a name in the registry of op.h
  std::string name;   // where it came from ("backbone.stage1.conv"), for people
  std::string fused;  // what passes made part of it ("+add+relu"), for people
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::map<std::string, Attribute> attributes;
  std::map<std::string, ConstantPtr> constants;

  bool has(const std::string& key) const { return attributes.count(key) != 0; }
  // These throw std::invalid_argument when the attribute is missing or of another kind.
  int64_t integer(const std::string& key) const;
  double real(const std::string& key) const;  // also takes an integer
  const std::string& text(const std::string& key) const;
  const std::vector<int64_t>& integers(const std::string& key) const;
  const std::vector<int64_t>& integers(const std::string& key, size_t count) const;
  const Constant& constant(const std::string& key, size_t rank) const;
  // The fused activation, kNone where there is none; of a part of the node where its attributes have a
  // prefix.
  ActivationParams activation(const std::string& prefix = "") const;
};

class Graph {
 public:
  ValueId add_input(const MapShape& shape);
  // Infers the outputs' shapes; throws std::invalid_argument when op, inputs or attributes do not fit.
  std::vector<ValueId> add_node(Node node);
  void set_outputs(std::vector<ValueId> outputs);

  const MapShape& shape(ValueId id) const { return shapes_.at(static_cast<size_t>(id)); }
  std::vector<MapShape> shapes(const std::vector<ValueId>& ids) const;
  int value_count() const { return static_cast<int>(shapes_.size()); }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  const std::vector<Node>& nodes() const { return nodes_; }

  // For passes. ------------------------------------------------------------------------------------------
  std::vector<Node>& mutable_nodes() { return nodes_; }
  ValueId new_value(const MapShape& shape);
  bool is_output(ValueId id) const;
  bool is_input(ValueId id) const;
  // How many node inputs and graph outputs read the value.
  int use_count(ValueId id) const;
  // Index of the node that computes the value; -1 for a graph input.
  int producer(ValueId id) const;
  // Index of the one node that reads the value; -1 unless there is exactly one reader, reading it once.
  int only_consumer(ValueId id) const;
  // Everything that read `from` reads `to` instead.
  void replace_uses(ValueId from, ValueId to);
  void erase_node(int index) { nodes_.erase(nodes_.begin() + index); }
  void insert_node(int index, Node node) { nodes_.insert(nodes_.begin() + index, std::move(node)); }

 private:
  std::vector<MapShape> shapes_;  // by ValueId
  std::vector<ValueId> inputs_, outputs_;
  std::vector<Node> nodes_;
};

}  // namespace pyvision::engine

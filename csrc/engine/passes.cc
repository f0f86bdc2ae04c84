// SPDX-License-Identifier: Apache-2.0
#include "engine/passes.h"

#include <algorithm>
#include <array>
#include <utility>

#include "conv/plan.h"
#include "core/check.h"
#include "engine/op.h"

namespace pyvision::engine {
namespace {

bool is_convolution(const Node& node) { return node.op == "conv2d" || node.op == "conv_transpose2d"; }

// A convolution adds its second input before its activation.
bool has_residual(const Node& node) { return node.op == "conv2d" && node.inputs.size() == 2; }

// A linear map of its input alone: nothing has been fused behind it yet.
bool is_bare_convolution(const Node& node) {
  return is_convolution(node) && !has_residual(node) && !node.has("activation");
}

bool is_pointwise(const Node& node) {
  if (node.op != "conv2d") return false;
  const auto all = [&](const char* key, size_t count, int64_t value) {
    const auto& values = node.integers(key, count);
    return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == value; });
  };
  const auto& weight = node.constant("weight", 4).shape;
  return weight[2] == 1 && weight[3] == 1 && all("stride", 2, 1) && all("padding", 4, 0);
}

// Index of the node that computes `id` when it satisfies `accept` and nothing but one node input reads `id`;
// else -1.
template <class Accept>
int private_producer(const Graph& graph, ValueId id, Accept accept) {
  const int index = graph.producer(id);
  if (index < 0 || graph.use_count(id) != 1) return -1;
  return accept(graph.nodes()[static_cast<size_t>(index)]) ? index : -1;
}

// Moves node `from` to the place of node `to` > `from`, which is replaced. What `from` read is still computed
// before it; what reads its output comes after `to`, because the output is now `to`'s.
void replace_later_node(Graph& graph, int from, int to, Node node) {
  node.outputs = graph.nodes()[static_cast<size_t>(to)].outputs;
  graph.mutable_nodes()[static_cast<size_t>(to)] = std::move(node);
  graph.erase_node(from);
}

// An identity's readers may read its input: same values. (Dropout does nothing at inference.)
void remove_identities(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size());) {
    if (nodes[i].op == "identity") {
      graph.replace_uses(nodes[i].outputs[0], nodes[i].inputs[0]);
      graph.erase_node(i);
    } else {
      ++i;
    }
  }
}

// A convolution sees zeros beyond its input's border, so zeros written there by a pad before it add nothing
// that a larger padding would not.
void fold_zero_pad(Graph& graph) {
  for (Node& node : graph.mutable_nodes()) {
    if (node.op != "conv2d") continue;
    const int index = graph.producer(node.inputs[0]);
    if (index < 0 || graph.nodes()[static_cast<size_t>(index)].op != "pad") continue;
    const Node& pad = graph.nodes()[static_cast<size_t>(index)];
    const auto& amounts = pad.integers("padding", 4);
    std::vector<int64_t> padding = node.integers("padding", 4);
    for (size_t side = 0; side < 4; ++side) padding[side] += amounts[side];
    node.attributes["padding"] = padding;
    node.inputs[0] = pad.inputs[0];
  }
}

// scale * (W x + b) + shift = (scale W) x + (scale b + shift): a convolution is linear in each output
// channel.
void fold_batch_norm(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size());) {
    const int conv =
        nodes[i].op == "batch_norm" ? private_producer(graph, nodes[i].inputs[0], is_bare_convolution) : -1;
    if (conv < 0) {
      ++i;
      continue;
    }
    Node& node = nodes[conv];
    const std::vector<float>& scale = nodes[i].constant("scale", 1).data;
    auto weight = std::make_shared<Constant>(node.constant("weight", 4));
    auto bias = std::make_shared<Constant>(nodes[i].constant("shift", 1));
    const int64_t out_channels = static_cast<int64_t>(scale.size());
    if (node.constants.count("bias"))
      for (int64_t o = 0; o < out_channels; ++o) bias->data[o] += scale[o] * node.constants["bias"]->data[o];
    // conv2d: (out, in / groups, kh, kw); conv_transpose2d: (in, out / groups, kh, kw)
    const bool transposed = node.op == "conv_transpose2d";
    const int64_t rows = weight->shape[0], columns = weight->shape[1];
    const int64_t taps = weight->shape[2] * weight->shape[3];
    const int64_t rows_per_group = rows / node.integer("groups");
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t o = transposed ? r / rows_per_group * columns + c : r;
        for (int64_t t = 0; t < taps; ++t) weight->data[(r * columns + c) * taps + t] *= scale[o];
      }
    }
    node.constants["weight"] = weight;
    node.constants["bias"] = bias;
    node.fused += "+batch_norm";
    node.outputs = nodes[i].outputs;
    graph.erase_node(i);
  }
}

// A bilinear (or nearest) enlargement is, per channel, a weighted mean with weights that sum to 1; a 1 x 1
// convolution is, per pixel, an affine map of the channels. The two commute, and convolving first works on
// fewer pixels. The result of the enlargement must not grow by it: otherwise the saved work comes back there.
void convolve_before_enlarging(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
    if (!is_bare_convolution(nodes[i]) || !is_pointwise(nodes[i])) continue;
    const int resize = private_producer(graph, nodes[i].inputs[0], [](const Node& node) {
      return node.op == "interpolate" && node.inputs.size() == 1;
    });
    if (resize < 0) continue;
    const MapShape small = graph.shape(nodes[resize].inputs[0]), large = graph.shape(nodes[i].outputs[0]);
    if (large.h * large.w <= small.h * small.w || large.c > small.c) continue;
    const ValueId convolved = graph.new_value({small.h, small.w, large.c});
    Node enlarge = nodes[resize];
    nodes[i].inputs = enlarge.inputs;
    enlarge.inputs = {convolved};
    enlarge.outputs = {nodes[i].outputs[0]};
    nodes[i].outputs = {convolved};
    nodes.insert(nodes.begin() + i + 1, enlarge);
    graph.erase_node(resize);
  }
}

// mean(a + b) = mean(a) + mean(b): the sum, which only its mean is wanted of, is never stored.
void average_before_adding(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
    if (nodes[i].op != "adaptive_avg_pool2d" ||
        nodes[i].integers("output_size", 2) != std::vector<int64_t>{1, 1})
      continue;
    const int sum = private_producer(graph, nodes[i].inputs[0], [&](const Node& node) {
      return node.op == "add" && !node.has("activation") &&
             graph.shape(node.inputs[0]) == graph.shape(node.inputs[1]);
    });
    if (sum < 0) continue;
    Node add = nodes[sum], second = nodes[i];
    const MapShape mean = graph.shape(nodes[i].outputs[0]);
    add.outputs = nodes[i].outputs;
    nodes[i].inputs = {add.inputs[0]};
    nodes[i].outputs = {graph.new_value(mean)};
    second.inputs = {add.inputs[1]};
    second.outputs = {graph.new_value(mean)};
    add.inputs = {nodes[i].outputs[0], second.outputs[0]};
    nodes.insert(nodes.begin() + i + 1, {second, add});
    graph.erase_node(sum);
  }
}

// Rows [first, first + count) of a constant's first axis.
ConstantPtr rows_of(const Constant& constant, int64_t first, int64_t count) {
  auto part = std::make_shared<Constant>();
  const int64_t row = static_cast<int64_t>(constant.data.size()) / constant.shape[0];
  part->shape = constant.shape;
  part->shape[0] = count;
  part->data.assign(constant.data.begin() + first * row, constant.data.begin() + (first + count) * row);
  return part;
}

// Channels [a, b) of a convolution's output depend on rows [a, b) of its weight alone, so a convolution that
// is split right away is several. Each then writes its own map, and takes its own activation. For 1 x 1
// kernels only: others would gather their windows once per part.
void split_convolution(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
    if (nodes[i].op != "split") continue;
    const int index = private_producer(graph, nodes[i].inputs[0], [](const Node& node) {
      return is_bare_convolution(node) && is_pointwise(node) && node.integer("groups") == 1;
    });
    if (index < 0) continue;
    const Node conv = nodes[index];
    std::vector<Node> parts;
    int64_t channel = 0;
    for (const ValueId output : nodes[i].outputs) {
      const int64_t count = graph.shape(output).c;
      Node part = conv;
      for (auto& [key, constant] : part.constants) constant = rows_of(*constant, channel, count);
      part.outputs = {output};
      part.fused += "+split";
      parts.push_back(std::move(part));
      channel += count;
    }
    nodes.insert(nodes.begin() + i + 1, parts.begin(), parts.end());
    graph.erase_node(i);
    graph.erase_node(index);
    --i;
  }
}

// conv(x) + r is what a convolution with a residual computes. It runs where the sum stood, where r is known.
void fuse_residual(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
    if (nodes[i].op != "add") continue;
    const std::array<ValueId, 2> terms = {nodes[i].inputs[0], nodes[i].inputs[1]};
    if (graph.shape(terms[0]) != graph.shape(terms[1])) continue;
    const auto accept = [](const Node& node) { return node.op == "conv2d" && is_bare_convolution(node); };
    const int first = private_producer(graph, terms[0], accept);
    const int second = private_producer(graph, terms[1], accept);
    const int conv = std::max(first, second);  // the later one: the earlier term exists by then
    if (conv < 0) continue;
    Node fused = nodes[conv];
    fused.inputs.push_back(conv == first ? terms[1] : terms[0]);
    fused.fused += "+add" + nodes[i].fused;
    for (const auto& [key, value] : nodes[i].attributes) fused.attributes[key] = value;  // its activation
    replace_later_node(graph, conv, i, std::move(fused));
    --i;
  }
}

// interpolate(x) + y in one sweep: the enlarged map is never stored.
void fuse_interpolate_add(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
    if (nodes[i].op != "add" || nodes[i].has("activation")) continue;
    const std::array<ValueId, 2> terms = {nodes[i].inputs[0], nodes[i].inputs[1]};
    if (graph.shape(terms[0]) != graph.shape(terms[1])) continue;
    const auto accept = [](const Node& node) { return node.op == "interpolate" && node.inputs.size() == 1; };
    const int first = private_producer(graph, terms[0], accept);
    const int second = private_producer(graph, terms[1], accept);
    const int resize = std::max(first, second);
    if (resize < 0) continue;
    Node fused = nodes[resize];
    fused.inputs.push_back(resize == first ? terms[1] : terms[0]);
    fused.fused += "+add";
    replace_later_node(graph, resize, i, std::move(fused));
    --i;
  }
}

// x * gate + y in one sweep, where gate is one value per channel (n, 1, 1, c), as in squeeze-and-excitation.
void fuse_gate_add(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
    if (nodes[i].op != "add") continue;
    const std::array<ValueId, 2> terms = {nodes[i].inputs[0], nodes[i].inputs[1]};
    const MapShape& shape = graph.shape(nodes[i].outputs[0]);
    if (graph.shape(terms[0]) != graph.shape(terms[1])) continue;
    const auto accept = [&](const Node& node) {
      return node.op == "mul" && !node.has("activation") && graph.shape(node.inputs[0]) == shape &&
             graph.shape(node.inputs[1]) == MapShape{1, 1, shape.c};
    };
    const int first = private_producer(graph, terms[0], accept);
    const int second = private_producer(graph, terms[1], accept);
    const int gate = std::max(first, second);
    if (gate < 0) continue;
    Node fused = nodes[gate];
    fused.op = "mul_add";
    fused.inputs.push_back(gate == first ? terms[1] : terms[0]);
    fused.fused = nodes[i].fused;
    fused.attributes = nodes[i].attributes;  // its activation
    replace_later_node(graph, gate, i, std::move(fused));
    --i;
  }
}

// act(f(x)) where f's kernel ends with an activation and nothing else reads f(x).
void fuse_activation(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size());) {
    const int producer =
        nodes[i].op != "activation" ? -1 : private_producer(graph, nodes[i].inputs[0], [](const Node& node) {
          return find_op(node.op).fuses_activation && !node.has("activation");
        });
    if (producer < 0) {
      ++i;
      continue;
    }
    for (const auto& [key, value] : nodes[i].attributes) nodes[producer].attributes[key] = value;
    nodes[producer].fused += "+" + nodes[i].text("activation");
    nodes[producer].outputs = nodes[i].outputs;
    graph.erase_node(i);
  }
}

bool is_depthwise(const Graph& graph, const Node& node) {
  if (node.op != "conv2d" || has_residual(node)) return false;
  return node.integer("groups") == graph.shape(node.inputs[0]).c;
}

// The depthwise convolution that makes this value for one reader alone, or -1.
int private_depthwise(const Graph& graph, ValueId value) {
  return private_producer(graph, value, [&](const Node& node) { return is_depthwise(graph, node); });
}

// A dense 1 x 1 convolution in float32, as the fused kernels are; one residual may follow it.
bool is_mixing(const Node& node) {
  return is_pointwise(node) && node.integer("groups") == 1 &&
         (!node.has("precision") || node.text("precision") == "f32");
}

// What `part` computes becomes the first thing that `node` does: its attributes and constants get the prefix.
void absorb(const Node& part, const std::string& prefix, Node* node) {
  for (const auto& [key, value] : part.attributes) node->attributes[prefix + key] = value;
  for (const auto& [key, constant] : part.constants) node->constants[prefix + key] = constant;
  node->inputs[0] = part.inputs[0];
}

// 1 x 1, depthwise, 1 x 1: the maps between them are large, and then not stored whole.
void fuse_inverted_residual(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
    if (!is_mixing(nodes[i])) continue;
    const int depthwise = private_depthwise(graph, nodes[i].inputs[0]);
    if (depthwise < 0) continue;
    const int expand = private_producer(graph, nodes[depthwise].inputs[0], [&](const Node& node) {
      return is_mixing(node) && !has_residual(node);
    });
    const MapShape expanded = graph.shape(nodes[depthwise].inputs[0]);
    if (expand < 0 || !strips_pay(expanded.numel())) continue;
    Node block = nodes[i];
    block.op = "inverted_residual";
    absorb(nodes[depthwise], "depthwise_", &block);
    absorb(nodes[expand], "expand_", &block);
    nodes[i] = std::move(block);
    graph.erase_node(depthwise);
    graph.erase_node(expand);
    i -= 2;
  }
}

// Depthwise, 1 x 1: the map between them is not stored.
void fuse_separable(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
    if (!is_mixing(nodes[i])) continue;
    const int depthwise = private_depthwise(graph, nodes[i].inputs[0]);
    if (depthwise < 0) continue;
    const MapShape middle = graph.shape(nodes[i].inputs[0]), output = graph.shape(nodes[i].outputs[0]);
    if (!separable_pays(middle.numel(), output.c)) continue;
    Node pair = nodes[i];
    pair.op = "separable_conv2d";
    absorb(nodes[depthwise], "depthwise_", &pair);
    nodes[i] = std::move(pair);
    graph.erase_node(depthwise);
    --i;
  }
}

// What no output depends on need not be computed. Readers come after what they read, so one backward sweep
// finds all of it.
void remove_dead_nodes(Graph& graph) {
  for (int i = static_cast<int>(graph.nodes().size()) - 1; i >= 0; --i) {
    const auto& outputs = graph.nodes()[static_cast<size_t>(i)].outputs;
    if (std::all_of(outputs.begin(), outputs.end(), [&](ValueId id) { return graph.use_count(id) == 0; }))
      graph.erase_node(i);
  }
}

// A dense convolution whose factors are rounded to bf16 anyway, and which has kernels for maps stored so.
bool may_store_bf16(const Node& node) {
  return node.op == "conv2d" && node.has("precision") && node.text("precision") == "bf16" &&
         node.integer("groups") == 1;
}

// A value for the same map, stored as bf16.
ValueId new_bf16(Graph& graph, ValueId id) {
  MapShape shape = graph.shape(id);
  shape.storage = Storage::kBf16;
  return graph.new_value(shape);
}

Node conversion(const char* op, ValueId from, ValueId to) {
  Node node;
  node.op = node.name = op;
  node.inputs = {from};
  node.outputs = {to};
  return node;
}

// What such convolutions hand to one another is stored as bf16: half the memory, and as input rounded where
// it would be read. Where other ops meet them, a conversion stands; convolutions that have no such neighbour
// stay as they are.
void store_bf16(Graph& graph) {
  auto& nodes = graph.mutable_nodes();
  const int count = static_cast<int>(nodes.size());
  std::vector<bool> stores(nodes.size(), false);
  for (int i = 0; i < count; ++i) {
    if (!may_store_bf16(nodes[i])) continue;
    for (const ValueId id : nodes[i].inputs) {
      const int from = graph.producer(id);
      if (from >= 0 && may_store_bf16(nodes[from])) stores[i] = stores[from] = true;
    }
  }
  std::map<ValueId, ValueId> stored;  // an f32 value -> the same as bf16
  for (int i = 0, at = 0; i < count; ++i, ++at) {
    if (!stores[i]) continue;
    for (size_t input = 0; input < nodes[at].inputs.size(); ++input) {
      const ValueId id = nodes[at].inputs[input];
      auto found = stored.find(id);
      if (found == stored.end()) {
        found = stored.emplace(id, new_bf16(graph, id)).first;
        graph.insert_node(at++, conversion("to_bf16", id, found->second));
      }
      nodes[at].inputs[input] = found->second;
    }
    const ValueId output = nodes[at].outputs[0];
    nodes[at].outputs[0] = stored[output] = new_bf16(graph, output);
    // Dead where only such convolutions read it.
    graph.insert_node(++at, conversion("to_f32", stored[output], output));
  }
  remove_dead_nodes(graph);
}

}  // namespace

const std::vector<Pass>& passes() {
  static const std::vector<Pass> kPasses = {
      {"remove_identities", remove_identities},
      {"remove_dead_nodes", remove_dead_nodes},  // before the others count who reads a value
      {"fold_zero_pad", fold_zero_pad},
      {"remove_padding_left_over", remove_dead_nodes},  // likewise
      {"fold_batch_norm", fold_batch_norm},
      {"convolve_before_enlarging", convolve_before_enlarging},
      {"average_before_adding", average_before_adding},
      {"split_convolution", split_convolution},
      {"fuse_residual", fuse_residual},
      {"fuse_interpolate_add", fuse_interpolate_add},
      {"fuse_gate_add", fuse_gate_add},
      {"fuse_activation", fuse_activation},  // after fuse_residual: the activation follows the sum
      {"fuse_inverted_residual", fuse_inverted_residual},  // of whole convolutions
      {"fuse_separable", fuse_separable},                  // of what that left
      {"store_bf16", store_bf16},                          // of whatever convolutions there are in the end
  };
  return kPasses;
}

void run_pass(Graph& graph, const std::string& name) {
  for (const Pass& pass : passes()) {
    if (name != pass.name) continue;
    pass.run(graph);
    return;
  }
  check(false, "graph", "expected the name of a pass, got '", name, "'");
}

void optimize(Graph& graph) {
  for (const Pass& pass : passes()) pass.run(graph);
}

}  // namespace pyvision::engine

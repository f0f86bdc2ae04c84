// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "engine/executor.h"
#include "engine/graph.h"
#include "engine/passes.h"

namespace pyvision::engine_bind {

using engine::Executable;
using engine::Graph;
using engine::MapShape;
using engine::Node;
using engine::ValueId;

py::tuple to_tuple(const MapShape& shape) { return py::make_tuple(shape.h, shape.w, shape.c); }

engine::ConstantPtr copy_constant(const py::array& array, const std::string& name) {
  Tensor tensor = view<const float>(array, "graph", name.c_str());
  check(tensor.contiguous(), "graph", "expected ", name, " to be C-contiguous");
  auto constant = std::make_shared<engine::Constant>();
  constant->shape.assign(tensor.shape, tensor.shape + tensor.rank);
  constant->data.assign(tensor.as<float>(), tensor.as<float>() + tensor.numel());
  return constant;
}

std::vector<ValueId> add_node(Graph& graph, const std::string& op, const std::vector<ValueId>& inputs,
                              const std::map<std::string, engine::Attribute>& attributes,
                              const std::map<std::string, py::array>& constants, const std::string& name) {
  Node node;
  node.op = op;
  node.name = name;
  node.inputs = inputs;
  node.attributes = attributes;
  for (const auto& [key, array] : constants) node.constants[key] = copy_constant(array, key);
  return graph.add_node(std::move(node));
}

void set_attribute(Graph& graph, int64_t node, const std::string& key, const engine::Attribute& value) {
  auto& nodes = graph.mutable_nodes();
  check(node >= 0 && node < static_cast<int64_t>(nodes.size()), "graph", "expected a node in [0, ",
        nodes.size(), "), got ", node);
  nodes[static_cast<size_t>(node)].attributes[key] = value;
}

py::list node_dicts(const Graph& graph) {
  py::list result;
  for (const Node& node : graph.nodes()) {
    py::dict row;
    row["op"] = node.op;
    row["fused"] = node.fused;
    row["name"] = node.name;
    row["inputs"] = node.inputs;
    row["outputs"] = node.outputs;
    row["attributes"] = node.attributes;
    py::dict constants;
    for (const auto& [key, constant] : node.constants)
      constants[key.c_str()] = py::tuple(py::cast(constant->shape));
    row["constants"] = constants;
    result.append(row);
  }
  return result;
}

py::list summary_rows(const Executable& executable) {
  py::list rows;
  for (const engine::StepInfo& step : executable.steps()) {
    py::dict row;
    row["name"] = step.name;
    row["op"] = step.op;
    row["shape"] = to_tuple(step.output);
    row["gflop"] = 1e-9 * static_cast<double>(step.flops);
    row["parameters"] = step.parameters;
    row["algorithm"] = step.algorithm;
    row["packed_bytes"] = step.packed_bytes;
    rows.append(row);
  }
  return rows;
}

// inputs: C-contiguous (n, h, w, c) arrays, one n for all; returns fresh arrays, and the time of each step
// when `profiled`.
py::object run(Executable& executable, const std::vector<py::array>& inputs, bool profiled) {
  const auto& shapes = executable.input_shapes();
  check(inputs.size() == shapes.size(), "graph", "expected ", shapes.size(), " inputs, got ", inputs.size());
  std::vector<const float*> input_data;
  int64_t n = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor input = dense_view<const float>(inputs[i], "graph", "input", 4);
    const MapShape got = {input.shape[1], input.shape[2], input.shape[3]};
    if (i == 0) n = input.shape[0];
    check(got == shapes[i] && input.shape[0] == n, "graph", "expected input of shape ",
          engine::shape_text(shapes[i]), " with one n for all inputs, got ", shape_text(input));
    input_data.push_back(input.as<const float>());
  }
  py::list outputs;
  std::vector<float*> output_data;
  for (const MapShape& shape : executable.output_shapes()) {
    auto output = empty<float>("graph", {n, shape.h, shape.w, shape.c});
    output_data.push_back(output.mutable_data());
    outputs.append(output);
  }
  std::vector<int64_t> nanoseconds(executable.steps().size());
  if (n > 0) {
    py::gil_scoped_release release;
    executable.run(input_data, n, output_data, profiled ? nanoseconds.data() : nullptr);
  }
  if (!profiled) return outputs;
  return py::make_tuple(outputs, nanoseconds);
}

void define(py::module_& m) {
  py::class_<Graph>(m, "Graph", "A traced network: NHWC values and the nodes that compute them.")
      .def(py::init<>())
      .def(
          "add_input",
          [](Graph& graph, int64_t h, int64_t w, int64_t c) { return graph.add_input({h, w, c}); },
          py::arg("h"), py::arg("w"), py::arg("c"))
      .def("add_node", &add_node, py::arg("op"), py::arg("inputs"),
           py::arg("attributes") = std::map<std::string, engine::Attribute>(),
           py::arg("constants") = std::map<std::string, py::array>(), py::arg("name") = "")
      .def("set_attribute", &set_attribute, py::arg("node"), py::arg("key"), py::arg("value"))
      .def("set_outputs", &Graph::set_outputs, py::arg("outputs"))
      .def(
          "shape", [](const Graph& graph, ValueId id) { return to_tuple(graph.shape(id)); }, py::arg("value"))
      .def("outputs", &Graph::outputs)
      .def("nodes", &node_dicts)
      .def("copy", [](const Graph& graph) { return Graph(graph); })
      .def("run_pass", &engine::run_pass, py::arg("name"))
      .def("optimize", &engine::optimize);
  m.def("pass_names", [] {
    std::vector<std::string> names;
    for (const engine::Pass& pass : engine::passes()) names.emplace_back(pass.name);
    return names;
  });

  py::class_<Executable>(m, "Executable", "A graph with packed weights and planned memory, ready to run.")
      .def(py::init<Graph>(), py::arg("graph"))
      .def(
          "run",
          [](Executable& self, const std::vector<py::array>& inputs) { return run(self, inputs, false); },
          py::arg("inputs"))
      .def(
          "run_profiled",
          [](Executable& self, const std::vector<py::array>& inputs) { return run(self, inputs, true); },
          py::arg("inputs"))
      .def("summary_rows", &summary_rows)
      .def("arena_bytes", &Executable::arena_bytes, py::arg("n") = 1)
      .def_property_readonly("isa", [](const Executable& self) { return isa_name(self.isa()); });
}

}  // namespace pyvision::engine_bind

// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "core/cpu.h"
#include "core/dispatch.h"
#include "core/parallel.h"

namespace pyvision {

// The ISA that each op's kernel table in force was compiled for: what tests compare with the one they forced.
#define PYVISION_OP(name)
#define PYVISION_SIMD_OP(name) const char* name##_kernel_isa();
#include "ops.inc"

namespace {

py::dict kernel_isas() {
  py::dict result;
#define PYVISION_OP(name)
#define PYVISION_SIMD_OP(name) result[#name] = name##_kernel_isa();
#include "ops.inc"
  return result;
}

bool python_was_interrupted() {
  py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() == 0) return false;
  return true;  // the pending KeyboardInterrupt is raised by the translator of Interrupted
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "pyvision's compiled CPU kernels. Use pyvision.ops; this module takes NumPy arrays only.";
  m.attr("__version__") = PYVISION_VERSION;
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const TypeError& e) {
      py::set_error(PyExc_TypeError, e.what());
    } catch (const Interrupted&) {
      if (PyErr_Occurred() == nullptr) PyErr_SetNone(PyExc_KeyboardInterrupt);
    }
  });
  init_isa_from_environment();
  set_interrupt_check(python_was_interrupted);

  m.def("isa", [] { return isa_name(active_isa()); });
  m.def("isa_reason", &active_isa_reason);
  m.def(
      "set_isa", [](const std::string& name, bool extensions) { set_isa(name, "set_isa", extensions); },
      py::arg("name"), py::arg("extensions") = true);
  m.def("active_extensions", [] {
    std::vector<std::string> names;
    for (int i = 0; i < kIsaExtensionCount; ++i)
      if (extension_active(static_cast<IsaExtension>(i)))
        names.emplace_back(extension_name(static_cast<IsaExtension>(i)));
    return names;
  });
  m.def("supported_isas", [] {
    std::vector<std::string> names;
    for (int i = 0; i < kIsaCount; ++i)
      if (isa_supported(static_cast<Isa>(i))) names.emplace_back(isa_name(static_cast<Isa>(i)));
    return names;
  });
  m.def("kernel_isas", &kernel_isas);
  m.def("num_threads", &num_threads);
  m.def("num_threads_reason", &num_threads_reason);
  m.def("set_num_threads", &set_num_threads, py::call_guard<py::gil_scoped_release>());

#define PYVISION_OP(name) name##_bind::define(m);
#include "ops.inc"
}

}  // namespace pyvision

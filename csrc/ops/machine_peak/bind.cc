// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "ops/machine_peak/machine_peak.h"

namespace pyvision::machine_peak_bind {

void define(py::module_& m) {
  m.def("run_fma_chains", &run_fma_chains, py::arg("repetitions"), py::arg("threads"),
        py::call_guard<py::gil_scoped_release>());
  m.def("measure_copy_bandwidth", &measure_copy_bandwidth, py::arg("bytes"), py::arg("seconds"),
        py::arg("threads"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace pyvision::machine_peak_bind

// SPDX-License-Identifier: Apache-2.0
#include "core/activation.h"

#include "core/check.h"

namespace pyvision {
namespace {

// In the order of enum Activation.
constexpr const char* kNames[] = {"none",      "relu",    "relu6", "leaky_relu", "hardsigmoid",
                                  "hardswish", "sigmoid", "silu",  "tanh",       "gelu"};

}  // namespace

Activation parse_activation(const char* op, const std::string& name) {
  std::string known;
  for (size_t i = 0; i < sizeof(kNames) / sizeof(kNames[0]); ++i) {
    if (name == kNames[i]) return static_cast<Activation>(i);
    known += (i ? ", " : "") + std::string(kNames[i]);
  }
  check(false, op, "expected activation to be one of ", known, ", got '", name, "'");
  return Activation::kNone;
}

const char* activation_name(Activation kind) { return kNames[static_cast<int>(kind)]; }

}  // namespace pyvision

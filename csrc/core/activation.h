// SPDX-License-Identifier: Apache-2.0
// The element-wise functions an epilogue can apply.
#pragma once

#include <cstdint>
#include <string>

namespace pyvision {

enum class Activation : uint8_t {
  kNone,
  kRelu,
  kRelu6,
  kLeakyRelu,
  kHardSigmoid,
  kHardSwish,  // in registers, a few instructions
  kSigmoid,
  kSilu,
  kTanh,
  kGelu,  // need an exponential
};

struct ActivationParams {
  Activation kind = Activation::kNone;
  float slope = 0.01f;     // of leaky_relu, for x < 0
  float sixth = 1.0f / 6;  // of hardsigmoid and hardswish: networks published in half precision rounded it
};

// Name as in torch.nn.functional ("leaky_relu", "hardswish", …); throws std::invalid_argument for others.
Activation parse_activation(const char* op, const std::string& name);
const char* activation_name(Activation kind);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// Argument checks. Messages read `[op] expected …, got …` and are built only when a check fails.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "core/tensor.h"

namespace pyvision {

// Becomes Python's TypeError; ValueError is std::invalid_argument, which pybind11 maps by itself.
struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Parts>
std::string concat_text(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

// check(c > 0, "conv2d", "stride must be positive, got ", stride)
template <class... Parts>
void check(bool ok, const char* op, const Parts&... parts) {
  if (!ok) throw std::invalid_argument(concat_text('[', op, "] ", parts...));
}

template <class... Parts>
void check_type(bool ok, const char* op, const Parts&... parts) {
  if (!ok) throw TypeError(concat_text('[', op, "] ", parts...));
}

// "(2, 3, 4)", of extents that outlive the message. Text only once it is printed: checks pass as a rule.
struct ShapeText {
  const int64_t* shape;
  int rank;
};
inline std::ostream& operator<<(std::ostream& out, const ShapeText& text) {
  out << '(';
  for (int i = 0; i < text.rank; ++i) out << (i ? ", " : "") << text.shape[i];
  return out << (text.rank == 1 ? ",)" : ")");
}
inline ShapeText shape_text(const int64_t* shape, int rank) { return {shape, rank}; }
inline ShapeText shape_text(const Tensor& t) { return shape_text(t.shape, t.rank); }

// Product of extents; throws when it leaves int64 or when `bytes_each` times it cannot be addressed. Of an
// empty array it is 0, but the other extents' product must fit 64 bits still, or NumPy refuses the shape.
inline int64_t checked_numel(const char* op, const int64_t* shape, int rank, int64_t bytes_each = 4) {
  bool is_empty = false;
  for (int i = 0; i < rank; ++i) {
    check(shape[i] >= 0, op, "expected non-negative extents, got shape ", shape_text(shape, rank));
    is_empty = is_empty || shape[i] == 0;
  }
  int64_t n = bytes_each;
  for (int i = 0; i < rank; ++i) {
    if (shape[i] == 0) continue;
    check(!__builtin_mul_overflow(n, shape[i], &n) && (is_empty || n < (int64_t{1} << 47)), op,
          "expected an output that fits in memory, got shape ", shape_text(shape, rank));
  }
  return is_empty ? 0 : n / bytes_each;
}

}  // namespace pyvision

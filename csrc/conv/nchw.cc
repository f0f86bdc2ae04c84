// SPDX-License-Identifier: Apache-2.0
#include "conv/nchw.h"

#include <algorithm>

#include "core/arena.h"
#include "ops/layout/layout.h"

namespace pyvision {
namespace {

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

struct NchwPlan {
  int64_t images, out_rows;  // most of a strip
};

template <class In, class Out>
NchwPlan plan_nchw(const NchwShape& s) {
  const int64_t in_row_bytes = s.w * s.in_channels * static_cast<int64_t>(sizeof(In));
  const int64_t out_row_bytes = s.out_w * s.out_channels * static_cast<int64_t>(sizeof(Out));
  const int64_t bytes = s.strip_bytes * num_threads();
  // Without the rows that neighbouring strips both see.
  const int64_t image_bytes = std::max<int64_t>(1, s.h * in_row_bytes + s.out_h * out_row_bytes);
  NchwPlan plan;
  if (bytes >= image_bytes) {
    plan.out_rows = s.out_h;
    plan.images = std::min(bytes / image_bytes, s.n);
  } else {
    const auto rows = static_cast<int64_t>(static_cast<double>(bytes) / static_cast<double>(image_bytes) *
                                           static_cast<double>(s.out_h));
    plan.out_rows = std::min(s.out_h, round_up(std::max<int64_t>(1, rows), s.row_unit));
    plan.images = 1;
  }
  return plan;
}

// What the strip from output row `oh` on sees of the image.
RowRange rows_of_strip(const NchwShape& s, const NchwPlan& plan, RowsSeen seen, int64_t oh) {
  // Of whole units, even where the map ends within one: what is computed together sees what is there.
  const RowRange rows = seen(oh, oh + round_up(std::min(plan.out_rows, s.out_h - oh), s.row_unit));
  const int64_t begin = std::clamp<int64_t>(rows.begin, 0, s.h - 1);  // one row at least, seen or not
  return {begin, std::clamp<int64_t>(rows.end, begin + 1, s.h)};
}

}  // namespace

Nhwc<const float> convert_pixels(const EitherMap<const float>& map, int64_t begin, int64_t end,
                                 float* memory) {
  if (map.planes == nullptr) return map.nhwc;
  const int64_t n = map.nhwc.n, h = map.nhwc.h, w = map.nhwc.w, c = map.nhwc.c, plane = h * w;
  for (int64_t p = begin; p < end;) {
    const int64_t image = p / plane, count = std::min(end, (image + 1) * plane) - p;
    nchw_to_nhwc(map.planes + image * c * plane + p % plane, memory + (p - begin) * c, 1, c, plane, count);
    p += count;
  }
  return dense_nhwc<const float>(memory - begin * c, n, h, w, c);
}

template <class In, class Out>
int64_t rows_converted(const NchwShape& s, RowsSeen seen) {
  const NchwPlan plan = plan_nchw<In, Out>(s);
  int64_t rows = 0;
  for (int64_t oh = 0; oh < s.out_h; oh += plan.out_rows) {
    const RowRange range = rows_of_strip(s, plan, seen, oh);
    rows += range.end - range.begin;
  }
  return rows;
}

template <class In, class Out>
void run_strips(const NchwShape& s, const StripCopies<In, Out>& copies, RowsSeen seen,
                FunctionRef<void(const NchwStrip<In, Out>& strip)> run) {
  if (s.n * s.out_h * s.out_w * s.out_channels == 0) return;
  const NchwPlan plan = plan_nchw<In, Out>(s);
  int64_t most_rows = 0;
  for (int64_t oh = 0; oh < s.out_h; oh += plan.out_rows) {
    const RowRange rows = rows_of_strip(s, plan, seen, oh);
    most_rows = std::max(most_rows, rows.end - rows.begin);
  }
  const Scratch<In> x(plan.images * most_rows * s.w * s.in_channels);
  const Scratch<Out> y(plan.images * plan.out_rows * s.out_w * s.out_channels);
  for (int64_t image = 0; image < s.n; image += plan.images) {
    const int64_t images = std::min(plan.images, s.n - image);
    for (int64_t oh = 0; oh < s.out_h; oh += plan.out_rows) {
      const RowRange rows = rows_of_strip(s, plan, seen, oh);
      const int64_t in_rows = rows.end - rows.begin, out_rows = std::min(plan.out_rows, s.out_h - oh);
      copies.read(image, images, rows.begin, in_rows, x);
      if (copies.read_output != nullptr) (*copies.read_output)(image, images, oh, out_rows, y);
      run({image, dense_nhwc<const In>(x, images, in_rows, s.w, s.in_channels), rows.begin,
           dense_nhwc<Out>(y, images, out_rows, s.out_w, s.out_channels), oh});
      copies.write(image, images, oh, out_rows, y);
    }
  }
}

template <class In, class Out>
void run_strips(const NchwShape& s, const In* input, const Out* residual, Out* output, RowsSeen seen,
                FunctionRef<void(const NchwStrip<In, Out>& strip)> run) {
  const int64_t in_plane = s.h * s.w, out_plane = s.out_h * s.out_w;
  const auto read = [&](int64_t image, int64_t images, int64_t row, int64_t rows, In* copy) {
    nchw_to_nhwc(input + image * s.in_channels * in_plane + row * s.w, copy, images, s.in_channels, in_plane,
                 rows * s.w);
  };
  const auto out_at = [&](int64_t image, int64_t row) {
    return image * s.out_channels * out_plane + row * s.out_w;
  };
  const auto read_residual = [&](int64_t image, int64_t images, int64_t row, int64_t rows, Out* copy) {
    nchw_to_nhwc(residual + out_at(image, row), copy, images, s.out_channels, out_plane, rows * s.out_w);
  };
  const FunctionRef<void(int64_t, int64_t, int64_t, int64_t, Out*)> read_output = read_residual;
  const auto write = [&](int64_t image, int64_t images, int64_t row, int64_t rows, const Out* copy) {
    nhwc_to_nchw(copy, output + out_at(image, row), images, s.out_channels, out_plane, rows * s.out_w);
  };
  run_strips<In, Out>(s, {read, residual != nullptr ? &read_output : nullptr, write}, seen, run);
}

template int64_t rows_converted<float, float>(const NchwShape&, RowsSeen);
template void run_strips(const NchwShape&, const float*, const float*, float*, RowsSeen,
                         FunctionRef<void(const NchwStrip<float, float>&)>);
template void run_strips(const NchwShape&, const uint8_t*, const float*, float*, RowsSeen,
                         FunctionRef<void(const NchwStrip<uint8_t, float>&)>);
template void run_strips(const NchwShape&, const uint8_t*, const uint8_t*, uint8_t*, RowsSeen,
                         FunctionRef<void(const NchwStrip<uint8_t, uint8_t>&)>);
template void run_strips(const NchwShape&, const StripCopies<float, float>&, RowsSeen,
                         FunctionRef<void(const NchwStrip<float, float>&)>);

}  // namespace pyvision

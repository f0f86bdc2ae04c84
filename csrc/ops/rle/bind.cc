// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string_view>

#include "core/arena.h"
#include "core/bind.h"
#include "core/parallel.h"
#include "ops/rle/rle.h"

namespace pyvision::rle_bind {

const char* type_name(py::handle value) { return Py_TYPE(value.ptr())->tp_name; }

void check_size(const char* op, int64_t h, int64_t w) {
  check(h >= 0 && w >= 0 && h <= kMaxRlePixels && w <= kMaxRlePixels && (w == 0 || h <= kMaxRlePixels / w),
        op, "expected a size of up to 2^32 - 1 pixels, got (", h, ", ", w, ")");
}

// An integer of a list in an encoding; -1 where it is none or does not fit.
int64_t length_of(py::handle value) {
  if (!PyIndex_Check(value.ptr()) || PyBool_Check(value.ptr())) return -1;
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const int64_t length = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  return overflow != 0 ? -1 : length;
}

Runs parse_counts(const char* op, py::handle counts) {
  Runs runs;
  if (PyBytes_Check(counts.ptr()) || PyUnicode_Check(counts.ptr())) {
    const auto text = counts.cast<std::string_view>();
    runs.resize(text.size());
    int64_t count = 0;
    const char* lack = rle_decompress(text.data(), static_cast<int64_t>(text.size()), runs.data(), &count);
    check(lack == nullptr, op, "expected compressed counts with ", lack == nullptr ? "" : lack,
          ", got others");
    return runs;
  }
  check_type(PyList_Check(counts.ptr()) || PyTuple_Check(counts.ptr()), op,
             "expected counts to be bytes, a string or a list of integers, got ", type_name(counts));
  for (const py::handle item : counts) {
    const int64_t length = length_of(item);
    if (length < 0 || length > kMaxRlePixels)  // outside: repr takes longer than all else
      check(false, op, "expected counts to be integers of 0 to 2^32 - 1, got ",
            py::repr(item).cast<std::string>());
    runs.push_back(static_cast<uint32_t>(length));
  }
  return runs;
}

Rle parse(const char* op, py::handle item) {
  check_type(PyDict_Check(item.ptr()), op, "expected rles to be dicts with size and counts, got ",
             type_name(item));
  const py::handle size = PyDict_GetItemString(item.ptr(), "size");
  const py::handle counts = PyDict_GetItemString(item.ptr(), "counts");
  if (!size || !counts)
    check(false, op, "expected rles to be dicts with size and counts, got ",
          py::repr(item).cast<std::string>());
  check_type(PyList_Check(size.ptr()) || PyTuple_Check(size.ptr()), op,
             "expected size to be [height, width], got ", type_name(size));
  const auto extents = py::reinterpret_borrow<py::sequence>(size);
  check(extents.size() == 2, op, "expected size to be [height, width], got ", extents.size(), " numbers");
  Rle rle = {length_of(extents[0]), length_of(extents[1]), {}};
  check_size(op, rle.h, rle.w);
  rle.runs = parse_counts(op, counts);
  check(rle_sums_to(rle.runs, rle.h * rle.w), op, "expected counts that sum to the ", rle.h * rle.w,
        " pixels of size, got others");
  return rle;
}

std::vector<Rle> parse_all(const char* op, const py::list& rles) {
  std::vector<Rle> parsed;
  parsed.reserve(rles.size());
  for (const py::handle item : rles) parsed.push_back(parse(op, item));
  return parsed;
}

void check_same_size(const char* op, const std::vector<Rle>& rles) {
  for (const Rle& rle : rles)
    check(rle.h == rles[0].h && rle.w == rles[0].w, op, "expected rles of one size, got (", rles[0].h, ", ",
          rles[0].w, ") and (", rle.h, ", ", rle.w, ")");
}

std::string compressed(RunsView runs) {
  std::string text(static_cast<size_t>(kMaxRleDigits * runs.count), '\0');
  text.resize(static_cast<size_t>(rle_compress(runs, text.data())));
  return text;
}

py::dict to_dict(int64_t h, int64_t w, const std::string& counts) {
  py::list size(2);
  size[0] = h;
  size[1] = w;
  py::dict rle;
  rle["size"] = size;
  rle["counts"] = py::bytes(counts);
  return rle;
}

py::list to_dicts(int64_t h, int64_t w, const std::vector<std::string>& counts) {
  py::list rles(counts.size());
  for (size_t i = 0; i < counts.size(); ++i) rles[i] = to_dict(h, w, counts[i]);
  return rles;
}

py::list encode(const py::array& masks) {
  constexpr const char* op = "rle_encode";
  const Tensor t = dense_view<const uint8_t>(masks, op, "masks", 3);
  const int64_t n = t.shape[0], h = t.shape[1], w = t.shape[2];
  check_size(op, h, w);
  std::vector<std::string> counts(static_cast<size_t>(n));
  {
    py::gil_scoped_release release;
    parallel_for(n, 1, [&](int64_t begin, int64_t end) {
      Scratch<uint32_t> runs(h * w + 1);
      for (int64_t i = begin; i < end; ++i)
        counts[i] = compressed({runs, rle_encode(t.as<const uint8_t>() + i * h * w, h, w, runs)});
    });
  }
  return to_dicts(h, w, counts);
}

py::array decode(const py::list& rles) {
  constexpr const char* op = "rle_decode";
  const std::vector<Rle> parsed = parse_all(op, rles);
  check(!parsed.empty(), op, "expected at least one of rles, got none");
  check_same_size(op, parsed);
  const int64_t n = static_cast<int64_t>(parsed.size()), h = parsed[0].h, w = parsed[0].w;
  py::array masks = zeros<bool>(op, {n, h, w});
  uint8_t* y = static_cast<uint8_t*>(masks.mutable_data());
  {
    py::gil_scoped_release release;
    parallel_for(n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) rle_decode(parsed[i].runs, h, w, y + i * h * w);
    });
  }
  return masks;
}

py::array area(const py::list& rles) {
  const std::vector<Rle> parsed = parse_all("rle_area", rles);
  auto areas = empty<int64_t>("rle_area", {static_cast<int64_t>(parsed.size())});
  std::transform(parsed.begin(), parsed.end(), areas.mutable_data(),
                 [](const Rle& rle) { return rle_area(rle.runs); });
  return areas;
}

py::array to_bbox(const py::list& rles) {
  const std::vector<Rle> parsed = parse_all("rle_to_bbox", rles);
  auto boxes = empty<double>("rle_to_bbox", {static_cast<int64_t>(parsed.size()), 4});
  double* y = boxes.mutable_data();
  for (const Rle& rle : parsed) {
    rle_to_bbox(rle.runs, rle.h, y);
    y += 4;
  }
  return boxes;
}

py::dict merge(const py::list& rles, bool intersect) {
  constexpr const char* op = "rle_merge";
  const std::vector<Rle> parsed = parse_all(op, rles);
  check(!parsed.empty(), op, "expected at least one of rles, got none");
  check_same_size(op, parsed);
  std::string counts;
  {
    py::gil_scoped_release release;
    counts = compressed(rle_merge(parsed, intersect));
  }
  return to_dict(parsed[0].h, parsed[0].w, counts);
}

py::array iou(const py::list& detections, const py::list& ground_truth, const py::array& iscrowd) {
  constexpr const char* op = "rle_iou";
  const std::vector<Rle> a = parse_all(op, detections), b = parse_all(op, ground_truth);
  const Tensor crowd = dense_view<const uint8_t>(iscrowd, op, "iscrowd", 1);
  const int64_t n = static_cast<int64_t>(a.size()), m = static_cast<int64_t>(b.size());
  check(crowd.shape[0] == m, op, "expected iscrowd of shape (", m, ",), got ", shape_text(crowd));
  if (n > 0 && m > 0) {
    check_same_size(op, a);
    check_same_size(op, b);
    check(a[0].h == b[0].h && a[0].w == b[0].w, op, "expected dt and gt of one size, got (", a[0].h, ", ",
          a[0].w, ") and (", b[0].h, ", ", b[0].w, ")");
  }
  auto overlaps = empty<double>(op, {n, m});
  double* y = overlaps.mutable_data();
  {
    py::gil_scoped_release release;
    std::vector<RleSpans> left, right;
    left.reserve(a.size());
    right.reserve(b.size());
    for (const Rle& rle : a) left.emplace_back(rle.runs, rle.h);
    for (const Rle& rle : b) right.emplace_back(rle.runs, rle.h);
    parallel_for(n, std::max<int64_t>(1, 64 / (m + 1)),
                 [&](int64_t begin, int64_t end) {  // 64 pairs: some 20 us
                   for (int64_t i = begin; i < end; ++i)
                     for (int64_t j = 0; j < m; ++j)
                       y[i * m + j] = rle_iou(left[i], right[j], crowd.as<const uint8_t>()[j] != 0);
                 });
  }
  return overlaps;
}

py::list from_polygons(const std::vector<py::array>& polygons, int64_t h, int64_t w) {
  constexpr const char* op = "rle_from_polygons";
  check_size(op, h, w);
  std::vector<std::string> counts;
  for (const py::array& polygon : polygons) {
    const Tensor t = dense_view<const double>(polygon, op, "polygons", 1);
    check(t.shape[0] >= 6 && t.shape[0] % 2 == 0, op, "expected polygons of three or more x and y, got ",
          t.shape[0], " numbers");
    const double* xy = t.as<const double>();
    for (int64_t i = 0; i < t.shape[0]; ++i)
      check(std::fabs(xy[i]) <= kMaxPolygonCoordinate, op, "expected polygons within 2^20 pixels, got ",
            xy[i]);
    counts.push_back(compressed(rle_from_polygon(xy, t.shape[0] / 2, h, w)));
  }
  return to_dicts(h, w, counts);
}

void define(py::module_& m) {
  m.def("rle_encode", &encode, py::arg("masks"));
  m.def("rle_decode", &decode, py::arg("rles"));
  m.def("rle_area", &area, py::arg("rles"));
  m.def("rle_to_bbox", &to_bbox, py::arg("rles"));
  m.def("rle_merge", &merge, py::arg("rles"), py::arg("intersect"));
  m.def("rle_iou", &iou, py::arg("dt"), py::arg("gt"), py::arg("iscrowd"));
  m.def("rle_from_polygons", &from_polygons, py::arg("polygons"), py::arg("height"), py::arg("width"));
}

}  // namespace pyvision::rle_bind

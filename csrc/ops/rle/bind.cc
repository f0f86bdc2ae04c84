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
  check(rle_size_fits(h, w), op, "expected a size of up to 2^32 - 1 pixels, got (", h, ", ", w, ")");
}

// Which of the caller's encodings a message is about.
struct Place {
  const char* op;
  const char* argument;
  size_t index;
};
std::ostream& operator<<(std::ostream& out, const Place& place) {
  return out << place.argument << '[' << place.index << ']';
}

// Whether `value` is an integer, and which; -1 for those that do not fit, as no encoding has either.
bool is_integer(py::handle value, int64_t* number) {
  if (!PyIndex_Check(value.ptr()) || PyBool_Check(value.ptr())) return false;
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  *number = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  return true;
}

Runs parse_lengths(const Place& place, py::handle counts) {
  check_type(PyList_Check(counts.ptr()) || PyTuple_Check(counts.ptr()), place.op, "expected counts of ",
             place, " to be bytes, a string or a list of integers, got ", type_name(counts));
  Runs runs;
  for (const py::handle borrowed : counts) {
    const auto item = py::reinterpret_borrow<py::object>(borrowed);
    int64_t length = 0;
    if (!is_integer(item, &length) || length < 0 || length > kMaxRlePixels)  // outside: repr takes longest
      check(false, place.op, "expected counts of ", place, " to be integers of 0 to 2^32 - 1, got ",
            py::repr(item).cast<std::string>());
    runs.push_back(static_cast<uint32_t>(length));
  }
  return runs;
}

// An encoding whose text, if it has one, is yet to be read: `text` is owned by `owner`.
struct Unread {
  Rle rle;
  py::object owner;
  std::string_view text;
};

Unread parse(const Place& place, py::handle item) {
  check_type(PyDict_Check(item.ptr()), place.op, "expected ", place,
             " to be a dict with size and counts, got ", type_name(item));
  // Owned: the caller's __index__, or another thread, may change the dict meanwhile.
  const auto size = py::reinterpret_borrow<py::object>(PyDict_GetItemString(item.ptr(), "size"));
  const auto counts = py::reinterpret_borrow<py::object>(PyDict_GetItemString(item.ptr(), "counts"));
  if (!size || !counts)
    check(false, place.op, "expected ", place, " to be a dict with size and counts, got ",
          py::repr(item).cast<std::string>());
  check_type(PyList_Check(size.ptr()) || PyTuple_Check(size.ptr()), place.op, "expected size of ", place,
             " to be [height, width], got ", type_name(size));
  const auto extents = py::reinterpret_borrow<py::sequence>(size);
  check(extents.size() == 2, place.op, "expected size of ", place, " to be [height, width], got ",
        extents.size(), " numbers");
  Unread unread = {};
  int64_t* const numbers[] = {&unread.rle.h, &unread.rle.w};
  for (size_t i = 0; i < 2; ++i)
    if (!is_integer(extents[i], numbers[i]))
      check_type(false, place.op, "expected size of ", place, " to be two integers, got ",
                 py::repr(size).cast<std::string>());
  if (!rle_size_fits(unread.rle.h, unread.rle.w))
    check(false, place.op, "expected size of ", place, " to be up to 2^32 - 1 pixels, got ",
          py::repr(size).cast<std::string>());
  if (PyBytes_Check(counts.ptr()) || PyUnicode_Check(counts.ptr())) {
    unread.owner = counts;
    if (PyUnicode_Check(counts.ptr())) {
      Py_ssize_t length = 0;
      const char* const text = PyUnicode_AsUTF8AndSize(counts.ptr(), &length);
      if (text == nullptr) PyErr_Clear();  // a surrogate
      check(text != nullptr, place.op, "expected counts of ", place, " to be ASCII, got other characters");
      unread.text = {text, static_cast<size_t>(length)};
    } else {
      unread.text = counts.cast<std::string_view>();
    }
  } else {
    unread.rle.runs = parse_lengths(place, counts);
  }
  return unread;
}

// Reads the texts; others may hold the GIL, which is given up once and not per encoding: whoever computes in
// Python keeps it for milliseconds each time.
void read_texts(const char* op, const char* argument, std::vector<Unread>& all) {
  const py::gil_scoped_release release;
  for (size_t i = 0; i < all.size(); ++i) {
    const Place place = {op, argument, i};
    Rle& rle = all[i].rle;
    if (all[i].owner) {
      rle.runs.resize(all[i].text.size());
      int64_t count = 0;
      const char* lack = rle_decompress(all[i].text.data(), static_cast<int64_t>(all[i].text.size()),
                                        rle.runs.data(), &count);
      check(lack == nullptr, op, "expected compressed counts of ", place, " with ",
            lack == nullptr ? "" : lack, ", got others");
      rle.runs.resize(static_cast<size_t>(count));
    }
    check(rle_sums_to(rle.runs, rle.h * rle.w), op, "expected counts of ", place, " that sum to the ",
          rle.h * rle.w, " pixels of size, got others");
  }
}

std::vector<Rle> parse_all(const char* op, const py::list& rles, const char* argument = "rles") {
  std::vector<Unread> all;
  all.reserve(rles.size());
  for (const py::handle item : rles) all.push_back(parse({op, argument, all.size()}, item));
  read_texts(op, argument, all);
  std::vector<Rle> parsed;
  parsed.reserve(all.size());
  for (Unread& unread : all) parsed.push_back(std::move(unread.rle));
  return parsed;
}

void check_same_size(const char* op, const std::vector<Rle>& rles, const char* argument = "rles") {
  for (const Rle& rle : rles)
    check(rle.h == rles[0].h && rle.w == rles[0].w, op, "expected ", argument, " of one size, got (",
          rles[0].h, ", ", rles[0].w, ") and (", rle.h, ", ", rle.w, ")");
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
  int64_t* const y = areas.mutable_data();
  {
    py::gil_scoped_release release;
    std::transform(parsed.begin(), parsed.end(), y, [](const Rle& rle) { return rle_area(rle.runs); });
  }
  return areas;
}

py::array to_bbox(const py::list& rles) {
  const std::vector<Rle> parsed = parse_all("rle_to_bbox", rles);
  auto boxes = empty<double>("rle_to_bbox", {static_cast<int64_t>(parsed.size()), 4});
  double* y = boxes.mutable_data();
  {
    py::gil_scoped_release release;
    for (const Rle& rle : parsed) {
      rle_to_bbox(rle.runs, rle.h, y);
      y += 4;
    }
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
  const std::vector<Rle> a = parse_all(op, detections, "dt"), b = parse_all(op, ground_truth, "gt");
  const Tensor crowd = dense_view<const uint8_t>(iscrowd, op, "iscrowd", 1);
  const int64_t n = static_cast<int64_t>(a.size()), m = static_cast<int64_t>(b.size());
  check(crowd.shape[0] == m, op, "expected iscrowd of shape (", m, ",), got ", shape_text(crowd));
  if (n > 0 && m > 0) {
    check_same_size(op, a, "dt");
    check_same_size(op, b, "gt");
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

py::list from_polygons(const std::vector<py::array>& polygons, int64_t h, int64_t w, const char* op) {
  check_size(op, h, w);
  std::vector<Tensor> corners;
  for (const py::array& polygon : polygons)
    corners.push_back(dense_view<const double>(polygon, op, "polygons", 1));
  std::vector<std::string> counts;
  {
    py::gil_scoped_release release;
    for (const Tensor& t : corners) {
      check(t.shape[0] >= 6 && t.shape[0] % 2 == 0, op, "expected polygons of three or more x and y, got ",
            t.shape[0], " numbers");
      const double* xy = t.as<const double>();
      for (int64_t i = 0; i < t.shape[0]; ++i)
        check(std::fabs(xy[i]) <= kMaxPolygonCoordinate, op, "expected polygons within 2^20 pixels, got ",
              xy[i]);
      counts.push_back(compressed(rle_from_polygon(xy, t.shape[0] / 2, h, w)));
    }
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
  m.def("rle_from_polygons", &from_polygons, py::arg("polygons"), py::arg("height"), py::arg("width"),
        py::arg("op"));
}

}  // namespace pyvision::rle_bind

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace pyvision {

// By rising key_of(item) in [0, keys), items of one key in their order. Returns where each key's items end.
template <class Item, class KeyOf>
std::vector<int64_t> counting_sort(const std::vector<Item>& items, int64_t keys, KeyOf key_of, Item* sorted) {
  std::vector<int64_t> place(static_cast<size_t>(keys));  // of the next item of that key
  for (const Item& item : items) ++place[static_cast<size_t>(key_of(item))];
  int64_t next = 0;
  for (int64_t& at : place) next += std::exchange(at, next);
  for (const Item& item : items) sorted[place[static_cast<size_t>(key_of(item))]++] = item;
  return place;
}

}  // namespace pyvision

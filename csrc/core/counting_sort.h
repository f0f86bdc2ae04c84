// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace pyvision {

// By rising key in [0, keys), items of one key in their order. each(visit) calls visit(key, item) for all of
// them, and is called twice; room(count) returns where they belong. Returns where each key's items end.
template <class Item, class Each, class Room>
std::vector<int64_t> counting_sort_each(int64_t keys, Each each, Room room) {
  std::vector<int64_t> place(static_cast<size_t>(keys));  // of the next item of that key
  each([&](int64_t key, const Item&) { ++place[static_cast<size_t>(key)]; });
  int64_t next = 0;
  for (int64_t& at : place) next += std::exchange(at, next);
  Item* const sorted = room(next);
  each([&](int64_t key, const Item& item) { sorted[place[static_cast<size_t>(key)]++] = item; });
  return place;
}

// The same of items in a vector, by key_of(item).
template <class Item, class KeyOf>
std::vector<int64_t> counting_sort(const std::vector<Item>& items, int64_t keys, KeyOf key_of, Item* sorted) {
  return counting_sort_each<Item>(
      keys,
      [&](auto visit) {
        for (const Item& item : items) visit(static_cast<int64_t>(key_of(item)), item);
      },
      [&](int64_t) { return sorted; });
}

}  // namespace pyvision

// The words of the .wplan text, shared by its printer and its parser; indexed by the enums of plan.h.
#pragma once

#include <optional>
#include <string_view>

#include "ir/plan/plan.h"

namespace weft::plan_words {

inline constexpr const char* kSpaces[] = {"host", "pinned", "device", "peer"};
inline constexpr const char* kStorages[] = {"arena", "constant", "prepared", "input", "output", "state", "dynamic", "report"};
inline constexpr const char* kAccesses[] = {"", "out", "inout"};
inline constexpr const char* kCommands[] = {"launch", "copy",  "fill", "call", "set",  "read",       "check",           "expect", "select",
                                            "if",     "loop",  "alloc", "free", "swap", "collective", "wait_collective", "record", "wait"};

// The storages whose `source` stands right behind the word.
inline bool has_source(Storage s) {
  return s == Storage::constant || s == Storage::input || s == Storage::output || s == Storage::state;
}

template <class E, size_t n>
std::optional<E> find(const char* const (&words)[n], std::string_view w) {
  for (size_t i = 0; i < n; ++i)
    if (w == words[i]) return static_cast<E>(i);
  return std::nullopt;
}

}  // namespace weft::plan_words

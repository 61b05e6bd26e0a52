// Values whose last dim holds two halves: side by side (0 .. h-1, h .. 2h-1), or by turns (0, 2, 4, …; 1, 3, 5, …). What
// takes them apart are slices, splits, and gathers or slices of a last dim of 2; what joins them is a concat, or a stack
// in a last dim of 2 that is flattened.
#pragma once

#include "passes/rewrite/pieces.h"

namespace weft {

int last_axis(const Value* v);

// v, [.., 2h], is made of two values [.., h]. Behind those that stand side by side there may be a `rest`.
struct Joined {
  Value *first = nullptr, *second = nullptr, *rest = nullptr;
  bool turns = false;
  std::vector<Op*> ops;
};
std::optional<Joined> joined(Value* v);

// Which channels of which value something is: that from which slices and the like took them. By turns: `width` of them from
// `start` on, every other one.
struct Channels {
  Value* of = nullptr;
  int64_t start = 0, width = 0;
  bool turns = false;
  std::vector<Op*> ops;
};
std::optional<Channels> channels_of(Value* v);  // nullopt: their number is not known
// All channels of which these are the two halves; `turns` says which halves, `width` is that of both.
std::optional<Channels> whole_of(Value* first, Value* second);
// v is exactly those channels, in their order.
bool is_whole(Value* v, const Channels& whole);
// The channels as a value, where they lie in a row: a slice, or the value itself.
Value* build_channels(Builder& b, const Channels& c);

// Builds one half of a value of which both are equal; null where that is not sure. It must follow from how v was made: from
// two equal halves, through elementwise ops with numbers, views and whole rows moved; or v is a constant (a cache of
// angles), of which up to 16 MB are read and compared.
Value* one_half(Builder& b, Value* v, bool turns);

}  // namespace weft

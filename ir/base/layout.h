// Layout: how a tensor's logical dims lie in memory. `any` until the layout pass, concrete everywhere after. Only the op
// `reorder` changes it; infer and eval ignore it.
//   any                      undecided
//   strided(2,0,1)           dense, logical dims listed from outermost to innermost (row-major is strided(0,1,2))
//   blocked(1:16,pad)        dense row-major over [d0, ceil(d1/16), d2, ..., 16]; `pad`: the last block may hold padding
//   packed(name;k=v,...)     a prepared operand that only one kernel template understands
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ir/base/result.h"

namespace weft {

class Lexer;

struct Layout {
  enum class Kind : uint8_t { any, strided, blocked, packed };
  Kind kind = Kind::any;
  std::vector<int> perm;                                    // strided
  std::vector<std::pair<int, int>> blocks;                  // blocked: (axis, factor), inner blocks in this order
  bool padded = false;                                      // blocked
  std::string pack_name;                                    // packed
  std::vector<std::pair<std::string, int64_t>> params;      // packed

  static Layout strided(std::vector<int> perm);
  static Layout row_major(int rank);
  static Layout blocked(int axis, int factor, bool padded);
  bool is_any() const { return kind == Kind::any; }
  bool is_row_major() const;
  bool operator==(const Layout&) const = default;
  std::string to_string() const;
  static Result<Layout> parse(Lexer& lx);
};

}  // namespace weft

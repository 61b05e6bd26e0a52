// Dims compiled for the run: every symbol gets a slot, every expression becomes a few postfix operations over slots, kept
// once in one array. Evaluation allocates nothing. Exact: overflow, division by zero and a symbol without a value are
// reported, not computed.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "ir/base/dim.h"

namespace weft {

constexpr int64_t kNoValue = INT64_MIN;  // of a slot

// constant, unless it has code. `late`: depends on a symbol that only the run itself determines; `during`: on one that has
// no value yet when the run starts.
struct CompiledDim {
  int64_t constant = 0;
  uint32_t begin = 0, end = 0;
  bool late = false, during = false;
  bool is_const() const { return begin == end; }
};

class DimProgram {
 public:
  // Slots for all symbols of the table, in its order; `late` says which values the run determines.
  explicit DimProgram(const SymbolTable& symbols = {});

  int slot(std::string_view symbol) const;  // -1: none
  const std::string& name(int slot) const { return names_[slot]; }
  const SymbolInfo& range(int slot) const { return ranges_[slot]; }
  bool late(int slot) const { return late_[slot] != 0; }
  void set_late(int slot, bool from_start = false) { late_[slot] = from_start ? 1 : 2; }  // before the first compile
  int slots() const { return static_cast<int>(names_.size()); }

  // Error kInvalidModel for poison or an undeclared symbol, kResources for one nested too deeply.
  Result<CompiledDim> compile(const Dim& d);

  // False: overflow, division by zero, or a symbol without a value.
  bool eval(const CompiledDim& d, const int64_t* slots, int64_t* out) const {
    if (d.is_const()) {
      *out = d.constant;
      return true;
    }
    return run(d, slots, out);
  }

 private:
  enum class Code : uint8_t { push, load, add, mul, floordiv, mod, min, max };
  struct Instruction {
    Code code;
    int64_t operand;  // push: the value; load: the slot
  };
  static constexpr int kStack = 64;

  Status emit(const Dim& d, int depth, CompiledDim* of);
  Status emit_atom(const DimAtom& a, int depth, CompiledDim* of);
  bool run(const CompiledDim& d, const int64_t* slots, int64_t* out) const;

  std::vector<std::string> names_;
  std::vector<SymbolInfo> ranges_;
  std::vector<char> late_;  // 0: early, 1: known from the start of a run on, 2: only during it
  std::vector<Instruction> code_;
  std::unordered_map<std::string, CompiledDim> known_;  // by canonical text
};

}  // namespace weft

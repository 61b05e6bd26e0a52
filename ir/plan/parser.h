// The parser of .wplan text (grammar: print.cpp). The text may be hostile: everything is bounded by the limits below or
// by the text's own length, and every reference must resolve; whether the plan makes sense is verify_plan's question.
#pragma once

#include <string>
#include <unordered_map>

#include "ir/base/text.h"
#include "ir/plan/plan.h"

namespace weft {

class PlanParser {
 public:
  static constexpr size_t kMaxText = size_t{256} << 20;
  static constexpr size_t kMaxRank = 64;
  static constexpr int kMaxDepth = 32;  // of regions

  explicit PlanParser(std::string_view text) : lx_(text) {}
  Result<Plan> parse();

 private:
  using Index = std::unordered_map<std::string, int>;

  // parse.cpp: the declarations
  Status header();
  Status statement();
  Status symbol();
  Status constant();
  Status kernel();
  Status group();
  Status buffer();
  Status tensor();
  Status port(std::vector<PlanPort>& out, bool state);
  Status declare(const char* sigil, Index& index, size_t number, std::string* name);

  // parse_commands.cpp
  Result<Region> region(int depth);
  Result<Command> command(int depth);
  Status head(Command& c);
  Status call_head(Command& c);
  Status symbol_head(Command& c);
  Status fields(Command& c);
  Status field(const std::string& word, Command& c);
  Status regions(Command& c, int depth);
  Status cases(Command& c, int depth);
  Result<Param> param();
  Status arrow_list(Command& c, std::string_view end);

  // Pieces.
  Result<int> ref(const char* sigil, const Index& index, size_t count, const char* what);
  Result<int> tensor_ref() { return ref("%", tensors_, p_.tensors.size(), "tensor"); }
  Status tensor_into(Command& c);
  Result<int> small_integer();
  Result<std::vector<std::string>> strings();
  Result<std::vector<Dim>> dims();
  Result<DType> dtype();
  Status hash(Hash* out);
  Status quoted_into(std::string* out);

  Lexer lx_;
  Plan p_;
  Index buffers_, tensors_, kernels_;
  bool has_main_ = false, has_prepare_ = false;
};

}  // namespace weft

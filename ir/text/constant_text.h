// The text of one constant: what stands right of `=` in a const line.
#pragma once

#include "ir/base/text.h"
#include "ir/text/printer.h"

namespace weft {

std::string constant_text(const Constant& c, int id, const PrintOptions& options);
// Up to `limit` elements for a reader's eye, e.g. `[0, 1]`; empty when there are more, or not numbers.
std::string constant_summary(const Constant& c, int64_t limit);

// Elements in one packed file, for constants that do not fit into the text.
std::vector<std::byte> file_bytes(const Constant& c);

// Reads constants; files are opened once, relative to base_dir.
class ConstantParser {
 public:
  ConstantParser(ConstantPool& pool, std::string base_dir) : pool_(pool), base_dir_(std::move(base_dir)) {}
  // Everything after the name: `: f32[2] = …`. Returns the pool index.
  Result<int> parse(Lexer& lx, const std::string& name);

 private:
  struct Head {
    std::string name;
    DType dtype;
    std::vector<int64_t> dims;
    int64_t numel;
  };
  Result<Head> head(Lexer& lx, const std::string& name);
  Result<int> list(Lexer& lx, const Head& h);
  Result<int> hex(Lexer& lx, const Head& h);
  Result<int> splat(Lexer& lx, const Head& h);
  Result<int> strings(Lexer& lx, const Head& h);
  Result<int> in_file(Lexer& lx, const Head& h);
  Result<std::shared_ptr<const MappedFile>> open(const std::string& path);

  ConstantPool& pool_;
  std::string base_dir_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace weft

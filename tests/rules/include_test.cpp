// Who may include whom. A part of the house is the longest of these folders that a path lies in.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>

#include "tests/rules/tree.h"

namespace weft::rules {

namespace {

using Names = std::set<std::string>;

// What a part may include besides itself. Absent: everything.
const std::map<std::string, Names> kMayInclude = {
    {"ir/base", {}},
    {"ir/plan", {"ir/base"}},
    {"kernels", {}},  // device code
    {"kernels/host", {"ir/base"}},
    {"ir", {"ir/base", "kernels/host"}},
    {"frontend/onnx", {"ir", "ir/base"}},
    {"frontend/quantize", {"frontend/onnx", "frontend/api", "frontend/api/include", "ir", "ir/base", "passes"}},
    {"passes", {"ir", "ir/base"}},
    {"codegen", {"ir", "ir/base", "ir/plan"}},
    {"codegen/cpu/llvm", {"codegen", "ir", "ir/base"}},
    {"runtime", {"ir/base", "ir/plan", "kernels/host"}},
    {"frontend/api/runtime", {"frontend/api/include", "runtime", "ir/base", "ir/plan", "kernels/host"}},
    {"frontend/api/include", {"ir/base"}},
};
const Names kFree = {"frontend/api", "tools", "tests"};

// Headers of others by how their names begin, and the only places that may include them.
const std::map<std::string, Names> kVendor = {
    {"onnx/", {"frontend/onnx/"}},
    {"google/", {"frontend/onnx/"}},
    {"llvm/", {"codegen/cpu/llvm/"}},
    {"fmt/", {"tools/weft/log.cpp"}},
    {"spdlog/", {"tools/weft/log.cpp"}},
    {"nlohmann/", {"frontend/api/device_tables.cpp", "frontend/api/given.cpp", "tests/"}},
    {"CLI/", {"tools/weft/args.cpp"}},
    {"xxhash.h", {"ir/base/hash.cpp"}},
    {"zlib.h", {"tools/weft/npz.cpp", "tests/"}},
    {"png.h", {"tools/examples/", "tests/"}},
    {"gtest/", {"tests/"}},
    {"gmock/", {"tests/"}},
    {"benchmark/", {"tools/bench/"}},
    {"cuda", {"tests/unit/cuda_declarations_test.cpp"}},
    {"nvrtc", {"tests/unit/cuda_declarations_test.cpp"}},
    {"mpi.h", {"runtime/comm/mpi/"}},
    {"nccl", {"tests/unit/cuda_declarations_test.cpp"}},
};

std::optional<std::string> part_of(const std::string& path) {
  std::optional<std::string> best;
  auto consider = [&](const std::string& folder) {
    if (path.starts_with(folder + "/") && (!best || folder.size() > best->size())) best = folder;
  };
  for (const auto& [folder, _] : kMayInclude) consider(folder);
  for (const std::string& folder : kFree) consider(folder);
  return best;
}

// The name in an #include line, with its opening quote or bracket.
std::optional<std::string> included(const std::string& line) {
  size_t i = line.find_first_not_of(" \t");
  if (i == std::string::npos || line[i] != '#') return {};
  i = line.find_first_not_of(" \t", i + 1);
  if (i == std::string::npos || line.compare(i, 7, "include") != 0) return {};
  size_t open = line.find_first_of("\"<", i);
  if (open == std::string::npos) return {};
  size_t close = line.find_first_of("\">", open + 1);
  return line.substr(open, close - open);
}

bool begins_with_any(const std::string& path, const Names& prefixes) {
  for (const std::string& p : prefixes)
    if (path.starts_with(p)) return true;
  return false;
}

// What is wrong with `path` including `header` (opening quote and name); empty: nothing.
std::string fault(const std::string& path, const std::string& header) {
  const std::string name = header.substr(1);
  for (const auto& [prefix, homes] : kVendor)
    if (name.starts_with(prefix)) return begins_with_any(path, homes) ? "" : "may be included only in its home";
  if (name == "ir/ops/ops.def" && path != "ir/core/op_kind.h" && path != "ir/ops/registry.cpp")
    return "belongs in ir/core/op_kind.h and ir/ops/registry.cpp alone";
  if (header[0] == '<') return "";
  std::optional<std::string> from = part_of(path);
  std::optional<std::string> to = name.starts_with("weft/") ? std::string("frontend/api/include") : part_of(name);
  if (!to) return "is not named from the repository's root";
  if (!from) return "is included by a file outside the house";
  if (*from == "frontend/api/include" && *to == "ir/base" && name != "ir/base/error.h" && name != "ir/base/dtype.h")
    return "is not installed, so no public header may include it";
  if (*from == *to || kFree.contains(*from) || kMayInclude.at(*from).contains(*to)) return "";
  return "is out of reach: " + *from + " may not include " + *to;
}

TEST(IncludeRules, HoldInTheWholeTree) {
  int seen = 0;
  for (const TextFile& file : tree()) {
    if (!file.is_cpp()) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      std::optional<std::string> header = included(file.lines[i]);
      if (!header) continue;
      ++seen;
      std::string why = fault(file.path, *header);
      EXPECT_EQ(why, "") << file.path << ":" << i + 1 << ": " << header->substr(1) << " " << why;
    }
  }
  EXPECT_GT(seen, 500);
}

TEST(IncludeRules, SeeWhatIsForbidden) {
  EXPECT_NE(fault("ir/base/dim.h", "\"ir/core/op.h"), "");
  EXPECT_NE(fault("ir/core/op.h", "\"passes/pass_manager.h"), "");
  EXPECT_NE(fault("ir/core/op.h", "\"ir/plan/plan.h"), "");
  EXPECT_NE(fault("runtime/executable.h", "\"ir/core/module.h"), "");
  EXPECT_NE(fault("kernels/core/types.cuh", "\"ir/base/dtype.h"), "");
  EXPECT_NE(fault("codegen/cuda/emit.cpp", "\"kernels/core/types.cuh"), "");
  EXPECT_NE(fault("runtime/cuda/driver.h", "<cuda.h"), "");
  EXPECT_NE(fault("runtime/comm/mpi.cpp", "<mpi.h"), "");
  EXPECT_NE(fault("passes/cse.cpp", "\"frontend/onnx/import.h"), "");
  EXPECT_NE(fault("passes/cse.cpp", "\"codegen/kernel_spec.h"), "");
  EXPECT_NE(fault("codegen/lower/lower.cpp", "\"runtime/executable.h"), "");
  EXPECT_NE(fault("codegen/lower/lower.cpp", "<llvm/IR/Module.h"), "");
  EXPECT_NE(fault("frontend/api/include/weft/tensor.h", "\"ir/base/result.h"), "");
  EXPECT_NE(fault("frontend/api/include/weft/tensor.h", "<fmt/core.h"), "");
  EXPECT_NE(fault("frontend/api/runtime/context.cpp", "\"ir/core/module.h"), "");
  EXPECT_NE(fault("ir/ops/concat.cpp", "\"ir/ops/ops.def"), "");
  EXPECT_NE(fault("ir/ops/concat.cpp", "\"common.h"), "");
  EXPECT_EQ(fault("frontend/api/compilation.cpp", "\"codegen/lower/lower.h"), "");
  EXPECT_EQ(fault("ir/ops/registry.cpp", "\"ir/ops/ops.def"), "");
}

TEST(IncludeRules, LlvmHeadersStayInFewFiles) {
  Names heavy;  // those that include the builder or the pass headers: seconds each
  for (const TextFile& file : tree())
    for (const std::string& line : file.lines)
      if (file.is_cpp() && file.is_below("codegen") && included(line) &&
          (line.find("llvm/IR/IRBuilder.h") != std::string::npos || line.find("llvm/Passes/") != std::string::npos))
        heavy.insert(file.path);
  EXPECT_LE(heavy.size(), 4u);
}

}  // namespace

}  // namespace weft::rules

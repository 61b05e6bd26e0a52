#include "frontend/api/kernel_sources.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "codegen/cuda/emit.h"
#include "ir/base/text.h"

namespace weft {

namespace fs = std::filesystem;

static std::string commented(const std::string& text) {
  std::string out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) out += "// " + line + "\n";
  return out;
}

Result<std::optional<std::string>> changed_source(const std::string& folder, const KernelSpec& spec, const Target& target, const PlanKernel& kernel) {
  const fs::path path = fs::path(folder) / (kernel.name + "_" + spec_hash(spec, target).hex().substr(0, 12) + ".cu");
  const std::string ours = "// ONNX nodes: " + (kernel.nodes.empty() ? "none" : join(kernel.nodes, ", ")) + "\n" + commented(print_spec(spec)) + "\n" +
                           cuda_source(spec, target, kernel.name);
  std::error_code failed;
  if (fs::exists(path, failed)) {
    std::ifstream f(path, std::ios::binary);
    std::string there{std::istreambuf_iterator<char>(f), {}};
    if (!f.good() && !f.eof()) return resources("cannot read " + path.string());
    if (there == ours) return std::optional<std::string>();
    return std::optional<std::string>(std::move(there));
  }
  fs::create_directories(folder, failed);
  if (failed) return usage("cannot make the folder " + folder + ": " + failed.message());
  std::ofstream f(path, std::ios::binary);
  f << ours;
  f.close();
  if (!f) return resources("cannot write " + path.string());
  return std::optional<std::string>();
}

}  // namespace weft

// The repository's own texts, as the rules read them: sources, scripts, documents; no binary files.
#pragma once

#include <string>
#include <vector>

namespace weft::rules {

struct TextFile {
  std::string path;  // from the repository's root, with /
  std::vector<std::string> lines;

  bool is_cpp() const { return path.ends_with(".h") || path.ends_with(".cpp") || path.ends_with(".def") || path.ends_with(".cuh"); }
  bool is_below(const std::string& folder) const { return path.starts_with(folder + "/"); }
};

// Read once. Build folders and hidden ones (but .ci) are no part of it.
const std::vector<TextFile>& tree();

}  // namespace weft::rules

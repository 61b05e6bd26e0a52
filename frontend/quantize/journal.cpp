#include "frontend/quantize/journal.h"

#include <filesystem>

namespace weft::quantize {

Result<Journal> Journal::open(const std::string& path, const std::string& key) {
  Journal j;
  j.path_ = path;
  if (path.empty()) return j;
  const std::string head = "weft.quantize-state/1 " + key;
  bool whole = false;
  {
    std::ifstream in(path, std::ios::binary);
    std::string line;
    whole = std::getline(in, line) && line == head;
    // The last line may be cut off: a whole one ends with a mark.
    while (whole && std::getline(in, line)) {
      const size_t tab = line.find('\t');
      if (tab < line.size() && line.ends_with("\t.")) j.entries_[line.substr(0, tab)] = line.substr(tab + 1, line.size() - tab - 3);
    }
  }
  // Written anew, so that a line that was cut off is gone.
  j.out_.open(path, std::ios::binary | std::ios::trunc);
  j.out_ << head << '\n';
  for (const auto& [entry, value] : j.entries_) j.out_ << entry << '\t' << value << "\t.\n";
  if (!j.out_.flush()) return resources("cannot write " + path);
  return j;
}

const std::string* Journal::find(const std::string& entry) const {
  auto it = entries_.find(entry);
  return it == entries_.end() ? nullptr : &it->second;
}

Status Journal::add(const std::string& entry, const std::string& value) {
  entries_[entry] = value;
  if (path_.empty()) return {};
  out_ << entry << '\t' << value << "\t.\n";
  return out_.flush() ? Status() : Status(resources("cannot write " + path_));
}

void Journal::remove() {
  out_.close();
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove(path_, ignored);
}

}  // namespace weft::quantize

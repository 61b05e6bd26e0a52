// What was measured, in a file, so that a run that was cut off goes on: a key that says for which model, data and options it holds, and
// lines `kind name value` that are appended as they come. A file with another key, or a damaged one, counts as none.
#pragma once

#include <fstream>
#include <map>
#include <string>

#include "ir/base/result.h"

namespace weft::quantize {

class Journal {
 public:
  // An empty path: nothing is kept. Error kResources for a file that cannot be written.
  static Result<Journal> open(const std::string& path, const std::string& key);
  // Null: not there.
  const std::string* find(const std::string& entry) const;
  // entry and value hold no line ends, entry no tab.
  Status add(const std::string& entry, const std::string& value);
  // The work is done.
  void remove();

 private:
  std::string path_;
  std::map<std::string, std::string> entries_;
  std::ofstream out_;
};

}  // namespace weft::quantize

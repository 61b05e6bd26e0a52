// What was measured, for choosing: which of the configurations that are considered for a spec a device runs fastest.
#pragma once

#include <map>

#include "codegen/kernel_spec.h"

namespace weft {

struct Tuning {
  std::map<std::string, std::string> chosen;  // key of a spec before its choice -> name of a configuration
  size_t rank = 0;                            // where there is no entry: the one that is this many places behind the best predicted
};

// Of lines `KEY NAME`; what begins with # is left out. Error kUsage naming the line.
Result<Tuning> parse_tuning(std::string_view text, const std::string& file);
std::string print_tuning(const Tuning& t);

// The configurations of one spec under consideration, cheapest first by what is predicted.
class Candidates {
 public:
  // Of a spec that nothing was chosen for yet. tuning: null for none.
  Candidates(KernelSpec& spec, const Target& target, const Tuning* tuning);
  // `shown`: what the dump says of the cost.
  void add(std::string name, double cost, const std::string& shown);
  bool empty() const { return all_.empty(); }
  // The number of the one to take, in the order in which they were added; noted in the spec.
  size_t pick();

 private:
  struct One {
    std::string name;
    double cost;
  };
  KernelSpec& spec_;
  const Tuning* tuning_;
  std::vector<One> all_;
};

}  // namespace weft

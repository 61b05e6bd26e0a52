// Scores of assignments of formats: the float model's outputs, kept, against the simulator's. What was measured once is not measured again,
// not in another process either.
#pragma once

#include "frontend/api/reporter.h"
#include "frontend/quantize/journal.h"
#include "frontend/quantize/score.h"
#include "frontend/quantize/simulator.h"

namespace weft::quantize {

// Samples by number, some of which the search does not see.
struct Samples {
  std::vector<int64_t> search, held_out;
};
// Spread evenly. All are searched on where there are too few.
Samples split_samples(int64_t count, double held_out);

class Measure {
 public:
  Measure(const api::CalibrationData& data, Journal& journal, Reporter& reporter) : data_(data), journal_(journal), reporter_(reporter) {}

  // The float model's outputs of a sample. Error kResources when all of them take more than kMostBytes.
  Status keep_outputs(int64_t sample, const api::NamedTensors& outputs, const std::vector<std::string>& names);
  void use(Simulator simulator, std::vector<std::string> names) {
    simulator_.emplace(std::move(simulator));
    names_ = std::move(names);
  }
  // Null: float. entry: what the journal knows it as.
  Result<api::QuantizeScore> score(const std::string& entry, const std::vector<const QuantizedLayer*>& assignment, const std::vector<int64_t>& samples);

 private:
  static constexpr int64_t kMostBytes = int64_t{4} << 30;
  const api::CalibrationData& data_;
  Journal& journal_;
  Reporter& reporter_;
  std::map<int64_t, std::vector<Rows>> outputs_;  // the float model's, by sample
  int64_t bytes_ = 0;
  std::optional<Simulator> simulator_;
  std::vector<std::string> names_;                // of the outputs
};

}  // namespace weft::quantize

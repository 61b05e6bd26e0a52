// How far outputs are from the float model's, and how far they may be.
#pragma once

#include <optional>

#include "weft/quantize.h"

namespace weft::quantize {

// The elements of a tensor as floats. Error kUnsupported for one that holds no numbers of up to 32 bits of float.
Result<std::vector<float>> to_floats(const api::Tensor& t);

// An output of one run: rows along its last dim.
struct Rows {
  int64_t length = 1;
  std::vector<float> values;
  int64_t count() const { return static_cast<int64_t>(values.size()) / length; }
};
// All outputs of floats, in order. Error kUnsupported where there is none.
Result<std::vector<Rows>> float_outputs(const api::NamedTensors& outputs, const std::vector<std::string>& names);

// Means over runs: `mse` of all elements of all outputs; of the rows of the first output `kl`, the divergence of the distribution
// (softmax, unless rows are distributions already) from the float model's in nats, and `agreement`, the part whose largest element is at
// the same place. With labels `right` and `float_right`: the parts whose largest element is at the label.
class Score {
 public:
  void add(const std::vector<Rows>& got, const std::vector<Rows>& want, const std::vector<int64_t>* labels);
  api::QuantizeScore result() const;

 private:
  double squares_ = 0, divergence_ = 0;
  int64_t elements_ = 0, rows_ = 0, same_ = 0, labels_ = 0, right_ = 0, float_right_ = 0;
};

// "top1>=-0.5%", "mse<=1e-3", "kl<=0.01".
struct Budget {
  enum class Kind : uint8_t { top1, mse, kl } kind = Kind::mse;
  double limit = 0;  // top1: the part of the rows that may go wrong
  bool holds(const api::QuantizeScore& s) const { return loss(s) <= limit; }
  // What is held against the limit; of top1 by labels where there are some, else by agreement.
  double loss(const api::QuantizeScore& s) const;
};
// Nothing for an empty text. Error kUsage for one that is no budget.
Result<std::optional<Budget>> parse_budget(const std::string& text);

}  // namespace weft::quantize

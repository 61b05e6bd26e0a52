#include "passes/shard/cost.h"

#include <algorithm>

namespace weft {

ShardingCosts::ShardingCosts(const Module& m, const Target& target) {
  constexpr int64_t kTypical = 16;
  for (auto& [name, info] : m.symbols)
    values_[name] = info.opt > 0 ? info.opt : std::clamp(kTypical, std::max<int64_t>(info.lo, 1), std::max<int64_t>(info.hi, 1));
  bool gpu = target.backend == Backend::cuda;
  flops_ = gpu ? 5e14 : 1e11;
  memory_ = gpu ? 3e12 : 2e10;
  link_ = gpu ? 3e11 : 4e9;
  latency_ = gpu ? 6e-6 : 2e-5;
  launch_ = gpu ? 2e-6 : 2e-6;
}

double ShardingCosts::number(const Dim& d) const { return static_cast<double>(d.eval(values_).value_or(16)); }

double ShardingCosts::bytes(const Value& v) const {
  double n = 1;
  if (v.type.is_ranked())
    for (const Dim& d : v.type.shape) n *= number(d);
  return n * bit_width(v.type.dtype) / 8.0;
}

double ShardingCosts::part(const Value& v, const ShardingRule::Dims& dims, const ShardingRule& rule, int f, int64_t size) const {
  double n = bit_width(v.type.dtype) / 8.0;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d].empty()) n *= number(v.type.shape[d]);
    for (int k : dims[d]) n *= number(rule.factors[k].size) / (k == f ? static_cast<double>(size) : 1);
  }
  return n;
}

double ShardingCosts::seconds(const Op& op, const ShardingRule& rule, int f, int64_t size) const {
  if (has_trait(op, kViewLike)) return 0;
  double traffic = 0, ranks = f < 0 ? 1 : static_cast<double>(size);
  for (int i = 0; i < op.num_operands(); ++i)
    if (op.operands[i]) traffic += part(*op.operands[i], rule.operands[i], rule, f, size);
  for (int r = 0; r < op.num_results(); ++r) traffic += part(*op.result(r), rule.results[r], rule, f, size);
  double flops = number(op_cost(op).flops) / ranks;
  return launch_ + std::max(flops / flops_, traffic / memory_);
}

}  // namespace weft

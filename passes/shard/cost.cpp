#include "passes/shard/cost.h"

#include <algorithm>

#include "ir/ops/collective.h"
#include "ir/ops/contract.h"

namespace weft {

ShardingCosts::ShardingCosts(const Module& m, const DeviceTable& devices, const Mesh& mesh) : devices_(devices), mesh_(mesh) {
  constexpr int64_t kTypical = 16;
  for (auto& [name, info] : m.symbols)
    values_[name] = info.opt > 0 ? info.opt : std::clamp(kTypical, std::max<int64_t>(info.lo, 1), std::max<int64_t>(info.hi, 1));
}

double ShardingCosts::number(const Dim& d) const { return static_cast<double>(d.eval(values_).value_or(16)); }

double ShardingCosts::bytes(const Value& v) const {
  double n = 1;
  if (v.type.is_ranked())
    for (const Dim& d : v.type.shape) n *= number(d);
  return n * bit_width(v.type.dtype) / 8.0;
}

double ShardingCosts::flops(const Op& op) const { return number(op_cost(op).flops); }

double ShardingCosts::exchange_bytes(const Op& op) const {
  double most = 0;
  for (const Value* v : op.operands)
    if (v) most = std::max(most, bytes(*v));
  for (auto& r : op.results) most = std::max(most, bytes(*r));
  return most;
}

double ShardingCosts::exchange_seconds(const Op& op) const {
  if (op.kind == OpKind::send) return 0;
  if (op.kind == OpKind::recv) return group({kStageAxis}).permute(bytes(*op.result()));
  const auto call = collective_call(op);
  if (!call.ok()) return 0;
  const LinkGroup links = group(call->axes);
  const double given = bytes(*op.operands[0]);
  switch (op.kind) {
    case OpKind::all_reduce: return links.all_reduce(given);
    case OpKind::reduce_scatter: return links.reduce_scatter(given);
    case OpKind::all_to_all: return links.all_to_all(given);
    case OpKind::collective_permute: return links.permute(given);
    default: return links.all_gather(exchange_bytes(op));
  }
}

double ShardingCosts::part(const Value& v, const ShardingRule::Dims& dims, const ShardingRule& rule, int f, int64_t size) const {
  double n = bit_width(v.type.dtype) / 8.0;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d].empty()) n *= number(v.type.shape[d]);
    for (int k : dims[d]) n *= number(rule.factors[k].size) / (k == f ? static_cast<double>(size) : 1);
  }
  return n;
}

// It stays in registers between two ops of one kernel.
static bool is_inside_kernel(const Value& v) {
  if (!v.def || v.uses.size() != 1 || v.is_output()) return false;
  const Family from = op_def(*v.def).family, to = op_def(*v.uses[0].op).family;
  return to == Family::pointwise && (from == Family::pointwise || from == Family::contraction);
}

double ShardingCosts::seconds(const Op& op, const ShardingRule& rule, int f, int64_t size) const {
  return seconds(op, rule, f, size, flops(op) / (f < 0 ? 1 : static_cast<double>(size)));
}

double ShardingCosts::seconds(const Op& op, const Cuts& ranks, int f, int64_t size, double slower) const {
  double share = f < 0 ? 1 : static_cast<double>(size);
  for (const FactorPart& p : ranks.parts) share *= static_cast<double>(p.count);
  return seconds(op, ranks.rule, f, size, slower * flops(op) / share);
}

double ShardingCosts::seconds(const Op& op, const ShardingRule& rule, int f, int64_t size, double flops) const {
  if (has_trait(op, kViewLike)) return 0;
  const Family family = op_def(op).family;
  double traffic = 0;
  for (int i = 0; i < op.num_operands(); ++i) {
    // Of what is indexed or cut, what is taken is read.
    const Value* v = family == Family::move && i == 0 ? op.result() : op.operands[i];
    if (!v || is_inside_kernel(*op.operands[i])) continue;
    traffic += v == op.operands[i] ? part(*v, rule.operands[i], rule, f, size) : part(*v, rule.results[0], rule, f, size);
  }
  // New keys and values are put behind the old ones.
  const int written = family == Family::attention ? 1 : op.num_results();
  for (int r = 0; r < written; ++r)
    if (!is_inside_kernel(*op.result(r))) traffic += part(*op.result(r), rule.results[r], rule, f, size);
  const DType type = op.operands.empty() || !op.operands[0] ? DType::f32 : op.operands[0]->type.dtype;
  double rate = devices_.flops[DeviceTable::f32];
  if (family == Family::contraction) rate = devices_.flops_of(type, op.kind == OpKind::contract && op.attr<ContractAttrs>().tf32) * devices_.contraction;
  if (family == Family::attention) rate = devices_.flops_of(type) * devices_.attention;
  const double busy = std::max(flops / rate, traffic / (devices_.memory_rate * devices_.memory));
  return busy + (family == Family::pointwise ? 0 : devices_.launch_s);
}

}  // namespace weft

// Collectives become commands over dense tensors; their groups are the mesh axes that they name.
#include <algorithm>

#include "codegen/lower/lowering.h"
#include "ir/base/text.h"
#include "ir/ops/collective.h"

namespace weft {

// What a plan's command says beside its group.
static Result<std::string> attributes_of(const Op& op) {
  auto number = [](const char* name, int64_t v) { return std::string(name) + "=" + std::to_string(v); };
  switch (op.kind) {
    case OpKind::all_reduce: return "reduction=" + op.attr<AllReduceAttrs>().reduction;
    case OpKind::all_gather: return number("dim", op.attr<AllGatherAttrs>().dim);
    case OpKind::reduce_scatter: {
      const auto& a = op.attr<ReduceScatterAttrs>();
      return number("dim", a.dim) + " reduction=" + a.reduction;
    }
    case OpKind::all_to_all: {
      const auto& a = op.attr<AllToAllAttrs>();
      return number("split", a.split_dim) + " " + number("join", a.concat_dim);
    }
    case OpKind::broadcast: return number("root", op.attr<BroadcastAttrs>().root);
    case OpKind::send:
    case OpKind::recv: {
      const bool sends = op.kind == OpKind::send;
      const std::string& stage = sends ? op.attr<SendAttrs>().stage : op.attr<RecvAttrs>().stage;
      TRY_ASSIGN(int other, stage_number(*op.graph->module, stage));
      return number("root", other) + " " + number("tag", sends ? op.attr<SendAttrs>().tag : op.attr<RecvAttrs>().tag);
    }
    default: {
      std::vector<std::string> pairs;
      for (int64_t p : op.attr<CollectivePermuteAttrs>().pairs) pairs.push_back(std::to_string(p));
      return "pairs=" + join(pairs, ",");
    }
  }
}

Result<bool> Lowering::collective(Op& op) {
  if (op_def(op).family != Family::collective) return false;
  const bool point_to_point = op.kind == OpKind::send || op.kind == OpKind::recv;
  CollectiveCall call{"", {kStageAxis}};
  if (!point_to_point) {
    TRY_ASSIGN(call, collective_call(op));
  }
  // What is not dense goes through a copy.
  auto like = [&](int t) {
    int copied = temp(plan().tensors[t].name, plan().tensors[t].dtype, plan().tensors[t].dims);
    allocate(copied);
    return copied;
  };
  std::vector<int> tensors;
  if (op.num_operands()) {
    TRY_ASSIGN(int in, tensor(op.operands[0]));
    if (!dense(in)) {
      int copied = like(in);
      copy(in, copied);
      in = copied;
    }
    tensors.push_back(in);
  }
  int place = -1;
  if (op.num_results()) {
    place = result(op.result());
    tensors.push_back(dense(place) ? place : like(place));
  }
  const std::string group = join(call.axes, "*");
  auto& groups = plan().groups;
  if (std::none_of(groups.begin(), groups.end(), [&](const PlanGroup& g) { return g.name == group; })) groups.push_back({group, call.axes});
  TRY_ASSIGN(std::string text, attributes_of(op));
  Command& c = command(CommandKind::collective);
  c.name = op_name(op.kind);
  c.group = group;
  c.text = std::move(text);
  c.index = op.num_operands();
  c.tensors = tensors;
  if (place >= 0 && tensors.back() != place) copy(tensors.back(), place);
  return true;
}

}  // namespace weft

// Collectives become commands over dense tensors; their groups are the mesh axes that they name.
#include <algorithm>

#include "codegen/lower/lowering.h"
#include "ir/base/text.h"
#include "ir/ops/collective.h"

namespace weft {

// What a plan's command says beside its group.
static std::string attributes_of(const Op& op) {
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
    default: {
      std::vector<std::string> pairs;
      for (int64_t p : op.attr<CollectivePermuteAttrs>().pairs) pairs.push_back(std::to_string(p));
      return "pairs=" + join(pairs, ",");
    }
  }
}

Result<bool> Lowering::collective(Op& op) {
  if (op_def(op).family != Family::collective) return false;
  TRY_ASSIGN(CollectiveCall call, collective_call(op));
  TRY_ASSIGN(int in, tensor(op.operands[0]));
  if (!dense(in)) {
    int copied = temp(plan().tensors[in].name, plan().tensors[in].dtype, plan().tensors[in].dims);
    allocate(copied);
    copy(in, copied);
    in = copied;
  }
  int place = result(op.result()), out = place;
  if (!dense(place)) {
    out = temp(plan().tensors[place].name, plan().tensors[place].dtype, plan().tensors[place].dims);
    allocate(out);
  }
  const std::string group = join(call.axes, "*");
  auto& groups = plan().groups;
  if (std::none_of(groups.begin(), groups.end(), [&](const PlanGroup& g) { return g.name == group; })) groups.push_back({group, call.axes});
  Command& c = command(CommandKind::collective);
  c.name = op_name(op.kind);
  c.group = group;
  c.text = attributes_of(op);
  c.tensors = {in, out};
  if (out != place) copy(out, place);
  return true;
}

}  // namespace weft

#include "frontend/api/runtime/shared_state.h"

#include <algorithm>
#include <sstream>

#include "frontend/api/runtime/tensor_access.h"
#include "ir/base/text.h"
#include "ir/plan/plan.h"
#include "runtime/executor/strided.h"

namespace weft::api {

Result<StatePart> part_of_state(const Plan& plan, int number, int64_t rank, const weft::Context& context) {
  StatePart part;
  TRY_ASSIGN(part.view, context.state(number));
  const RankShare& share = plan.states[static_cast<size_t>(number)].share;
  part.whole = part.view.dims;
  part.first.assign(part.whole.size(), 0);
  if (share.sharding.empty()) return part;
  const SymbolValues symbols = context.symbols(), coordinates = plan.mesh.coordinates(rank);
  for (size_t d = 0; d < part.whole.size(); ++d) {
    if (share.sharding.dims[d].empty()) continue;
    const auto all = share.whole[d].eval(symbols), index = plan.mesh.position(share.sharding.dims[d]).eval(coordinates);
    if (!all || !index) return invalid("dim " + share.whole[d].to_string() + " of a state is not known");
    part.whole[d] = *all;
    part.first[d] = *index * part.view.dims[d];
  }
  return part;
}

Status put_part(const StatePart& part, Tensor& whole) {
  if (whole.empty()) {
    TRY_ASSIGN(whole, Tensor::make(part.view.dtype, part.whole));
  }
  if (whole.dims() != part.whole) return invalid("ranks have parts of states of other dims");
  TensorView to, from = part.view;
  TensorAccess::to_view(whole, to);
  int64_t at = 0;
  for (size_t d = 0; d < from.dims.size(); ++d) {
    from.dims[d] = std::clamp<int64_t>(part.whole[d] - part.first[d], 0, from.dims[d]);
    at += part.first[d] * to.strides[d];
  }
  if (from.numel() == 0) return {};
  to.dims = from.dims;
  to.data = static_cast<std::byte*>(to.data) + at * byte_size(to.dtype);
  strided_copy(ref_of(to), ref_of(from), nullptr);
  return {};
}

namespace {

// What a rank says of its part, in numbers; nothing where it has none.
std::string describe(const std::optional<StatePart>& part) {
  std::string text;
  if (!part) return text;
  for (const std::vector<int64_t>* list : {&part->whole, &part->first, &part->view.dims})
    for (int64_t d : *list) text += std::to_string(d) + " ";
  return text + ".";
}
Result<StatePart> understand(const std::string& text, DType dtype) {
  std::vector<int64_t> numbers;
  std::istringstream in(text);
  for (int64_t n; in >> n;) numbers.push_back(n);
  if (numbers.size() % 3 != 0) return error(Code::kDevice, "a rank said something else of its part of a state");
  const auto rank = static_cast<std::ptrdiff_t>(numbers.size() / 3);
  StatePart part;
  part.whole.assign(numbers.begin(), numbers.begin() + rank);
  part.first.assign(numbers.begin() + rank, numbers.begin() + 2 * rank);
  part.view.dims.assign(numbers.begin() + 2 * rank, numbers.end());
  part.view.dtype = dtype;
  part.view.strides = dense_strides(part.view.dims);
  return part;
}

}  // namespace

Result<Tensor> gather_state(const std::string& name, DType dtype, const Result<std::optional<StatePart>>& mine,
                            const std::shared_ptr<const Group::State>& group) {
  const Group all(group);
  TRY(agree(all, "the state " + name_text(name), mine.ok() ? Status() : Status(mine.error())));
  TRY_ASSIGN(const std::vector<std::string> said, all.exchange(describe(*mine)));
  std::vector<std::optional<StatePart>> parts(said.size());
  int64_t most = 0;
  for (size_t r = 0; r < said.size(); ++r) {
    if (said[r].empty()) continue;
    TRY_ASSIGN(parts[r], understand(said[r], dtype));
    most = std::max(most, parts[r]->view.numel() * byte_size(dtype));
  }
  std::vector<std::byte> own(static_cast<size_t>(most)), everything(own.size() * said.size());
  if (*mine) {
    TensorView dense = parts[static_cast<size_t>(group->rank)]->view;
    dense.data = own.data();
    strided_copy(ref_of(dense), ref_of((*mine)->view), nullptr);
  }
  Collective c;
  c.kind = CollectiveKind::all_gather;
  c.dtype = DType::u8;
  c.inner = most;
  c.label = name;
  TRY(group->world->run(c, own.data(), everything.data()));
  Tensor whole;
  for (size_t r = 0; r < parts.size(); ++r) {
    if (!parts[r]) continue;
    parts[r]->view.data = everything.data() + r * own.size();
    TRY(put_part(*parts[r], whole));
  }
  return whole;
}

}  // namespace weft::api

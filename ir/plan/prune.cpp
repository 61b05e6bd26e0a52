#include "ir/plan/prune.h"

#include <algorithm>

namespace weft {

bool is_straight(const Region& r) {
  return std::all_of(r.commands.begin(), r.commands.end(), [](const Command& c) {
    return c.regions.empty() && c.kind != CommandKind::set && c.kind != CommandKind::read && c.kind != CommandKind::swap;
  });
}

// Per old item its new number; the items that are not used go.
template <class T>
static std::vector<int> compact(std::vector<T>& items, const std::vector<char>& used) {
  std::vector<int> numbers(items.size(), -1);
  int next = 0;
  for (size_t i = 0; i < items.size(); ++i)
    if (used[i]) numbers[i] = next++;
  renumber(items, numbers);
  return numbers;
}

// Numbers of the commands that write what is needed, last one first; what they read is needed then, too.
template <class Keep>
static std::vector<size_t> needed_commands(const Plan& p, std::vector<char> needed, Keep&& keep_anyway) {
  std::vector<size_t> out;
  for (size_t i = p.prepare.commands.size(); i-- > 0;) {
    const Command& c = p.prepare.commands[i];
    bool keep = keep_anyway(c);
    for_each_access(c, [&](int t, Access a) { keep = keep || (a != Access::read && needed[p.tensors[t].buffer]); });
    if (!keep) continue;
    for_each_access(c, [&](int t, Access) { needed[p.tensors[t].buffer] = 1; });
    out.push_back(i);
  }
  return out;
}

std::vector<size_t> commands_behind(const Plan& p, int buffer) {
  std::vector<char> needed(p.buffers.size(), 0);
  needed[buffer] = 1;
  std::vector<size_t> out = needed_commands(p, std::move(needed), [](const Command&) { return false; });
  std::reverse(out.begin(), out.end());
  return out;
}

void drop_dead_commands(Plan& p) {
  std::vector<char> needed(p.buffers.size(), 0);
  for (size_t i = 0; i < p.buffers.size(); ++i) needed[i] = p.buffers[i].storage == Storage::prepared;
  std::vector<char> keep(p.prepare.commands.size(), 0);
  for (size_t i : needed_commands(p, std::move(needed), [](const Command& c) { return c.kind == CommandKind::check; })) keep[i] = 1;
  compact(p.prepare.commands, keep);
  assign_lifetimes(p);
}

void make_constant(Plan& p, int buffer, std::string name, const Hash& hash) {
  PlanBuffer& b = p.buffers[buffer];
  b.storage = Storage::constant;
  b.source = static_cast<int>(p.constants.size());
  p.constants.push_back({std::move(name), DType::u8, {b.bytes.value()}, hash});
}

namespace {

template <class F>
void for_each_reference(Plan& p, F&& tensor_or_kernel) {
  int number = 0;
  for (Region* r : {&p.prepare, &p.main}) {
    for_each_command(*r, [&](Command& c, int) {
      for (int& t : c.tensors) tensor_or_kernel(t, false);
      for (Param& q : c.params) tensor_or_kernel(q.tensor, false);
      tensor_or_kernel(c.kernel, true);
    }, number);
  }
  for (auto* ports : {&p.inputs, &p.outputs, &p.states})
    for (PlanPort& q : *ports) tensor_or_kernel(q.tensor, false), tensor_or_kernel(q.paired, false);
}

}  // namespace

PlanNumbers prune_plan(Plan& p) {
  std::vector<char> tensors(p.tensors.size(), 0), kernels(p.kernels.size(), 0), buffers(p.buffers.size(), 0), constants(p.constants.size(), 0);
  for_each_reference(p, [&](int& i, bool kernel) {
    if (i >= 0) (kernel ? kernels : tensors)[i] = 1;
  });
  for (size_t t = 0; t < tensors.size(); ++t)
    if (tensors[t]) buffers[p.tensors[t].buffer] = 1;
  for (size_t b = 0; b < buffers.size(); ++b)
    if (buffers[b] && p.buffers[b].storage == Storage::constant) constants[p.buffers[b].source] = 1;
  const std::vector<int> tensor_numbers = compact(p.tensors, tensors);
  PlanNumbers out{compact(p.buffers, buffers), compact(p.kernels, kernels), compact(p.constants, constants)};
  for_each_reference(p, [&](int& i, bool kernel) {
    if (i >= 0) i = kernel ? out.kernels[i] : tensor_numbers[i];
  });
  for (PlanTensor& t : p.tensors) t.buffer = out.buffers[t.buffer];
  for (PlanBuffer& b : p.buffers)
    if (b.storage == Storage::constant) b.source = out.constants[b.source];
  return out;
}

}  // namespace weft

// choose_cuda: template and parameters for a spec, by an analytic model. Pure; nothing is timed.
#include <algorithm>

#include "codegen/backend.h"
#include "codegen/cuda/attention_shape.h"
#include "codegen/cuda/emit.h"
#include "codegen/cuda/gemm_shape.h"
#include "codegen/cuda/transpose_shape.h"

namespace weft {

namespace {

constexpr int64_t kAccess = 16, kSector = 32;  // bytes of the largest access, of what memory moves at once
// Instructions of all elements that a thread has at once, and of what it keeps of a row: more takes long to compile.
constexpr double kMostWork = 1000, kMostRowWork = 4096;

int64_t product_of(const KernelSpec& s, bool row) {
  double n = 1;
  for (const SpecAxis& a : s.axes)
    if (a.row == row) n *= static_cast<double>(std::max<int64_t>(1, s.estimate(a.extent)));
  return static_cast<int64_t>(std::min(n, 1e15));
}

int64_t power_of_two_from(int64_t n) {
  int64_t p = 1;
  while (p < n) p *= 2;
  return p;
}

// How often an operand is accessed, relative to once for each point and row element.
double weight_of(const KernelSpec& s, size_t operand, double rows) {
  double w = 0;
  for (const SpecStage& st : s.stages) {
    double each = st.kind == SpecStage::Kind::map_row ? 1 / rows : 1;
    for (const StageInput& in : st.inputs)
      if (in.kind == StageInput::Kind::load && in.operand == static_cast<int>(operand)) w += each;
    for (int o : st.stores)
      if (o == static_cast<int>(operand)) w += each;
  }
  return w;
}

// Bytes that memory moves for each element when neighbouring threads walk the axis.
double bytes_along(const KernelSpec& s, const SpecAxis& a) {
  const double rows = static_cast<double>(product_of(s, true));
  double sum = 0;
  for (size_t k = 0; k < s.operands.size(); ++k) {
    const SpecOperand& o = s.operands[k];
    const double size = byte_size(o.dtype);
    auto c = o.linear().coefficient(a.name);
    double bytes = kSector;
    if (c && c->is(0)) bytes = 0;
    else if (c && c->is_const()) bytes = std::min<double>(kSector, size * static_cast<double>(std::abs(c->value())));
    // A store of part of a sector is dearer than a load of it, which the cache may serve the rest of.
    sum += bytes * weight_of(s, k, rows) * (o.write && bytes >= kSector ? 1.5 : 1);
  }
  return sum;
}

// Which instructions of a stage differ along the rows; where there are none, all but constants.
std::vector<bool> varying_along_rows(const KernelSpec& s, const SpecStage& st) {
  std::vector<const SpecAxis*> rows;
  for (const SpecAxis& a : s.axes)
    if (a.row) rows.push_back(&a);
  auto varies = [&](const Dim& d) {
    return rows.empty() || is_indirect(d) || std::any_of(rows.begin(), rows.end(), [&](const SpecAxis* a) { return d.contains(a->name); });
  };
  std::vector<bool> out;
  for (const ScalarInst& x : st.body.insts) {
    bool v = false;
    if (x.prim == Prim::input) {
      const StageInput& in = st.inputs[static_cast<size_t>(x.index)];
      if (in.kind == StageInput::Kind::load) v = varies(s.operands[static_cast<size_t>(in.operand)].linear());
      else if (in.kind == StageInput::Kind::index) v = varies(in.dim);
      else v = rows.empty();
    }
    for (int a : x.args) v = v || (a >= 0 && out[static_cast<size_t>(a)]);
    out.push_back(v);
  }
  return out;
}

double work_of(const ScalarInst& x, const ScalarProgram& p, bool fast) {
  double one = 1;
  switch (x.prim) {
    case Prim::exp: case Prim::sigmoid: case Prim::tanh: one = fast ? 6 : 12; break;
    case Prim::round_tf32: one = 4; break;
    case Prim::log: case Prim::sqrt: one = 12; break;
    case Prim::expm1: case Prim::log1p: case Prim::erf: case Prim::atan: one = 25; break;
    case Prim::sin: case Prim::cos: case Prim::mod: case Prim::rem: one = 80; break;
    case Prim::pow: one = is_float(x.type) ? 250 : 80; break;
    case Prim::div: one = is_float(x.type) ? fast ? 5 : 10 : 25; break;
    case Prim::cast: one = is_float(x.type) && byte_size(x.type) == 1 ? 20 : byte_size(p.type(x.args[0])) <= byte_size(x.type) ? 1 : 3; break;
    default: break;
  }
  return x.type == DType::f64 ? 6 * one : one;
}

// Work of one element in instructions, roughly; what is done once a row is not counted.
double work_of(const KernelSpec& s) {
  const bool fast = stores_narrow_floats(s);
  double n = 0;
  for (const SpecStage& st : s.stages) {
    if (st.kind == SpecStage::Kind::map_row && s.stages.size() > 1) continue;
    const std::vector<bool> varying = varying_along_rows(s, st);
    for (size_t k = 0; k < varying.size(); ++k)
      if (varying[k]) n += work_of(st.body.insts[k], st.body, fast);
    for (const ScalarInst& x : st.combine.insts) n += work_of(x, st.combine, fast);
  }
  return std::max(1.0, n);
}

// Bytes of the largest operand that is walked in single steps along the axis; 0: none is.
int64_t unit_bytes(const KernelSpec& s, const std::string& axis, bool loads_only) {
  int64_t bytes = 0;
  for (const SpecOperand& o : s.operands) {
    auto c = o.linear().coefficient(axis);
    if (c && c->is(1) && !(loads_only && o.write)) bytes = std::max<int64_t>(bytes, byte_size(o.dtype));
  }
  return bytes;
}

// Elements of an access along the axis. An extent that is known to be no multiple takes smaller ones, unless its end is done
// apart.
int64_t width_along(const KernelSpec& s, const SpecAxis& a, bool tail, bool loads_only) {
  int64_t bytes = unit_bytes(s, a.name, loads_only);
  if (bytes == 0) return 1;
  int64_t width = std::max<int64_t>(1, kAccess / bytes);
  while (width > 1 && !tail && a.extent.is_const() && a.extent.value() % width != 0) width /= 2;
  while (width > 1 && static_cast<double>(width) * work_of(s) > kMostWork) width /= 2;
  return width;
}

void move_last(KernelSpec& s, size_t axis) {
  SpecAxis a = s.axes[axis];
  s.axes.erase(s.axes.begin() + static_cast<long>(axis));
  size_t at = s.axes.size();
  if (!a.row)
    while (at > 0 && s.axes[at - 1].row) --at;
  s.axes.insert(s.axes.begin() + static_cast<long>(at), a);
}

Dim extent_of(const KernelSpec& s, bool row) {
  Dim n(1);
  for (const SpecAxis& a : s.axes)
    if (a.row == row) n *= a.extent;
  return n;
}

// Where the number of blocks depends on run-time dims, the launch has as many as the device holds, twice over.
void set_blocks(KernelSpec& s, const Target& target) {
  constexpr int64_t kMost = int64_t{1} << 24;
  SpecConfig& c = s.config;
  c.blocks = s.tasks.is_const() ? kMost : 2 * target.gpu.multiprocessors * std::max<int64_t>(1, target.gpu.threads_per_multiprocessor / c.threads);
  const int64_t cluster = std::max<int64_t>(1, c.cluster);
  c.blocks = (c.blocks + cluster - 1) / cluster * cluster;
}

// Distinct operands that several stages read along the row.
int64_t repeated_loads(const KernelSpec& s) {
  std::vector<int> uses(s.operands.size(), 0);
  for (const SpecStage& st : s.stages) {
    if (st.kind == SpecStage::Kind::map_row) continue;
    std::vector<bool> here(s.operands.size(), false);
    for (const StageInput& in : st.inputs)
      if (in.kind == StageInput::Kind::load) here[static_cast<size_t>(in.operand)] = true;
    for (size_t k = 0; k < here.size(); ++k) uses[k] += here[k];
  }
  return std::count_if(uses.begin(), uses.end(), [](int n) { return n > 1; });
}

// Whether blocks of a cluster can read each other's accumulators, which they do word by word.
bool has_word_accumulators(const KernelSpec& s) {
  for (const SpecStage& st : s.stages)
    for (size_t k = 0; st.kind == SpecStage::Kind::reduce && k < st.results(); ++k)
      if (byte_size(st.result_type(k)) < 4) return false;
  return true;
}

void choose_rows(KernelSpec& s, const Target& target, size_t axis) {
  constexpr int64_t kBlock = 256, kMostThreads = 1024, kRegisters = 32;  // kRegisters: of a thread for what stays of its row
  SpecConfig& c = s.config;
  c.name = "rows";
  c.vec_axis = s.axes[axis].name;
  c.width = width_along(s, s.axes[axis], false, true);
  move_last(s, axis);
  const int64_t repeated = repeated_loads(s), points = product_of(s, false), sms = target.gpu.multiprocessors;
  const auto most_unrolled = static_cast<int64_t>(kMostRowWork / (static_cast<double>(c.width) * work_of(s)));
  const int64_t most_steps = std::max<int64_t>(1, std::min(kRegisters / 4 / std::max<int64_t>(1, repeated), most_unrolled));
  c.threads = kBlock;
  if (!extent_of(s, true).is_const()) {
    // Decided at run time: a warp or a block for a row.
    c.threads = c.group = repeated ? 2 * kBlock : kBlock;
    c.steps = repeated ? std::min<int64_t>(4, most_steps) : 0;
    s.tasks = extent_of(s, false);
    return;
  }
  const int64_t accesses = std::max<int64_t>(1, product_of(s, true) / c.width);
  // A warp for a row where there are enough of them: it needs no barrier.
  int64_t group = std::min<int64_t>(32, power_of_two_from(accesses));
  const bool few = extent_of(s, false).is_const() && points < sms * 16;
  while (group < kMostThreads && (accesses > group * (few ? 1 : most_steps)) && (few || group >= 32)) group *= 2;
  if (few) group = std::max<int64_t>(group, std::min<int64_t>(32, power_of_two_from(accesses)));
  auto steps_of = [&](int64_t ranks) { return (accesses + group * ranks - 1) / (group * ranks); };
  // Rows of more than a block's registers: read once all the same, by the blocks of a cluster, two of which share a
  // multiprocessor, so that one computes while another reads.
  constexpr int64_t kMostRanks = 8, kSharedBlock = kMostThreads / 2, kSharedSteps = 8;
  int64_t ranks = 1;
  if (repeated && group == kMostThreads && steps_of(1) > kSharedSteps && target.gpu.sm >= 90 && has_word_accumulators(s)) {
    group = kSharedBlock;
    while (ranks < kMostRanks && steps_of(ranks) > std::min(most_steps, kSharedSteps)) ranks *= 2;
    if (steps_of(ranks) > most_steps) ranks = 1;
    if (ranks == 1) group = kMostThreads;
  }
  c.group = group;
  c.threads = group > 32 ? group : few ? 32 : kBlock;  // barriers are of a row alone
  c.cluster = ranks > 1 ? ranks : 0;
  c.steps = steps_of(ranks) <= most_steps ? steps_of(ranks) : 0;
  s.tasks = ceildiv(extent_of(s, false), Dim(c.threads / c.group)) * Dim(ranks);
}

int64_t accumulator_bytes(const KernelSpec& s) {
  int64_t bytes = 0;
  for (const SpecStage& st : s.stages)
    if (st.kind == SpecStage::Kind::reduce) bytes += 8 * static_cast<int64_t>(st.init.size());
  return bytes;
}

// Whether all that the kernel does along its rows are reductions that do not depend on each other: blocks of a cluster may share
// the rows.
bool shares_rows(const KernelSpec& s, const Target& target) {
  if (target.gpu.sm < 90 || !has_word_accumulators(s)) return false;
  return std::all_of(s.stages.begin(), s.stages.end(), [&](const SpecStage& st) {
    if (st.kind == SpecStage::Kind::map_row) return true;
    const bool depends = std::any_of(st.inputs.begin(), st.inputs.end(), [](const StageInput& in) { return in.kind == StageInput::Kind::acc; });
    return st.kind == SpecStage::Kind::reduce && !depends;
  });
}

void choose_loops(KernelSpec& s, const Target& target, int axis) {
  // kInFlight, kRowsInFlight: bytes of loads that a thread should have under way. kLine: bytes that neighbouring threads should read together.
  constexpr int64_t kBlock = 256, kInFlight = 64, kRowsInFlight = 32, kShared = 40 << 10, kLine = 256;
  SpecConfig& c = s.config;
  c.name = "loops";
  c.threads = kBlock;
  c.width = 1;
  const int64_t sms = target.gpu.multiprocessors;
  const int64_t points = product_of(s, false), rows = product_of(s, true);
  const bool has_rows = std::any_of(s.axes.begin(), s.axes.end(), [](const SpecAxis& a) { return a.row; });
  int64_t parallel_axes = std::count_if(s.axes.begin(), s.axes.end(), [](const SpecAxis& a) { return !a.row; });
  const std::string along = axis >= 0 ? s.axes[static_cast<size_t>(axis)].name : "";
  if (axis >= 0) {
    c.vec_axis = along;
    c.width = width_along(s, s.axes[static_cast<size_t>(axis)], parallel_axes == 1, false);
    // Rather more threads than wide ones.
    const int64_t shares = std::clamp<int64_t>(rows / 8, 1, 32);  // of a point's rows
    while (c.width > 1 && points * shares / c.width < sms * 64) c.width /= 2;
    while (c.width > 1 && c.width * accumulator_bytes(s) * kBlock > kShared) c.width /= 2;
    move_last(s, static_cast<size_t>(axis));
  }
  int64_t threads = std::max<int64_t>(1, points / c.width);
  c.unroll = 1;
  if (!has_rows) {
    int64_t bytes = 0;
    for (const SpecOperand& o : s.operands)
      if (!o.write) bytes += c.width * byte_size(o.dtype);
    const double work = work_of(s) * static_cast<double>(c.width);
    auto more = [&] { return work * static_cast<double>(2 * c.unroll) <= kMostWork && threads / (c.unroll * 2) >= sms * 2048; };
    while (c.unroll < 4 && bytes > 0 && bytes * c.unroll < kInFlight && more()) c.unroll *= 2;
  } else {
    // Rows are shared between threads of a block where points alone do not fill the device.
    c.group = 1;
    const int64_t bytes = std::max<int64_t>(1, unit_bytes(s, along, true));
    if (threads < sms * 1024 && rows >= 16) {
      while (c.width > 1 && 32 * c.width * bytes > kLine) c.width /= 2;
      threads = std::max<int64_t>(1, points / c.width);
    }
    const int64_t columns = std::clamp<int64_t>(kLine / (c.width * bytes), 1, 32);
    int64_t ranks = 1;
    auto share = [&](int64_t& n, int64_t most, int64_t enough) {
      while (n < most && threads * c.group * ranks < sms * enough && rows / (c.group * ranks * 2) >= 8) n *= 2;
    };
    share(c.group, kBlock / columns, 1024);
    // And then between blocks, unless there are too few of these still, and in shorter lines.
    constexpr int64_t kMostRanks = 8;
    if (c.group > 1 && shares_rows(s, target)) share(ranks, kMostRanks, 1024);
    if (ranks > 1 && threads * c.group * ranks >= sms * 256) c.cluster = ranks;
    else ranks = 1;
    share(c.group, kBlock / std::max<int64_t>(1, columns / 2), 768);
    const int64_t steps = rows / (c.group * std::max<int64_t>(1, c.cluster));
    auto more = [&] { return 2 * c.unroll <= steps && work_of(s) * static_cast<double>(2 * c.unroll * c.width) <= kMostWork; };
    while (c.group > 1 && 2 * c.unroll * c.width * bytes <= kRowsInFlight && more()) c.unroll *= 2;
  }
  if (c.width == 1) c.vec_axis.clear();
  while (c.threads > 64 && c.cluster == 0 && threads * std::max<int64_t>(1, c.group) < sms * c.threads && c.group <= c.threads / 64) c.threads /= 2;
  Dim wide = c.width > 1 ? ceildiv(extent_of(s, false), Dim(c.width)) : extent_of(s, false);
  const int64_t points_at_once = has_rows ? c.threads / std::max<int64_t>(1, c.group) : c.threads * c.unroll;
  s.tasks = ceildiv(wide, Dim(points_at_once)) * Dim(std::max<int64_t>(1, c.cluster));
}

}  // namespace

void choose_cuda(KernelSpec& spec, const Target& target, const Tuning* tuning) {
  if (choose_cuda_attention(spec, target, tuning)) return;
  if (choose_gemm(spec, target, tuning) || choose_transpose(spec)) return set_blocks(spec, target);
  constexpr int64_t kShortRow = 16;  // a thread walks it alone
  int best = -1;
  double least = 1e300;
  for (size_t k = 0; k < spec.axes.size(); ++k) {
    if (spec.estimate(spec.axes[k].extent) < 2) continue;
    double bytes = bytes_along(spec, spec.axes[k]);
    spec.runners_up.push_back("lanes along " + spec.axes[k].name + ": " + std::to_string(bytes) + " bytes an element");
    if (bytes <= least) {
      least = bytes;
      best = static_cast<int>(k);
    }
  }
  const int64_t rows = product_of(spec, true);
  bool along_row = best >= 0 && spec.axes[static_cast<size_t>(best)].row;
  if (along_row && rows >= kShortRow) choose_rows(spec, target, static_cast<size_t>(best));
  else choose_loops(spec, target, along_row ? -1 : best);
  set_blocks(spec, target);
}

}  // namespace weft

// One kernel for all values of its dims, or several: where `--shapes` gives ranges, a contraction is tuned for parts of
// them, and the plan selects by the dims of each run. Constant factors have one form under all variants.
#include <algorithm>
#include <cmath>

#include "codegen/lower/lowering.h"

namespace weft {

namespace {

// A point of the ranges: typical sizes of the kernel's params, and the product of the symbols, by which variants differ.
struct Point {
  SymbolValues typical;
  double size = 1;
};

struct Variant {
  KernelSpec spec;
  double least, most;  // sizes at which it was chosen
};

// Symbols of the dims that inputs bind and whose range was given.
std::vector<std::string> ranged_symbols(const Lowering& l, const std::vector<Dim>& dims) {
  std::set<std::string> found;
  for (const Dim& d : dims)
    for (const std::string& s : d.symbols()) {
      auto it = l.m.symbols.find(s);
      if (it != l.m.symbols.end() && it->second.hi != INT64_MAX && it->second.hi > it->second.lo && l.early.count(s)) found.insert(s);
    }
  return {found.begin(), found.end()};
}

Point point_at(const KernelSpec& spec, const std::vector<Dim>& dims, const SymbolValues& values) {
  Point p;
  for (size_t k = 0; k < dims.size(); ++k)
    if (auto v = dims[k].eval(values)) p.typical[spec.params[k]] = std::max<int64_t>(1, *v);
  for (auto& [name, value] : values) p.size *= static_cast<double>(std::max<int64_t>(1, value));
  return p;
}

// The optimum, or the middle of the ranges; then steps from the lower bounds to the upper ones, each the same factor.
std::vector<Point> points_of(const Lowering& l, const KernelSpec& spec, const std::vector<Dim>& dims, const std::vector<std::string>& symbols) {
  constexpr int kSteps = 4;
  auto at = [&](double part) {
    SymbolValues v;
    for (const std::string& s : symbols) {
      const SymbolInfo& i = l.m.symbols.find(s)->second;
      double lo = static_cast<double>(std::max<int64_t>(1, i.lo)), hi = static_cast<double>(i.hi);
      v[s] = part < 0 && i.opt > 0 ? i.opt : std::llround(lo * std::pow(hi / lo, part < 0 ? 0.5 : part));
    }
    return point_at(spec, dims, v);
  };
  std::vector<Point> out{at(-1)};
  for (int k = 0; k <= kSteps; ++k) out.push_back(at(static_cast<double>(k) / kSteps));
  return out;
}

KernelSpec chosen(const Lowering& l, KernelSpec spec, const Point& p, const SpecConfig* like) {
  spec.typical = p.typical;
  choose_cpu(spec, l.target, like, l.tuning);
  return spec;
}

// In the order of size. The first is used below its own sizes, too, and the last above.
std::vector<Variant> variants_of(const Lowering& l, const KernelSpec& spec, std::vector<Point> points) {
  KernelSpec usual = chosen(l, spec, points[0], nullptr);
  std::vector<Variant> out;
  if (usual.config.name != "contraction" && usual.config.name != "attention") return {{std::move(usual), points[0].size, points[0].size}};
  std::sort(points.begin(), points.end(), [](const Point& a, const Point& b) { return a.size < b.size; });
  for (const Point& p : points) {
    KernelSpec s = p.typical == usual.typical ? usual : chosen(l, spec, p, &usual.config);
    if (!out.empty() && out.back().spec.config == s.config) {
      out.back().most = p.size;
      if (p.typical == usual.typical) out.back().spec = std::move(s);
    } else {
      out.push_back({std::move(s), p.size, p.size});
    }
  }
  return out;
}

// The product as one symbol, set when the plan starts.
std::string size_symbol(Lowering& l, const std::vector<std::string>& symbols) {
  if (symbols.size() == 1) return symbols[0];
  Dim size(1);
  for (const std::string& s : symbols) size *= Dim::symbol(s);
  auto [it, fresh] = l.sizes.emplace(size.to_string(), size);
  if (fresh) {
    it->second = l.m.fresh_symbol("size", {0, INT64_MAX, 0});
    Command c;
    c.kind = CommandKind::set;
    c.name = it->second.symbol_name();
    c.dim = size;
    l.at_start.push_back(std::move(c));
  }
  return it->second.symbol_name();
}

}  // namespace

Status Lowering::launch_split(const SplitReduction& split, const std::vector<int>& ids, const std::vector<Dim>& dims) {
  Shape shape;
  for (const Dim& d : split.dims) shape.push_back(with_params(split.first, dims, d));
  std::vector<int> partials;
  for (DType t : split.partials) {
    partials.push_back(temp("partial", t, shape));
    allocate(partials.back());
  }
  auto tensors_of = [&](const std::vector<int>& ptrs) {
    std::vector<int> out;
    for (int p : ptrs) out.push_back(p >= 0 ? ids[static_cast<size_t>(p)] : partials[static_cast<size_t>(-1 - p)]);
    return out;
  };
  TRY(launch(split.first, tensors_of(split.first_ptrs), dims));
  return launch(split.second, tensors_of(split.second_ptrs), dims);
}

// Where a tensor begins at a place that only the run decides, the kernel adds it: a graph that a device recorded has the
// pointers of its launches, but reads their dims from memory.
static void offsets_into(Lowering& l, KernelSpec& spec, std::vector<int>& ids, std::vector<Dim>& dims) {
  for (size_t p = 0; p < ids.size(); ++p) {
    const PlanTensor t = l.plan().tensors[ids[p]];
    const std::vector<std::string> symbols = t.offset.symbols();
    const bool grows = std::any_of(symbols.begin(), symbols.end(), [&](const std::string& symbol) {
      return std::any_of(l.plan().states.begin(), l.plan().states.end(), [&](const PlanPort& q) { return q.length == symbol; });
    });
    if ((!grows && !l.late(t.offset)) || is_subbyte(t.dtype)) continue;
    const Dim elements = floordiv(t.offset, byte_size(t.dtype));
    if (elements * Dim(byte_size(t.dtype)) != t.offset) continue;
    auto known = std::find(dims.begin(), dims.end(), elements);
    if (known == dims.end()) {
      spec.params.push_back("at" + std::to_string(p));
      known = dims.insert(dims.end(), elements);
    }
    const Dim param = Dim::symbol(spec.params[static_cast<size_t>(known - dims.begin())]);
    for (SpecOperand& o : spec.operands)
      if (o.ptr == static_cast<int>(p)) o.offset += param;
    ids[p] = l.alias(nullptr, ids[p], t.dims, t.strides, Dim(0) - t.offset);
  }
}

Status Lowering::launch(KernelSpec spec, std::vector<int> ids, std::vector<Dim> dims) {
  if (target.backend == Backend::cuda) offsets_into(*this, spec, ids, dims);
  split_axes(spec);
  collapse_axes(spec);
  mark_constant(spec, ids);
  if (target.backend == Backend::cuda) {
    constexpr int64_t kPartsEach = 8;  // of a multiprocessor
    auto split = split_reduction(spec, kPartsEach * target.gpu.multiprocessors);
    choose_cuda(spec, target, tuning);
    if (split && spec.config.cluster == 0) return launch_split(*split, ids, dims);
    return launch_chosen(std::move(spec), std::move(ids), dims);
  }
  spec.ordered = ordered_sums && std::any_of(spec.stages.begin(), spec.stages.end(), [](const SpecStage& s) {
    return s.kind != SpecStage::Kind::map && s.kind != SpecStage::Kind::map_row;
  });
  std::vector<std::string> symbols = ranged_symbols(*this, dims);
  if (symbols.empty()) {
    choose_cpu(spec, target, nullptr, tuning);
    return launch_chosen(std::move(spec), std::move(ids), dims);
  }
  std::vector<Variant> variants = variants_of(*this, spec, points_of(*this, spec, dims, symbols));
  if (variants.size() == 1) return launch_chosen(std::move(variants[0].spec), std::move(ids), dims);
  Command& select = command(CommandKind::select);
  select.text = size_symbol(*this, symbols);
  std::vector<Region*> regions;
  for (size_t k = 0; k < variants.size(); ++k) {
    regions.push_back(select.regions.emplace_back(std::make_unique<Region>()).get());
    if (k + 1 == variants.size()) {
      select.ranges.emplace_back();
      continue;
    }
    auto end = static_cast<int64_t>(std::sqrt(variants[k].most * variants[k + 1].least));
    select.ranges.push_back({Dim(0), Dim(end)});
  }
  auto* outer = commands;
  Status s;
  for (size_t k = 0; s.ok() && k < variants.size(); ++k) {
    commands = &regions[k]->commands;
    s = launch_chosen(std::move(variants[k].spec), ids, dims);
  }
  commands = outer;
  return s;
}

}  // namespace weft

#include "codegen/kernel_spec.h"

#include <algorithm>
#include <set>

#include "ir/base/check.h"
#include "ir/base/text.h"

namespace weft {

Dim SpecOperand::linear() const {
  Dim d = offset;
  for (size_t k = 0; k < index.size(); ++k) d += index[k] * strides[k];
  return d;
}

int64_t KernelSpec::estimate(const Dim& d) const {
  constexpr int64_t kTypicalDim = 64;
  if (d.is_const()) return d.value();
  SymbolValues v = typical;
  for (const std::string& s : d.symbols()) v.emplace(s, kTypicalDim);
  return std::max<int64_t>(1, d.eval(v).value_or(kTypicalDim));
}
int KernelSpec::axis(const std::string& name) const {
  for (size_t k = 0; k < axes.size(); ++k)
    if (axes[k].name == name) return static_cast<int>(k);
  return -1;
}
Dim KernelSpec::extent_of(std::span<const int> of) const {
  Dim n(1);
  for (int a : of) n *= axes[static_cast<size_t>(a)].extent;
  return n;
}

Dim with_params(const KernelSpec& s, const std::vector<Dim>& values, const Dim& d) {
  return d.substitute([&](const std::string& name) -> std::optional<Dim> {
    for (size_t k = 0; k < values.size(); ++k)
      if (s.params[k] == name) return values[k];
    return std::nullopt;
  });
}

static std::string dims_text(const std::vector<Dim>& v) { return "[" + shape_text(v) + "]"; }

static std::string inputs_text(const KernelSpec& s, const SpecStage& st, bool names) {
  std::string t;
  for (size_t k = 0; k < st.inputs.size(); ++k) {
    const StageInput& in = st.inputs[k];
    t += "    in" + std::to_string(k) + " = ";
    switch (in.kind) {
      case StageInput::Kind::load:
        t += "load " + (names ? name_text(s.operands[in.operand].name) + " " : std::string()) +
             std::to_string(in.operand);
        break;
      case StageInput::Kind::acc: t += "acc " + std::to_string(in.stage) + " " + std::to_string(in.output); break;
      case StageInput::Kind::index: t += "index " + in.dim.to_string(); break;
    }
    t += "\n";
  }
  return t;
}

static std::string spec_text(const KernelSpec& s, bool names) {
  std::string t = "weft.kernel 1";
  if (names) t += " " + quote(s.title);
  t += "\nparams [" + join(s.params, ",") + "] ptrs " + std::to_string(s.num_ptrs) + "\n";
  for (auto& [name, value] : s.typical) t += "typical " + name + " " + std::to_string(value) + "\n";
  for (const SpecAxis& a : s.axes) t += "axis " + a.name + " " + a.extent.to_string() + (a.row ? " row" : " parallel") + "\n";
  for (const SpecOperand& o : s.operands) {
    t += std::string("operand ") + (o.write ? "write" : "read") +
         (names ? " " + name_text(o.name) : std::string(" o")) + " ptr " + std::to_string(o.ptr) + " : " +
         dtype_name(o.dtype) + " index " + dims_text(o.index) + " strides " + dims_text(o.strides) + " offset " +
         o.offset.to_string();
    for (const SpecGuard& g : o.guards) t += " guard(" + g.lo.to_string() + " <= " + g.expr.to_string() + " .. " + g.hi.to_string() + ")";
    if (!o.guards.empty()) t += " fill " + number_text(o.fill);
    if (o.tile) t += " tile " + std::to_string(o.tile);
    if (o.constant) t += " constant";
    t += "\n";
  }
  for (const SpecStage& st : s.stages) {
    const char* kind[] = {"reduce", "map", "map_row"};
    t += std::string("stage ") + kind[static_cast<int>(st.kind)] + " {\n" + inputs_text(s, st, names) + "  body\n" + st.body.to_string("    ");
    if (st.kind == SpecStage::Kind::reduce) {
      t += "  combine\n" + st.combine.to_string("    ") + "  init [";
      for (size_t k = 0; k < st.init.size(); ++k) t += (k ? "," : "") + number_text(st.init[k]);
      t += "]\n";
    } else {
      t += "  stores [";
      for (size_t k = 0; k < st.stores.size(); ++k) t += (k ? "," : "") + std::to_string(st.stores[k]);
      t += "]\n";
    }
    t += "}\n";
  }
  const SpecConfig& c = s.config;
  t += "tasks " + s.tasks.to_string() + "\n";
  t += "config " + c.name + (c.vec_axis.empty() ? "" : " vec " + c.vec_axis) + (c.swap ? " swap" : "") + (c.lines ? " lines" : "");
  auto number = [&](const char* name, int64_t v) { t += std::string(" ") + name + "=" + std::to_string(v); };
  number("mr", c.mr), number("nr", c.nr), number("mc", c.mc), number("nc", c.nc), number("kc", c.kc);
  number("unroll", c.unroll), number("task_axes", c.task_axes), number("task_block", c.task_block);
  if (c.threads) {
    number("threads", c.threads), number("width", c.width), number("group", c.group), number("steps", c.steps), number("blocks", c.blocks);
    number("shared_bytes", c.shared_bytes), number("tiles", c.tiles);
  }
  t += "\n";
  if (names)
    for (const std::string& r : s.runners_up) t += "// " + r + "\n";
  return t;
}

std::string print_spec(const KernelSpec& s) { return spec_text(s, true); }
Hash spec_hash(const KernelSpec& s, const Target& target) { return hash_text(spec_text(s, false) + target.key()); }

static int64_t arithmetic_of(const ScalarProgram& p) {
  int64_t n = 0;
  for (const ScalarInst& i : p.insts) n += i.prim == Prim::fma ? 2 : i.prim != Prim::input && i.prim != Prim::constant && i.prim != Prim::cast;
  return n;
}

Dim spec_flops(const KernelSpec& s) {
  Dim rows = 1, points = 1, sum = 0;
  for (const SpecAxis& a : s.axes) {
    points = points * a.extent;
    if (!a.row) rows = rows * a.extent;
  }
  for (const SpecStage& st : s.stages)
    sum = sum + (st.kind == SpecStage::Kind::map_row ? rows : points) *
                    Dim(arithmetic_of(st.body) + arithmetic_of(st.combine));
  return sum;
}

namespace {
struct SpecParser {
  Lexer lx;
  KernelSpec s;

  Result<std::vector<Dim>> dims() {
    std::vector<Dim> v;
    TRY(lx.expect("["));
    while (!lx.at("]")) {
      TRY_ASSIGN(Dim d, parse_dim(lx));
      v.push_back(std::move(d));
      if (!lx.accept(",")) break;
    }
    TRY(lx.expect("]"));
    return v;
  }
  Result<int> index(size_t limit) {
    TRY_ASSIGN(int64_t v, lx.integer());
    if (v < 0 || static_cast<size_t>(v) >= limit) return lx.fail("number out of range before");
    return static_cast<int>(v);
  }
  Status operand() {
    SpecOperand o;
    o.write = lx.at("write");
    if (!lx.accept("write")) TRY(lx.expect("read"));
    TRY_ASSIGN(o.name, lx.name());
    TRY(lx.expect("ptr"));
    TRY_ASSIGN(o.ptr, index(s.num_ptrs));
    TRY(lx.expect(":"));
    TRY_ASSIGN(std::string ty, lx.identifier());
    auto t = dtype_from_name(ty);
    if (!t) return lx.fail("unknown type `" + ty + "` before");
    o.dtype = *t;
    TRY(lx.expect("index"));
    TRY_ASSIGN(o.index, dims());
    TRY(lx.expect("strides"));
    TRY_ASSIGN(o.strides, dims());
    if (o.index.size() != o.strides.size()) return lx.fail("index and strides differ in length before");
    TRY(lx.expect("offset"));
    TRY_ASSIGN(o.offset, parse_dim(lx));
    while (lx.accept("guard")) {
      SpecGuard g;
      TRY(lx.expect("("));
      TRY_ASSIGN(g.lo, parse_dim(lx));
      TRY(lx.expect("<="));
      TRY_ASSIGN(g.expr, parse_dim(lx));
      TRY(lx.expect(".."));
      TRY_ASSIGN(g.hi, parse_dim(lx));
      TRY(lx.expect(")"));
      o.guards.push_back(std::move(g));
    }
    if (lx.accept("fill")) {
      TRY_ASSIGN(o.fill, lx.number());
    }
    if (lx.accept("tile")) {
      TRY_ASSIGN(o.tile, lx.integer());
    }
    o.constant = lx.accept("constant");
    s.operands.push_back(std::move(o));
    return {};
  }
  Status stage_inputs(SpecStage& st) {
    while (lx.at("in" + std::to_string(st.inputs.size()))) {
      lx.next();
      TRY(lx.expect("="));
      StageInput in;
      if (lx.accept("load")) {
        if (lx.peek().kind != Token::integer) TRY(lx.name());
        TRY_ASSIGN(in.operand, index(s.operands.size()));
      } else if (lx.accept("acc")) {
        in.kind = StageInput::Kind::acc;
        TRY_ASSIGN(in.stage, index(s.stages.size()));
        TRY_ASSIGN(in.output, index(s.stages[in.stage].init.size()));
      } else {
        TRY(lx.expect("index"));
        in.kind = StageInput::Kind::index;
        TRY_ASSIGN(in.dim, parse_dim(lx));
      }
      st.inputs.push_back(std::move(in));
    }
    return {};
  }
  Status stage() {
    SpecStage st;
    if (lx.accept("reduce")) st.kind = SpecStage::Kind::reduce;
    else if (lx.accept("map_row")) st.kind = SpecStage::Kind::map_row;
    else TRY(lx.expect("map"));
    TRY(lx.expect("{"));
    TRY(stage_inputs(st));
    TRY(lx.expect("body"));
    TRY_ASSIGN(st.body, ScalarProgram::parse(lx));
    if (st.body.num_inputs() > static_cast<int>(st.inputs.size())) return lx.fail("body reads an input that is not declared, before");
    if (st.kind == SpecStage::Kind::reduce) {
      TRY(lx.expect("combine"));
      TRY_ASSIGN(st.combine, ScalarProgram::parse(lx));
      TRY(lx.expect("init"));
      TRY(lx.expect("["));
      while (!lx.at("]")) {
        TRY_ASSIGN(double v, lx.number());
        st.init.push_back(v);
        if (!lx.accept(",")) break;
      }
      TRY(lx.expect("]"));
      if (st.init.size() != st.body.outputs.size() || st.combine.outputs.size() != st.init.size())
        return lx.fail("accumulators, body and combine differ in number before");
    } else {
      TRY(lx.expect("stores"));
      TRY_ASSIGN(std::vector<Dim> v, dims());
      for (const Dim& d : v) {
        if (!d.is_const() || d.value() < 0 || d.value() >= static_cast<int64_t>(s.operands.size()) ||
            !s.operands[d.value()].write)
          return lx.fail("store to no written operand before");
        st.stores.push_back(static_cast<int>(d.value()));
      }
      if (st.stores.size() != st.body.outputs.size()) return lx.fail("stores and body outputs differ in number before");
    }
    TRY(lx.expect("}"));
    s.stages.push_back(std::move(st));
    return {};
  }
  Status config() {
    TRY_ASSIGN(s.config.name, lx.identifier());
    if (lx.accept("vec")) {
      TRY_ASSIGN(s.config.vec_axis, lx.identifier());
    }
    s.config.swap = lx.accept("swap");
    s.config.lines = lx.accept("lines");
    SpecConfig& c = s.config;
    struct { const char* name; int64_t* v; } fields[] = {
        {"mr", &c.mr}, {"nr", &c.nr}, {"mc", &c.mc}, {"nc", &c.nc}, {"kc", &c.kc}, {"unroll", &c.unroll}, {"task_axes", &c.task_axes},
        {"task_block", &c.task_block}, {"threads", &c.threads}, {"width", &c.width}, {"group", &c.group}, {"steps", &c.steps},
        {"blocks", &c.blocks}, {"shared_bytes", &c.shared_bytes}, {"tiles", &c.tiles}};
    for (auto& f : fields) {
      if (f.v == &c.threads && !lx.at("threads")) break;  // of a CPU kernel
      TRY(lx.expect(f.name));
      TRY(lx.expect("="));
      TRY_ASSIGN(*f.v, lx.integer());
    }
    return {};
  }
  Result<KernelSpec> run() {
    TRY(lx.expect("weft.kernel"));
    TRY_ASSIGN(int64_t version, lx.integer());
    if (version != 1) return lx.fail("version " + std::to_string(version) + " is not 1; before");
    TRY_ASSIGN(s.title, lx.quoted());
    TRY(lx.expect("params"));
    TRY(lx.expect("["));
    while (!lx.at("]")) {
      TRY_ASSIGN(std::string p, lx.identifier());
      s.params.push_back(std::move(p));
      if (!lx.accept(",")) break;
    }
    TRY(lx.expect("]"));
    TRY(lx.expect("ptrs"));
    TRY_ASSIGN(int64_t n, lx.integer());
    if (n < 0 || n > 4096) return lx.fail("bad pointer count before");
    s.num_ptrs = static_cast<int>(n);
    while (lx.peek().kind != Token::end) {
      if (lx.accept("typical")) {
        TRY_ASSIGN(std::string name, lx.identifier());
        TRY_ASSIGN(s.typical[name], lx.integer());
      } else if (lx.accept("axis")) {
        SpecAxis a;
        TRY_ASSIGN(a.name, lx.identifier());
        TRY_ASSIGN(a.extent, parse_dim(lx));
        a.row = lx.accept("row");
        if (!a.row) TRY(lx.expect("parallel"));
        s.axes.push_back(std::move(a));
      } else if (lx.accept("operand")) {
        TRY(operand());
      } else if (lx.accept("stage")) {
        TRY(stage());
      } else if (lx.accept("tasks")) {
        TRY_ASSIGN(s.tasks, parse_dim(lx));
      } else {
        TRY(lx.expect("config"));
        TRY(config());
      }
    }
    return std::move(s);
  }
};
}  // namespace

Result<KernelSpec> parse_spec(std::string_view text) {
  SpecParser p{Lexer(text), {}};
  return p.run();
}

static Dim replace(const Dim& d, const std::string& name, const Dim& by) {
  return d.substitute([&](const std::string& s) { return s == name ? std::optional<Dim>(by) : std::nullopt; });
}

static void replace_axis(KernelSpec& s, const std::string& name, const Dim& by) {
  for (SpecOperand& o : s.operands) {
    for (Dim& d : o.index) d = replace(d, name, by);
    o.offset = replace(o.offset, name, by);
    for (SpecGuard& g : o.guards) g.expr = replace(g.expr, name, by);
  }
  for (SpecStage& st : s.stages)
    for (StageInput& in : st.inputs) in.dim = replace(in.dim, name, by);
}

// True when `outer` and `inner` (its right neighbour) can become one axis: in every use the outer coefficient equals the
// inner's times the inner extent, and neither stands anywhere else than linearly in the address.
static bool can_merge(const KernelSpec& s, const SpecAxis& outer, const SpecAxis& inner) {
  if (outer.row != inner.row) return false;
  for (const SpecOperand& o : s.operands) {
    for (const SpecGuard& g : o.guards)
      if (g.expr.contains(outer.name) || g.expr.contains(inner.name)) return false;
    Dim lin = o.linear();
    auto a = lin.coefficient(outer.name), b = lin.coefficient(inner.name);
    if (!a || !b || *a != *b * inner.extent) return false;
  }
  for (const SpecStage& st : s.stages)
    for (const StageInput& in : st.inputs)
      if (in.dim.contains(outer.name) || in.dim.contains(inner.name)) return false;
  return true;
}

Dim simplify_index(const Dim& d, const std::vector<SpecAxis>& axes) {
  if (!d.expr()) return d;
  SymbolTable ranges;
  for (const SpecAxis& a : axes) {
    SymbolInfo info;
    info.hi = a.extent.is_const() ? a.extent.value() - 1 : INT64_MAX;
    ranges[a.name] = info;
  }
  Dim sum(d.expr()->constant);
  for (const DimTerm& t : d.expr()->terms) {
    Dim p(t.coef);
    for (const DimAtom& a : t.atoms) {
      if (a.fn == DimFn::symbol) {
        p *= Dim::symbol(a.name);
        continue;
      }
      Dim x = simplify_index(a.args[0], axes), y = simplify_index(a.args[1], axes);
      Interval rx = range_of(x, ranges);
      if ((a.fn == DimFn::floordiv || a.fn == DimFn::mod) && y.is_const() && y.value() > 0 && rx.lo >= 0 && rx.hi < y.value()) {
        p *= a.fn == DimFn::mod ? x : Dim(0);
      } else if (a.fn == DimFn::floordiv) {
        p *= floordiv(x, y);
      } else if (a.fn == DimFn::mod) {
        p *= mod(x, y);
      } else {
        bool ge = known_ge(x, y, ranges), le = known_ge(y, x, ranges);
        if (ge || le) p *= (a.fn == DimFn::min) == le ? x : y;
        else p *= a.fn == DimFn::min ? min(x, y) : max(x, y);
      }
    }
    sum += p;
  }
  return sum;
}

// A divisor c by which an index divides the axis, where c divides its extent; 0: none.
static int64_t divisor_of(const Dim& d, const SpecAxis& axis) {
  if (!d.expr()) return 0;
  for (const DimTerm& t : d.expr()->terms)
    for (const DimAtom& a : t.atoms) {
      if (a.fn != DimFn::floordiv && a.fn != DimFn::mod) continue;
      bool fits = a.args[0] == Dim::symbol(axis.name) && a.args[1].is_const() && a.args[1].value() > 1;
      if (fits && axis.extent.is_const() && axis.extent.value() % a.args[1].value() == 0) return a.args[1].value();
    }
  return 0;
}

void split_axes(KernelSpec& s) {
  for (size_t k = 0; k < s.axes.size(); ++k) {
    int64_t c = 0;
    for (const SpecOperand& o : s.operands)
      if (c == 0) c = divisor_of(o.linear(), s.axes[k]);
    if (c == 0 || c == s.axes[k].extent.value()) continue;
    SpecAxis outer = s.axes[k], inner = s.axes[k];
    outer.name += "o";
    outer.extent = Dim(s.axes[k].extent.value() / c);
    inner.name += "i";
    inner.extent = Dim(c);
    Dim by = Dim::symbol(outer.name) * Dim(c) + Dim::symbol(inner.name);
    std::string name = s.axes[k].name;
    s.axes[k] = inner;
    s.axes.insert(s.axes.begin() + static_cast<long>(k), outer);
    replace_axis(s, name, by);
    for (SpecOperand& o : s.operands) {
      for (Dim& d : o.index) d = simplify_index(d, s.axes);
      o.offset = simplify_index(o.offset, s.axes);
    }
  }
}

void collapse_axes(KernelSpec& s) {
  for (size_t k = 0; k < s.axes.size();) {
    if (s.axes[k].extent.is(1)) {
      replace_axis(s, s.axes[k].name, Dim(0));
      s.axes.erase(s.axes.begin() + static_cast<long>(k));
    } else {
      ++k;
    }
  }
  for (size_t k = s.axes.size(); k-- > 1;) {
    SpecAxis &outer = s.axes[k - 1], &inner = s.axes[k];
    if (!can_merge(s, outer, inner)) continue;
    // One axis named like the inner one remains; what other axes and indirections add moves to the offset.
    for (SpecOperand& o : s.operands) {
      Dim rest, lin = o.linear();
      Dim coef = *lin.coefficient(inner.name, &rest);
      Dim others;
      rest.coefficient(outer.name, &others);
      o.index = {Dim::symbol(inner.name)};
      o.strides = {coef};
      o.offset = others;
    }
    inner.extent = outer.extent * inner.extent;
    s.axes.erase(s.axes.begin() + static_cast<long>(k - 1));
  }
}

// The stage that stores to operand w; -1: there is none, or more than one.
static int storing_stage(const KernelSpec& s, int w) {
  int found = -1;
  for (size_t k = 0; k < s.stages.size(); ++k)
    if (std::count(s.stages[k].stores.begin(), s.stages[k].stores.end(), w) > 0) {
      if (found >= 0) return -1;
      found = static_cast<int>(k);
    }
  return found;
}
static int last_loading_stage(const KernelSpec& s, int o) {
  for (size_t k = s.stages.size(); k-- > 0;)
    for (const StageInput& in : s.stages[k].inputs)
      if (in.kind == StageInput::Kind::load && in.operand == o) return static_cast<int>(k);
  return -1;
}
static bool loaded_by_sum(const KernelSpec& s, int o) {
  for (const StageInput& in : s.stages[0].inputs)
    if (in.kind == StageInput::Kind::load && in.operand == o) return s.stages[0].kind == SpecStage::Kind::reduce;
  return false;
}

std::vector<std::pair<int, int>> in_place_pairs(const KernelSpec& s) {
  std::vector<std::pair<int, int>> out;
  auto of_ptr = [&](int ptr) { return std::count_if(s.operands.begin(), s.operands.end(), [&](const SpecOperand& o) { return o.ptr == ptr; }); };
  for (size_t w = 0; w < s.operands.size(); ++w) {
    const SpecOperand& to = s.operands[w];
    int stores = to.write && of_ptr(to.ptr) == 1 ? storing_stage(s, static_cast<int>(w)) : -1;
    if (stores < 0) continue;
    Dim place = to.linear();
    if (is_indirect(place)) continue;  // by a value that is read
    std::set<int> fits, unfit;
    for (size_t r = 0; r < s.operands.size(); ++r) {
      const SpecOperand& from = s.operands[r];
      if (r == w) continue;
      // A blocked sum reads its factors again after other results are stored.
      bool factor = s.config.name != "loops" && loaded_by_sum(s, static_cast<int>(r));
      bool same = !from.write && !from.tile && !factor && byte_size(from.dtype) == byte_size(to.dtype) && from.linear() == place;
      bool before = last_loading_stage(s, static_cast<int>(r)) <= stores;
      (same && before ? fits : unfit).insert(from.ptr);
    }
    for (int ptr : fits)
      if (!unfit.count(ptr)) out.emplace_back(ptr, to.ptr);
  }
  return out;
}

}  // namespace weft

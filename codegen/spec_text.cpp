// The text of KernelSpecs, and their hash, which is of the text.
#include <algorithm>

#include "codegen/kernel_spec.h"
#include "ir/base/text.h"

namespace weft {

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
  t += "\nparams [" + join(s.params, ",") + "] ptrs " + std::to_string(s.num_ptrs) + (s.ordered ? " ordered\n" : "\n");
  for (auto& [name, value] : s.typical) t += "typical " + name + " " + std::to_string(value) + "\n";
  for (const SpecAxis& a : s.axes) t += "axis " + a.name + " " + a.extent.to_string() + (a.row ? " row" : a.inner ? " inner" : " parallel") + "\n";
  for (const SpecOperand& o : s.operands) {
    t += std::string("operand ") + (o.write ? "write" : "read") +
         (names ? " " + name_text(o.name) : std::string(" o")) + " ptr " + std::to_string(o.ptr) + " : " +
         dtype_name(o.dtype) + " index " + dims_text(o.index) + " strides " + dims_text(o.strides) + " offset " +
         o.offset.to_string();
    for (const SpecGuard& g : o.guards) t += " guard(" + g.lo.to_string() + " <= " + g.expr.to_string() + " .. " + g.hi.to_string() + ")";
    if (!o.guards.empty()) t += " fill " + number_text(o.fill);
    if (o.tile) t += " tile " + std::to_string(o.tile);
    if (o.constant) t += " constant";
    if (o.packed) t += " packed";
    t += "\n";
  }
  for (const SpecStage& st : s.stages) {
    const char* kind[] = {"reduce", "map", "map_row", "inner", "attend"};
    t += std::string("stage ") + kind[static_cast<int>(st.kind)] + " {\n" + inputs_text(s, st, names) + "  body\n" + st.body.to_string("    ");
    if (st.kind == SpecStage::Kind::reduce || st.kind == SpecStage::Kind::inner) {
      t += "  combine\n" + st.combine.to_string("    ") + "  init [";
      for (size_t k = 0; k < st.init.size(); ++k) t += (k ? "," : "") + number_text(st.init[k]);
      t += "]\n";
    } else if (st.kind != SpecStage::Kind::attend) {
      t += "  stores [";
      for (size_t k = 0; k < st.stores.size(); ++k) t += (k ? "," : "") + std::to_string(st.stores[k]);
      t += "]\n";
    }
    t += "}\n";
  }
  const SpecConfig& c = s.config;
  t += "tasks " + s.tasks.to_string() + "\n";
  t += "config " + c.name + (c.vec_axis.empty() ? "" : " vec " + c.vec_axis);
  t += std::string(c.swap ? " swap" : "") + (c.lines ? " lines" : "") + (c.warpgroups ? " warpgroups" : "") + (c.weights ? " weights" : "");
  auto number = [&](const char* name, int64_t v) { t += std::string(" ") + name + "=" + std::to_string(v); };
  number("mr", c.mr), number("nr", c.nr), number("mc", c.mc), number("nc", c.nc), number("kc", c.kc);
  if (c.dot) number("dot", c.dot);
  if (c.bits) number("bits", c.bits);
  number("unroll", c.unroll), number("task_axes", c.task_axes), number("task_block", c.task_block);
  if (c.threads) {
    number("threads", c.threads), number("width", c.width), number("group", c.group), number("steps", c.steps), number("blocks", c.blocks);
    number("shared_bytes", c.shared_bytes), number("tiles", c.tiles);
    if (c.cluster) number("cluster", c.cluster);
  }
  t += "\n";
  if (names)
    for (const std::string& r : s.runners_up) t += "// " + r + "\n";
  return t;
}

std::string print_spec(const KernelSpec& s) { return spec_text(s, true); }
Hash spec_hash(const KernelSpec& s, const Target& target) { return hash_text(spec_text(s, false) + target.key()); }

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
    o.packed = lx.accept("packed");
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
        TRY_ASSIGN(in.output, index(s.stages[in.stage].results()));
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
    else if (lx.accept("inner")) st.kind = SpecStage::Kind::inner;
    else if (lx.accept("attend")) st.kind = SpecStage::Kind::attend;
    else if (lx.accept("map_row")) st.kind = SpecStage::Kind::map_row;
    else TRY(lx.expect("map"));
    TRY(lx.expect("{"));
    TRY(stage_inputs(st));
    TRY(lx.expect("body"));
    TRY_ASSIGN(st.body, ScalarProgram::parse(lx));
    if (st.body.num_inputs() > static_cast<int>(st.inputs.size())) return lx.fail("body reads an input that is not declared, before");
    if (st.kind == SpecStage::Kind::attend) {
      if (st.body.outputs.size() != 2) return lx.fail("a score and a value wanted before");
    } else if (st.kind == SpecStage::Kind::reduce || st.kind == SpecStage::Kind::inner) {
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
    s.config.warpgroups = lx.accept("warpgroups");
    s.config.weights = lx.accept("weights");
    SpecConfig& c = s.config;
    struct { const char* name; int64_t* v; } fields[] = {
        {"mr", &c.mr}, {"nr", &c.nr}, {"mc", &c.mc}, {"nc", &c.nc}, {"kc", &c.kc}, {"dot", &c.dot}, {"bits", &c.bits},
        {"unroll", &c.unroll}, {"task_axes", &c.task_axes}, {"task_block", &c.task_block}, {"threads", &c.threads}, {"width", &c.width},
        {"group", &c.group}, {"steps", &c.steps}, {"blocks", &c.blocks}, {"shared_bytes", &c.shared_bytes}, {"tiles", &c.tiles}, {"cluster", &c.cluster}};
    for (auto& f : fields) {
      if ((f.v == &c.dot || f.v == &c.bits) && !lx.at(f.name)) continue;
      if ((f.v == &c.threads || f.v == &c.cluster) && !lx.at(f.name)) break;  // of a CPU kernel; of one block
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
    s.ordered = lx.accept("ordered");
    while (lx.peek().kind != Token::end) {
      if (lx.accept("typical")) {
        TRY_ASSIGN(std::string name, lx.identifier());
        TRY_ASSIGN(s.typical[name], lx.integer());
      } else if (lx.accept("axis")) {
        SpecAxis a;
        TRY_ASSIGN(a.name, lx.identifier());
        TRY_ASSIGN(a.extent, parse_dim(lx));
        a.row = lx.accept("row");
        a.inner = !a.row && lx.accept("inner");
        if (!a.row && !a.inner) TRY(lx.expect("parallel"));
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

}  // namespace weft

// The declarations of a .wplan text; the commands are in parse_commands.cpp.
#include "ir/plan/parser.h"
#include "ir/plan/words.h"

namespace weft {

Result<Plan> parse_plan(std::string_view text) {
  if (text.size() > PlanParser::kMaxText)
    return resources("plan text of " + human_bytes(static_cast<double>(text.size())) + " is over the limit of 256 MiB");
  return PlanParser(text).parse();
}

Result<Plan> PlanParser::parse() {
  TRY(header());
  while (lx_.peek().kind != Token::end) TRY(statement());
  if (!has_main_) return lx_.fail("expected `main { … }`");
  return std::move(p_);
}

Status PlanParser::header() {
  TRY(lx_.expect("wplan"));
  TRY_ASSIGN(int64_t version, lx_.integer());
  if (version != 1) return unsupported("plan text of version " + std::to_string(version) + "; this build reads version 1");
  if (lx_.accept("name")) TRY(quoted_into(&p_.name));
  if (lx_.accept("target")) TRY(quoted_into(&p_.target));
  if (lx_.accept("arena")) {
    TRY_ASSIGN(p_.arena_bytes, lx_.integer());
  }
  if (lx_.accept("stage")) {
    TRY_ASSIGN(p_.stage, small_integer());
  }
  return {};
}

Status PlanParser::statement() {
  if (lx_.accept("symbol")) return symbol();
  if (lx_.accept("constant")) return constant();
  if (lx_.accept("kernel")) return kernel();
  if (lx_.accept("mesh")) {
    TRY_ASSIGN(p_.mesh, Mesh::parse(lx_));
    return {};
  }
  if (lx_.accept("group")) return group();
  if (lx_.accept("buffer")) return buffer();
  if (lx_.accept("tensor")) return tensor();
  if (lx_.accept("input")) return port(p_.inputs, false);
  if (lx_.accept("output")) return port(p_.outputs, false);
  if (lx_.accept("state")) return port(p_.states, true);
  bool main = lx_.at("main");
  if (!main && !lx_.at("prepare")) return lx_.fail("expected a declaration");
  bool& seen = main ? has_main_ : has_prepare_;
  if (seen) return lx_.fail("there already is such a region");
  seen = true;
  lx_.next();
  TRY_ASSIGN((main ? p_.main : p_.prepare), region(0));
  return {};
}

Status PlanParser::symbol() {
  TRY_ASSIGN(std::string name, lx_.name());
  SymbolInfo s;
  if (lx_.peek().kind == Token::integer || lx_.at("-")) {
    TRY_ASSIGN(s.lo, lx_.integer());
    TRY(lx_.expect(".."));
    if (lx_.peek().kind == Token::integer || lx_.at("-")) {
      TRY_ASSIGN(s.hi, lx_.integer());
    }
  }
  if (lx_.accept("opt")) {
    TRY_ASSIGN(s.opt, lx_.integer());
  }
  if (!p_.symbols.emplace(name, s).second) return lx_.fail("symbol " + name_text(name) + " is declared twice");
  return {};
}

Status PlanParser::constant() {
  PlanConstant c;
  TRY_ASSIGN(c.name, lx_.name());
  TRY_ASSIGN(c.dtype, dtype());
  TRY_ASSIGN(std::vector<Dim> shape, dims());
  if (!is_static(shape)) return lx_.fail("a constant's dims must be integers");
  c.dims = static_dims(shape);
  TRY(hash(&c.hash));
  p_.constants.push_back(std::move(c));
  return {};
}

Status PlanParser::kernel() {
  PlanKernel k;
  TRY(declare("@", kernels_, p_.kernels.size(), &k.name));
  TRY(hash(&k.hash));
  if (lx_.accept("object")) {
    TRY_ASSIGN(k.object, small_integer());
  }
  if (lx_.accept("threads")) {
    TRY_ASSIGN(k.threads, small_integer());
  }
  if (lx_.accept("flops")) {
    TRY_ASSIGN(k.flops, parse_dim(lx_));
  }
  if (lx_.accept("bytes")) {
    TRY_ASSIGN(k.bytes, parse_dim(lx_));
  }
  if (lx_.accept("nodes")) {
    TRY_ASSIGN(k.nodes, strings());
  }
  p_.kernels.push_back(std::move(k));
  return {};
}

Status PlanParser::group() {
  PlanGroup g;
  TRY_ASSIGN(g.name, lx_.name());
  TRY(lx_.expect("axes"));
  TRY_ASSIGN(g.axes, strings());
  p_.groups.push_back(std::move(g));
  return {};
}

Status PlanParser::buffer() {
  PlanBuffer b;
  TRY(declare("#", buffers_, p_.buffers.size(), &b.name));
  auto storage = plan_words::find<Storage>(plan_words::kStorages, lx_.peek().text);
  if (!storage) return lx_.fail("expected a buffer's storage (arena, constant, prepared, input, output, state, dynamic, report)");
  lx_.next();
  b.storage = *storage;
  if (plan_words::has_source(b.storage) && lx_.peek().kind == Token::integer) {
    TRY_ASSIGN(b.source, small_integer());
  }
  if (lx_.accept("prepare")) b.prepare = true;
  if (auto space = plan_words::find<Space>(plan_words::kSpaces, lx_.peek().text)) {
    b.space = *space;
    lx_.next();
  }
  if (lx_.accept("bytes")) {
    TRY_ASSIGN(b.bytes, parse_dim(lx_));
  }
  if (lx_.accept("align")) {
    TRY_ASSIGN(b.alignment, lx_.integer());
  }
  if (lx_.accept("offset")) {
    TRY_ASSIGN(b.offset, lx_.integer());
  }
  if (lx_.accept("live")) {
    TRY_ASSIGN(b.first, small_integer());
    TRY(lx_.expect(".."));
    TRY_ASSIGN(b.last, small_integer());
  }
  if (lx_.accept("source")) {
    TRY_ASSIGN(b.source, small_integer());
  }
  p_.buffers.push_back(std::move(b));
  return {};
}

Status PlanParser::tensor() {
  PlanTensor t;
  TRY(declare("%", tensors_, p_.tensors.size(), &t.name));
  TRY_ASSIGN(t.dtype, dtype());
  TRY_ASSIGN(t.dims, dims());
  if (lx_.at("#")) {
    TRY_ASSIGN(t.buffer, ref("#", buffers_, p_.buffers.size(), "buffer"));
  }
  if (lx_.accept("offset")) {
    TRY_ASSIGN(t.offset, parse_dim(lx_));
  }
  if (lx_.accept("strides")) {
    TRY_ASSIGN(t.strides, dims());
  } else {
    t.strides = plan_strides(t.dims, t.dtype);
  }
  p_.tensors.push_back(std::move(t));
  return {};
}

Status PlanParser::port(std::vector<PlanPort>& out, bool state) {
  PlanPort q;
  TRY_ASSIGN(q.name, lx_.name());
  if (lx_.at("%")) {
    TRY_ASSIGN(q.tensor, tensor_ref());
  }
  if (lx_.accept("->")) {
    TRY_ASSIGN(q.paired, tensor_ref());
  }
  if (lx_.accept("append")) {
    TRY_ASSIGN(q.axis, small_integer());
  }
  if (lx_.accept("length")) {
    TRY_ASSIGN(q.length, lx_.name());
  }
  if (lx_.accept("capacity")) {
    TRY_ASSIGN(q.capacity, lx_.name());
  }
  if (lx_.at("shard")) {
    TRY_ASSIGN(q.share, RankShare::parse(lx_));
  }
  if (lx_.accept("number")) {
    TRY_ASSIGN(q.number, small_integer());
  }
  if (!state && (q.paired >= 0 || q.axis >= 0 || !q.length.empty() || !q.capacity.empty() || !q.share.sharding.empty()))
    return lx_.fail("only a state has this");
  out.push_back(std::move(q));
  return {};
}

// `%name`, or `%12` with the member's own number, optionally `named "other"`.
Status PlanParser::declare(const char* sigil, Index& index, size_t number, std::string* name) {
  TRY(lx_.expect(sigil));
  if (number >= INT32_MAX) return resources("too many declarations");
  if (lx_.peek().kind == Token::integer) {
    TRY_ASSIGN(int64_t given, lx_.integer());
    if (given != static_cast<int64_t>(number)) return lx_.fail("this is number " + std::to_string(number) + ", not " + std::to_string(given));
    if (lx_.accept("named")) TRY(quoted_into(name));
    return {};
  }
  TRY_ASSIGN(*name, lx_.name());
  if (!index.emplace(*name, static_cast<int>(number)).second) return lx_.fail(std::string(sigil) + name_text(*name) + " is declared twice");
  return {};
}

Result<int> PlanParser::ref(const char* sigil, const Index& index, size_t count, const char* what) {
  TRY(lx_.expect(sigil));
  if (lx_.peek().kind == Token::integer) {
    TRY_ASSIGN(int64_t n, lx_.integer());
    if (n < 0 || n >= static_cast<int64_t>(count)) return lx_.fail("there is no " + std::string(what) + " " + std::to_string(n));
    return static_cast<int>(n);
  }
  TRY_ASSIGN(std::string name, lx_.name());
  auto it = index.find(name);
  if (it == index.end()) return lx_.fail("there is no " + std::string(what) + " " + name_text(name) + " above");
  return it->second;
}

Result<int> PlanParser::small_integer() {
  TRY_ASSIGN(int64_t v, lx_.integer());
  if (v < INT32_MIN || v > INT32_MAX) return lx_.fail("integer out of range");
  return static_cast<int>(v);
}

Status PlanParser::quoted_into(std::string* out) {
  TRY_ASSIGN(*out, lx_.quoted());
  return {};
}

Result<std::vector<std::string>> PlanParser::strings() {
  std::vector<std::string> v;
  TRY(lx_.expect("["));
  while (!lx_.at("]")) {
    TRY_ASSIGN(std::string s, lx_.name());
    v.push_back(std::move(s));
    if (!lx_.accept(",")) break;
  }
  TRY(lx_.expect("]"));
  return v;
}

Result<std::vector<Dim>> PlanParser::dims() {
  std::vector<Dim> v;
  TRY(lx_.expect("["));
  while (!lx_.at("]")) {
    if (v.size() == kMaxRank) return lx_.fail("more than " + std::to_string(kMaxRank) + " dims");
    TRY_ASSIGN(Dim d, parse_dim(lx_));
    v.push_back(std::move(d));
    if (!lx_.accept(",")) break;
  }
  TRY(lx_.expect("]"));
  return v;
}

Result<DType> PlanParser::dtype() {
  auto t = lx_.peek().kind == Token::identifier ? dtype_from_name(lx_.peek().text) : std::nullopt;
  if (!t) return lx_.fail("expected an element type");
  lx_.next();
  return *t;
}

Status PlanParser::hash(Hash* out) {
  if (!lx_.accept("hash")) return {};
  TRY_ASSIGN(std::string text, lx_.quoted());
  if (!Hash::from_hex(text, out)) return lx_.fail("expected 32 hex digits");
  return {};
}

}  // namespace weft

// Regions and commands of a .wplan text.
#include "ir/plan/parser.h"
#include "ir/plan/words.h"

namespace weft {

Result<Region> PlanParser::region(int depth) {
  if (depth > kMaxDepth) return lx_.fail("regions nested more than " + std::to_string(kMaxDepth) + " deep");
  Region r;
  TRY(lx_.expect("{"));
  while (!lx_.accept("}")) {
    TRY_ASSIGN(Command c, command(depth));
    r.commands.push_back(std::move(c));
  }
  return r;
}

Result<Command> PlanParser::command(int depth) {
  Command c;
  auto kind = lx_.peek().kind == Token::identifier ? plan_words::find<CommandKind>(plan_words::kCommands, lx_.peek().text) : std::nullopt;
  if (!kind) return lx_.fail("expected a command");
  lx_.next();
  c.kind = *kind;
  TRY(head(c));
  TRY(fields(c));
  TRY(regions(c, depth));
  return c;
}

Status PlanParser::tensor_into(Command& c) {
  TRY_ASSIGN(int t, tensor_ref());
  c.tensors.push_back(t);
  return {};
}

// `%a, %b -> %c`: c.index becomes the number before the arrow.
Status PlanParser::arrow_list(Command& c, std::string_view end) {
  c.index = 0;
  bool outputs = false;
  while (!lx_.at(end)) {
    if (!outputs && lx_.accept("->")) {
      outputs = true;
      continue;
    }
    TRY(tensor_into(c));
    if (!outputs) ++c.index;
    if (!lx_.accept(",") && !lx_.at("->") && !lx_.at(end)) return lx_.fail("expected `,` or `->`");
  }
  return lx_.expect(end);
}

// What is particular to the kind.
Status PlanParser::head(Command& c) {
  switch (c.kind) {
    case CommandKind::launch:
    case CommandKind::host_call:
    case CommandKind::collective: return call_head(c);
    case CommandKind::set:
    case CommandKind::read:
    case CommandKind::check:
    case CommandKind::select:
    case CommandKind::loop: return symbol_head(c);
    case CommandKind::copy:
    case CommandKind::swap:
      TRY(tensor_into(c));
      TRY(lx_.expect(c.kind == CommandKind::copy ? "->" : ","));
      return tensor_into(c);
    case CommandKind::expect: {
      TRY(tensor_into(c));
      TRY_ASSIGN(c.dim, parse_dim(lx_));
      return quoted_into(&c.text);
    }
    case CommandKind::fill: {
      TRY(tensor_into(c));
      TRY_ASSIGN(c.scalar, lx_.number());
      return {};
    }
    case CommandKind::wait_collective:
    case CommandKind::record:
    case CommandKind::wait: {
      TRY_ASSIGN(c.event, small_integer());
      return {};
    }
    case CommandKind::if_then:
    case CommandKind::alloc:
    case CommandKind::free: return tensor_into(c);
  }
  return lx_.fail("expected a command");
}

// Something with operands in parentheses.
Status PlanParser::call_head(Command& c) {
  if (c.kind == CommandKind::launch) {
    TRY_ASSIGN(c.kernel, ref("@", kernels_, p_.kernels.size(), "kernel"));
    TRY(lx_.expect("("));
    while (!lx_.at(")")) {
      TRY_ASSIGN(Param p, param());
      c.params.push_back(std::move(p));
      if (!lx_.accept(",")) break;
    }
    return lx_.expect(")");
  }
  TRY_ASSIGN(c.name, lx_.name());
  TRY(lx_.expect("("));
  TRY(arrow_list(c, ")"));
  if (c.kind == CommandKind::collective && lx_.accept("group")) {
    TRY_ASSIGN(c.group, lx_.name());
  }
  if (lx_.peek().kind == Token::string) TRY(quoted_into(&c.text));
  if (c.kind == CommandKind::host_call && lx_.accept("sets")) {
    TRY_ASSIGN(c.sets, strings());
  }
  return {};
}

Status PlanParser::symbol_head(Command& c) {
  switch (c.kind) {
    case CommandKind::set: {
      TRY_ASSIGN(c.name, lx_.name());
      TRY(lx_.expect("="));
      TRY_ASSIGN(c.dim, parse_dim(lx_));
      return {};
    }
    case CommandKind::read: {
      TRY_ASSIGN(c.name, lx_.name());
      TRY(lx_.expect("="));
      TRY(tensor_into(c));
      TRY(lx_.expect("["));
      TRY_ASSIGN(c.index, lx_.integer());
      return lx_.expect("]");
    }
    case CommandKind::check: {
      TRY_ASSIGN(c.dim, parse_dim(lx_));
      return lx_.peek().kind == Token::string ? quoted_into(&c.text) : Status{};
    }
    case CommandKind::select: {
      TRY_ASSIGN(std::vector<std::string> names, strings());
      c.text = join(names, ",");
      return {};
    }
    default: {  // loop
      TRY_ASSIGN(c.tasks, parse_dim(lx_));
      if (lx_.accept("count")) {
        TRY_ASSIGN(c.name, lx_.name());
      }
      return lx_.accept("while") ? tensor_into(c) : Status{};
    }
  }
}

// Words that a tensor reference or `(` follows; as the start of a Dim they are followed by neither.
Result<Param> PlanParser::param() {
  Param p;
  Lexer before = lx_;
  if (lx_.peek().kind == Token::identifier) {
    std::string word(lx_.next().text);
    bool call = lx_.at("(");
    if (call && word == "scalar") {
      lx_.next();
      p.kind = Param::Kind::scalar;
      TRY_ASSIGN(p.scalar, lx_.number());
      TRY(lx_.expect(")"));
      return p;
    }
    if (call && word == "map") p.kind = Param::Kind::tensor_map;
    if (call && word == "peers") p.kind = Param::Kind::peer_table;
    if (call && word == "workspace") p.kind = Param::Kind::workspace;
    bool access = lx_.at("%") && (word == "out" || word == "inout");
    if (p.kind == Param::Kind::tensor) lx_ = before;
    if (p.kind == Param::Kind::tensor && !access) {
      p.kind = Param::Kind::dim;
      TRY_ASSIGN(p.dim, parse_dim(lx_));
      return p;
    }
  } else if (!lx_.at("%")) {
    p.kind = Param::Kind::dim;
    TRY_ASSIGN(p.dim, parse_dim(lx_));
    return p;
  }
  bool call = p.kind != Param::Kind::tensor;
  if (call) TRY(lx_.expect("("));
  if (lx_.accept("out")) p.access = Access::write;
  if (lx_.accept("inout")) p.access = Access::update;
  if (!call || !lx_.at(")")) {
    TRY_ASSIGN(p.tensor, tensor_ref());
  }
  if (call) TRY(lx_.expect(")"));
  return p;
}

Status PlanParser::fields(Command& c) {
  while (lx_.peek().kind == Token::identifier) {
    std::string word(lx_.peek().text);
    // The next command begins.
    if (plan_words::find<CommandKind>(plan_words::kCommands, word)) return {};
    lx_.next();
    TRY(field(word, c));
  }
  return {};
}

Status PlanParser::field(const std::string& word, Command& c) {
  if (word == "dependent") {
    c.dependent = true;
    return {};
  }
  if (word == "nodes") {
    TRY_ASSIGN(c.nodes, strings());
    return {};
  }
  if (word == "stream" || word == "event") {
    TRY_ASSIGN((word == "stream" ? c.stream : c.event), small_integer());
    return {};
  }
  if (word == "tasks" || word == "shared" || word == "scratch") {
    TRY_ASSIGN(Dim d, parse_dim(lx_));
    (word == "tasks" ? c.tasks : word == "shared" ? c.shared_bytes : c.scratch_bytes) = d;
    return {};
  }
  if (word == "grid" || word == "cluster") {
    TRY_ASSIGN(std::vector<Dim> d, dims());
    if (d.size() != 3) return lx_.fail("expected three dims");
    std::move(d.begin(), d.end(), word == "grid" ? c.grid : c.cluster);
    return {};
  }
  return lx_.fail("unknown field " + word);
}

Status PlanParser::regions(Command& c, int depth) {
  if (c.kind == CommandKind::select) return cases(c, depth);
  if (c.kind != CommandKind::loop && c.kind != CommandKind::if_then) return {};
  do {
    TRY_ASSIGN(Region r, region(depth + 1));
    c.regions.push_back(std::make_unique<Region>(std::move(r)));
  } while (c.kind == CommandKind::if_then && c.regions.size() < 2 && lx_.accept("else"));
  return {};
}

Status PlanParser::cases(Command& c, int depth) {
  TRY(lx_.expect("{"));
  while (lx_.accept("case")) {
    std::vector<Dim> ranges;
    TRY(lx_.expect("["));
    while (!lx_.at("]")) {
      if (ranges.size() >= 2 * kMaxRank) return lx_.fail("too many ranges");
      TRY_ASSIGN(Dim lo, parse_dim(lx_));
      TRY(lx_.expect(".."));
      TRY_ASSIGN(Dim hi, parse_dim(lx_));
      ranges.push_back(std::move(lo));
      ranges.push_back(std::move(hi));
      if (!lx_.accept(",")) break;
    }
    TRY(lx_.expect("]"));
    TRY_ASSIGN(Region r, region(depth + 1));
    c.ranges.push_back(std::move(ranges));
    c.regions.push_back(std::make_unique<Region>(std::move(r)));
  }
  return lx_.expect("}");
}

}  // namespace weft

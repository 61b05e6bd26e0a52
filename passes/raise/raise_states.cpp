// raise-states: pairs of an input and an output become states, which a context keeps from run to run, where the user asks
// for it: IN=OUT for one pair, `auto` for all that are found. What is found are outputs that are an input with something
// behind it (a concat, the present keys and values of attention), or with some of its rows replaced (tensor_scatter).
// Nobody asked: nothing becomes a state, since those who bind such inputs and outputs would miss them.
//
// A state that grows has the capacity of a symbol of its own; states of one length share it.
#include <algorithm>

#include "ir/base/text.h"
#include "ir/ops/attention.h"
#include "ir/ops/move.h"
#include "passes/rewrite/pieces.h"

namespace weft {

namespace {

std::string output_name(const Graph& g, size_t k) { return k < g.output_names.size() ? g.output_names[k] : g.outputs[k]->name; }

const Value* find_input(const Graph& g, const std::string& name) {
  for (auto& in : g.inputs)
    if (in->name == name) return in.get();
  return nullptr;
}
const Value* find_output(const Graph& g, const std::string& name) {
  for (size_t k = 0; k < g.outputs.size(); ++k)
    if (output_name(g, k) == name) return g.outputs[k];
  return nullptr;
}

// How an output follows from an input that it holds.
struct Growth {
  const Value* from = nullptr;  // null: from none
  int axis = -1;                // rows are added along it; -1: some are replaced
};
Growth growth_of(const Value* out) {
  while (out->def && out->def->kind == OpKind::identity) out = out->def->operands[0];
  const Op* op = out->def;
  if (!op || !out->type.is_ranked()) return {};
  Growth g;
  if (op->kind == OpKind::concat) g = {op->operands[0], concat_axis(*op)};
  else if (op->kind == OpKind::attention && (out->index == 1 || out->index == 2)) g = {op->operand(3 + out->index), 2};
  else if (op->kind == OpKind::tensor_scatter) g = {op->operands[0], -1};
  return g.from && g.from->is_input() && g.from->type.is_ranked() ? g : Growth{};
}

class States {
 public:
  States(Module& m, PassContext& cx) : m_(m), cx_(cx), g_(*m.main()) {}

  Result<bool> run() {
    size_t before = m_.states.size();
    for (const std::string& text : cx_.states)
      if (text != "auto") TRY(request(text));
    std::vector<std::string> found = find(std::find(cx_.states.begin(), cx_.states.end(), "auto") != cx_.states.end());
    if (cx_.states.empty() && !found.empty())
      cx_.notes.push_back("inputs that outputs go on from: " + join(found, ", ") + " (--state auto keeps them in the context)");
    return m_.states.size() != before;
  }

 private:
  // IN=OUT, where names may hold a = of their own.
  Status request(const std::string& text) {
    const Value *in = nullptr, *out = nullptr;
    std::string input, output;
    for (size_t at = text.find('='); at != std::string::npos && !(in && out); at = text.find('=', at + 1)) {
      input = text.substr(0, at);
      output = text.substr(at + 1);
      in = find_input(g_, input);
      out = find_output(g_, output);
    }
    if (!in || !out) return unknown(text);
    for (const State& s : m_.states) {
      if (s.input == input && s.output == output) return {};
      if (s.input == input || s.output == output)
        return usage("--state " + text + ": " + name_text(s.input) + "=" + name_text(s.output) + " is a state already");
    }
    Growth growth = growth_of(out);
    if (growth.from == in && growth.axis >= 0 && in->type.dim(growth.axis) != out->type.dim(growth.axis))
      return add_growing(*in, output, growth.axis);
    bool same = in->type.is_ranked() && out->type.is_ranked() && same_type(in->type, out->type);
    if (!same) {
      Error e = usage("--state " + text + ": the input is " + in->type.to_string() + ", the output " + out->type.to_string() +
                      ", and it is not the input with something behind it");
      return e.at_tensor(input), e;
    }
    add({input, input, output, g_.name, State::Kind::overwrite, 0, {}, {}});
    return {};
  }

  Status unknown(const std::string& text) const {
    std::vector<std::string> names, others;
    for (auto& in : g_.inputs) names.push_back(name_text(in->name));
    for (size_t k = 0; k < g_.outputs.size(); ++k) others.push_back(name_text(output_name(g_, k)));
    Error e = usage("--state " + text + " is not IN=OUT of an input and an output, nor auto");
    return e.with_hint("inputs: " + join(names, ", ") + "; outputs: " + join(others, ", ")), e;
  }

  // All pairs that nobody has named; with `take` they become states.
  std::vector<std::string> find(bool take) {
    std::vector<std::string> found;
    for (size_t k = 0; k < g_.outputs.size(); ++k) {
      Growth growth = growth_of(g_.outputs[k]);
      std::string output = output_name(g_, k);
      auto is_end = [&](const State& s) { return growth.from->name == s.input || output == s.output; };
      if (!growth.from || std::any_of(m_.states.begin(), m_.states.end(), is_end)) continue;
      const std::string& input = growth.from->name;
      if (growth.axis >= 0 && !growth.from->type.dim(growth.axis).is_symbol()) continue;
      if (std::find(found.begin(), found.end(), input) != found.end()) continue;
      if (take && growth.axis < 0) add({input, input, output, g_.name, State::Kind::overwrite, 0, {}, {}});
      if (take && growth.axis >= 0 && !add_growing(*growth.from, output, growth.axis).ok()) continue;
      found.push_back(input);
    }
    return found;
  }

  Status add_growing(const Value& in, const std::string& output, int axis) {
    const Dim& length = in.type.dim(axis);
    auto wrong = [&](const std::string& what) {
      Error e = usage("--state " + name_text(in.name) + "=" + name_text(output) + ": it grows from nothing along dim " +
                      std::to_string(axis) + ", " + what);
      e.at_tensor(in.name);
      return e.with_hint("give that dim a range from 0 with --shapes, such as 0..2048"), e;
    };
    if (!length.is_symbol()) return wrong("which is " + length.to_string());
    auto known = m_.symbols.find(length.symbol_name());
    SymbolInfo range = known == m_.symbols.end() ? SymbolInfo{} : known->second;
    if (range.lo > 0) return wrong("which is at least " + std::to_string(range.lo));
    State s{in.name, in.name, output, g_.name, State::Kind::append, axis, length, {}};
    for (const State& other : m_.states)
      if (other.kind == State::Kind::append && other.length == length) s.capacity = other.capacity;
    if (s.capacity.is_const()) s.capacity = m_.fresh_symbol(length.symbol_name() + ".room", {1, std::max<int64_t>(range.hi, 1), range.opt});
    add(std::move(s));
    return {};
  }

  void add(State s) { m_.states.push_back(std::move(s)); }

  Module& m_;
  PassContext& cx_;
  Graph& g_;
};

}  // namespace

Result<bool> pass_raise_states(Module& m, PassContext& cx) { return m.main() ? States(m, cx).run() : Result<bool>(false); }

}  // namespace weft

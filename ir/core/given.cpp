#include "ir/core/given.h"

#include "ir/base/text.h"

namespace weft {

std::string GivenSharding::form() const {
  std::string s;
  for (auto& d : dims) s += (s.empty() ? "" : ",") + (d.empty() ? "_" : join(d, "*"));
  return "[" + s + "]" + (whole.empty() ? "" : " whole=[" + join(whole, ",") + "]");
}

std::string Given::to_string() const {
  std::string s;
  if (!mesh.axes.empty()) s += "given " + mesh.to_string() + "\n";
  for (auto& [node, stage] : stages) s += "given stage " + quote(node) + " = " + std::to_string(stage) + "\n";
  for (const GivenSharding& g : shardings)
    s += "given " + quote(g.tensor) + (g.reader.empty() ? "" : " of " + quote(g.reader)) + " : " + g.form() + " by " + quote(g.source) + "\n";
  return s;
}

Status Given::parse(Lexer& lx) {
  if (lx.accept("mesh")) {
    TRY_ASSIGN(mesh, Mesh::parse(lx));
    return mesh.check();
  }
  if (lx.accept("stage")) {
    TRY_ASSIGN(std::string node, lx.quoted());
    TRY(lx.expect("="));
    TRY_ASSIGN(int64_t stage, lx.integer());
    if (stage < 0 || stage >= kMaxStages) return lx.fail("the stage is out of range before");
    stages[node] = static_cast<int>(stage);
    return {};
  }
  GivenSharding g;
  TRY_ASSIGN(g.tensor, lx.quoted());
  if (lx.accept("of")) {
    TRY_ASSIGN(g.reader, lx.quoted());
  }
  TRY(lx.expect(":"));
  TRY_ASSIGN(g.dims, parse_sharded_dims(lx));
  if (lx.accept("whole")) {
    TRY(lx.expect("="));
    TRY(lx.expect("["));
    do {
      TRY_ASSIGN(std::string axis, lx.identifier());
      g.whole.push_back(std::move(axis));
    } while (lx.accept(","));
    TRY(lx.expect("]"));
  }
  TRY(lx.expect("by"));
  TRY_ASSIGN(g.source, lx.quoted());
  shardings.push_back(std::move(g));
  return {};
}

}  // namespace weft

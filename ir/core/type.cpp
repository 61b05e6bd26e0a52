#include "ir/core/type.h"

#include "ir/base/text.h"

namespace weft {

Type Type::tensor(DType t, Shape shape) {
  Type r;
  r.kind = Kind::tensor;
  r.dtype = t;
  r.shape = std::move(shape);
  return r;
}
Type Type::unranked(DType t) {
  Type r = tensor(t, {});
  r.ranked = false;
  return r;
}
static Type wrap(Type::Kind k, Type elem) {
  Type r;
  r.kind = k;
  r.elem = std::make_shared<const Type>(std::move(elem));
  return r;
}
Type Type::sequence(Type elem) { return wrap(Kind::sequence, std::move(elem)); }
Type Type::optional(Type elem) { return wrap(Kind::optional, std::move(elem)); }
Type Type::map(DType key, Type value) {
  Type r = wrap(Kind::map, std::move(value));
  r.key = key;
  return r;
}

bool Type::operator==(const Type& o) const {
  if (kind != o.kind) return false;
  switch (kind) {
    case Kind::none: return true;
    case Kind::tensor: return dtype == o.dtype && ranked == o.ranked && shape == o.shape && layout == o.layout;
    case Kind::map:
      if (key != o.key) return false;
      [[fallthrough]];
    default: return *elem == *o.elem;
  }
}

std::string Type::to_string() const {
  switch (kind) {
    case Kind::none: return "none";
    case Kind::sequence: return "seq(" + elem->to_string() + ")";
    case Kind::optional: return "opt(" + elem->to_string() + ")";
    case Kind::map: return std::string("map(") + dtype_name(key) + "," + elem->to_string() + ")";
    case Kind::tensor: break;
  }
  std::string s = dtype_name(dtype);
  s += ranked ? "[" + shape_text(shape) + "]" : "[..]";
  if (!layout.is_any()) s += "{" + layout.to_string() + "}";
  return s;
}

static Result<Type> parse_nested(Lexer& lx, int depth) {
  if (depth > 16) return lx.fail("type nested too deeply");
  TRY_ASSIGN(std::string head, lx.identifier());
  if (head == "none") return Type();
  if (head == "seq" || head == "opt") {
    TRY(lx.expect("("));
    TRY_ASSIGN(Type e, parse_nested(lx, depth + 1));
    TRY(lx.expect(")"));
    return head == "seq" ? Type::sequence(std::move(e)) : Type::optional(std::move(e));
  }
  if (head == "map") {
    TRY(lx.expect("("));
    TRY_ASSIGN(std::string key, lx.identifier());
    auto k = dtype_from_name(key);
    if (!k) return lx.fail("unknown map key type `" + key + "`");
    TRY(lx.expect(","));
    TRY_ASSIGN(Type e, parse_nested(lx, depth + 1));
    TRY(lx.expect(")"));
    return Type::map(*k, std::move(e));
  }
  auto t = dtype_from_name(head);
  if (!t) return lx.fail("unknown type `" + head + "`");
  TRY(lx.expect("["));
  Type r = Type::tensor(*t, {});
  if (lx.accept("..")) {
    r.ranked = false;
  } else {
    while (!lx.at("]")) {
      TRY_ASSIGN(Dim d, parse_dim(lx));
      r.shape.push_back(std::move(d));
      if (r.shape.size() > 64) return lx.fail("rank above 64");
      if (!lx.accept(",")) break;
    }
  }
  TRY(lx.expect("]"));
  if (lx.accept("{")) {
    TRY_ASSIGN(r.layout, Layout::parse(lx));
    TRY(lx.expect("}"));
  }
  return r;
}
Result<Type> Type::parse(Lexer& lx) { return parse_nested(lx, 0); }

}  // namespace weft

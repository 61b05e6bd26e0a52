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

static std::string type_text(const Type& t, bool layouts) {
  auto inside = [&] { return type_text(*t.elem, layouts) + ")"; };
  switch (t.kind) {
    case Type::Kind::none: return "none";
    case Type::Kind::sequence: return "seq(" + inside();
    case Type::Kind::optional: return "opt(" + inside();
    case Type::Kind::map: return std::string("map(") + dtype_name(t.key) + "," + inside();
    case Type::Kind::tensor: break;
  }
  std::string s = dtype_name(t.dtype);
  s += t.ranked ? "[" + shape_text(t.shape) + "]" : "[..]";
  if (layouts && !t.layout.is_any()) s += "{" + t.layout.to_string() + "}";
  return s;
}
std::string Type::to_string() const { return type_text(*this, true); }
std::string Type::describe() const { return type_text(*this, false); }

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

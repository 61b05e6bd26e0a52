// Type: dtype, logical shape and layout of a tensor; or a sequence, optional or map of types. A plain value.
#pragma once

#include <memory>
#include <string>

#include "ir/base/dim.h"
#include "ir/base/dtype.h"
#include "ir/base/layout.h"

namespace weft {

struct Type {
  enum class Kind : uint8_t { none, tensor, sequence, optional, map };
  Kind kind = Kind::none;  // none: not inferred yet
  DType dtype = DType::f32;
  bool ranked = true;      // false: any shape (some control flow and sequence results)
  Shape shape;
  Layout layout;
  std::shared_ptr<const Type> elem;  // sequence, optional, map value
  DType key = DType::i64;            // map

  static Type tensor(DType t, Shape shape);
  static Type unranked(DType t);
  static Type sequence(Type elem);
  static Type optional(Type elem);
  static Type map(DType key, Type value);

  bool is_tensor() const { return kind == Kind::tensor; }
  bool is_ranked() const { return kind == Kind::tensor && ranked; }
  int rank() const { return static_cast<int>(shape.size()); }
  const Dim& dim(int i) const { return shape[i < 0 ? i + rank() : i]; }
  bool operator==(const Type& o) const;
  // f32[batch,3,224,224] · f32[2,64]{blocked(1:16)} · i64[] · f32[..] · seq(f32[?]) · opt(…) · map(i64,f32[])
  std::string to_string() const;
  // As a user knows it: without layouts.
  std::string describe() const;
  static Result<Type> parse(Lexer& lx);
};

}  // namespace weft

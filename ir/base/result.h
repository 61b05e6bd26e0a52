// Short ways to make an Error and to pass one on; the types themselves are in error.h, which the public API shares.
#pragma once

#include "ir/base/error.h"

namespace weft {

inline Error error(Code code, std::string message) {
  Error e;
  e.code = code;
  e.message = std::move(message);
  return e;
}
inline Error invalid(std::string message) { return error(Code::kInvalidModel, std::move(message)); }
inline Error unsupported(std::string message) { return error(Code::kUnsupported, std::move(message)); }
inline Error resources(std::string message) { return error(Code::kResources, std::move(message)); }
inline Error usage(std::string message) { return error(Code::kUsage, std::move(message)); }

#define WEFT_CONCAT_(a, b) a##b
#define WEFT_CONCAT(a, b) WEFT_CONCAT_(a, b)
// TRY(expr): passes an Error on. TRY_ASSIGN(decl, expr): the same, and binds the value.
#define TRY(expr)                                         \
  do {                                                    \
    auto&& try_result_ = (expr);                          \
    if (!try_result_.ok()) return std::move(try_result_.error()); \
  } while (0)
#define TRY_ASSIGN_(tmp, decl, expr)               \
  auto tmp = (expr);                               \
  if (!tmp.ok()) return std::move(tmp.error());    \
  decl = std::move(tmp).value()
#define TRY_ASSIGN(decl, expr) TRY_ASSIGN_(WEFT_CONCAT(try_tmp_, __LINE__), decl, expr)

}  // namespace weft

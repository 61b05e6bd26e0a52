// Result<T>: a value or an Error that travels to the user. An Error is the user's problem (a bad model, a missing
// file, an unsupported attribute); our own bugs stop at a CHECK instead (check.h). Part of the public API.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace weft {

// The numbers are the exit codes of the command line and never change.
enum class Code : int {
  kOk = 0,
  kCheckFailed = 1,    // a comparison or verification found a difference
  kUsage = 2,          // wrong options or arguments
  kInvalidModel = 3,   // the model or text breaks its own rules
  kUnsupported = 4,    // valid, but this build or target cannot do it
  kResources = 5,      // memory, disk, a limit or budget
  kDevice = 6,         // driver or device fault
  kCancelled = 7,
};

const char* code_name(Code code);

struct Error {
  Code code = Code::kInvalidModel;
  std::string message;  // what was wrong
  std::string node;     // ONNX node or op, if known
  std::string tensor;   // tensor or value name, if known
  std::string hint;     // what to do
  // Byte offset in the input file or text, -1 when it has none.
  long long offset = -1;

  // Fills only what is still empty, so that the innermost place wins.
  Error& at_node(std::string name);
  Error& at_tensor(std::string name);
  Error& with_hint(std::string text);
  Error& prefix(const std::string& text);
  // One line per known fact.
  std::string to_string() const;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : v_(std::in_place_index<0>, std::move(value)) {}
  Result(Error e) : v_(std::in_place_index<1>, std::move(e)) {}
  bool ok() const { return v_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return std::get<0>(v_); }
  const T& value() const& { return std::get<0>(v_); }
  T&& value() && { return std::get<0>(std::move(v_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() { return std::get<1>(v_); }
  const Error& error() const { return std::get<1>(v_); }

 private:
  std::variant<T, Error> v_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error e) : e_(std::move(e)) {}
  bool ok() const { return !e_.has_value(); }
  explicit operator bool() const { return ok(); }
  Error& error() { return *e_; }
  const Error& error() const { return *e_; }

 private:
  std::optional<Error> e_;
};

using Status = Result<void>;

}  // namespace weft

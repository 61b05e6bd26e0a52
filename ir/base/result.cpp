#include "ir/base/result.h"

#include <cstdio>
#include <cstdlib>

#include "ir/base/check.h"

namespace weft {

const char* code_name(Code code) {
  switch (code) {
    case Code::kOk: return "ok";
    case Code::kCheckFailed: return "check failed";
    case Code::kUsage: return "usage";
    case Code::kInvalidModel: return "invalid model";
    case Code::kUnsupported: return "unsupported";
    case Code::kResources: return "resources";
    case Code::kDevice: return "device";
    case Code::kCancelled: return "cancelled";
  }
  return "unknown";
}

Error& Error::at_node(std::string name) {
  if (node.empty()) node = std::move(name);
  return *this;
}
Error& Error::at_tensor(std::string name) {
  if (tensor.empty()) tensor = std::move(name);
  return *this;
}
Error& Error::with_hint(std::string text) {
  if (hint.empty()) hint = std::move(text);
  return *this;
}
Error& Error::prefix(const std::string& text) {
  message = text + message;
  return *this;
}

std::string Error::to_string() const {
  std::string s = std::string(code_name(code)) + ": " + message;
  if (!node.empty()) s += "\n  node: " + node;
  if (!tensor.empty()) s += "\n  tensor: " + tensor;
  if (offset >= 0) s += "\n  offset: " + std::to_string(offset);
  if (!hint.empty()) s += "\n  hint: " + hint;
  return s;
}

static thread_local CrashHook crash_hook = nullptr;

CrashHook set_crash_hook(CrashHook hook) {
  CrashHook old = crash_hook;
  crash_hook = hook;
  return old;
}

void check_failed(const char* file, int line, const char* what) {
  std::string text = std::string("weft: internal error: ") + file + ":" + std::to_string(line) + ": CHECK(" + what + ")";
  std::fprintf(stderr, "%s\n", text.c_str());
  if (CrashHook hook = std::exchange(crash_hook, nullptr)) hook(text.c_str());
  std::abort();
}

}  // namespace weft

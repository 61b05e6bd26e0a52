#include "frontend/api/target_choice.h"

#include "codegen/cuda/nvrtc.h"
#include "runtime/cuda/device.h"

namespace weft::api {

Result<Target> choose_target(const std::string& text, int device, std::string* note) {
  const bool any = text == "auto";
  if (!any && text != "cuda") return parse_target(text);
  auto devices = cuda_devices();
  if (devices.ok() && device >= 0 && static_cast<size_t>(device) < devices->size()) {
    auto compiler = nvrtc();
    if (!any || compiler.ok()) return (*devices)[static_cast<size_t>(device)].target();
    if (note) *note = "there is a GPU, but no compiler for it: " + compiler.error().message + "; " + compiler.error().hint;
  }
  if (any) return parse_target("cpu");
  if (!devices.ok()) return std::move(devices.error());
  return usage("there is no GPU " + std::to_string(device) + "; the driver lists " + std::to_string(devices->size()));
}

}  // namespace weft::api

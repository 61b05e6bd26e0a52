// Machine's collectives: on a device queued, where its ranks can; else blocking, on host memory, through which passes what
// lies on a device.
#include "runtime/executor/machine.h"

namespace weft {

Status Machine::collective(const Step& s) {
  const CollectiveCode& code = program_.collectives[s.item];
  Collective& call = collectives_[s.item];
  call.turn = turn_;
  StridedRef in{}, out{};
  if (code.in >= 0) {
    TRY_ASSIGN(in, locate(code.in));
  }
  if (code.out >= 0) {
    TRY_ASSIGN(out, locate(code.out));
  }
  const StridedRef& known = code.in >= 0 ? in : out;
  TRY(call.set_extents(std::span(known.dims, static_cast<size_t>(known.rank)), code.dim, code.join, code.group->size()));
  TRY_ASSIGN(CollectiveBytes bytes, collective_bytes(call, code.group->size()));
  auto fits = [](const StridedRef& r, int64_t bytes) {
    int64_t dense[kMaxStridedRank], lo = 0, hi = 0;
    bool touches = strided_extent(r.dtype, r.rank, r.dims, r.strides, &lo, &hi);
    return plan_dense_strides(r.dtype, r.rank, r.dims, dense) && same_strides(r.rank, r.dims, r.strides, dense) && (touches ? hi - lo : 0) == bytes;
  };
  if ((code.in >= 0 && !fits(in, bytes.in)) || (code.out >= 0 && (out.dtype != known.dtype || !fits(out, bytes.out))))
    return invalid(std::string(collective_name(call.kind)) + ": its tensors are not dense, or of other sizes");
  if (!queue_) return code.group->run(call, in.data, out.data);
  if (code.on_device) return code.on_device->run(call, in.data, out.data, *queue_);
  TRY(sent_.reserve(bytes.in));
  TRY(received_.reserve(bytes.out));
  if (bytes.in) TRY(queue_->download(sent_.data(), in.data, bytes.in));
  TRY(code.group->run(call, sent_.data(), received_.data()));
  return bytes.out ? queue_->upload(out.data, received_.data(), bytes.out) : Status{};
}

}  // namespace weft

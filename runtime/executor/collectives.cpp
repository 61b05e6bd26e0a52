// Machine's collectives and streams. Collectives: on a device queued, where its ranks can; else blocking, on host memory, through
// which passes what lies on a device. Streams: a device has a queue for each of two, and one for collectives beside them.
#include <algorithm>

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
  if (code.on_device) return collective_on_device(code, call, in.data, out.data, queue_of(s));
  TRY(sent_.reserve(bytes.in));
  TRY(received_.reserve(bytes.out));
  if (bytes.in) TRY(queue_->download(sent_.data(), in.data, bytes.in));
  TRY(code.group->run(call, sent_.data(), received_.data()));
  return bytes.out ? queue_->upload(out.data, received_.data(), bytes.out) : Status{};
}

// All of them go through one queue, so that every rank's device runs them in the plan's order.
Status Machine::collective_on_device(const CollectiveCode& code, const Collective& call, const std::byte* in, std::byte* out, DeviceQueue& queue) {
  if (!beside_) return code.on_device->run(call, in, out, queue);
  TRY(beside_->begin_after(queue.stream()));
  TRY(code.on_device->run(call, in, out, *beside_));
  if (code.event < 0 || in_turn_) return beside_->end_before(queue.stream());
  beside_now_[static_cast<size_t>(code.event)] = 1;
  return beside_->note(code.event);
}

Status Machine::wait_collective(int event, DeviceQueue& queue) {
  const auto e = static_cast<size_t>(event);
  return e < beside_now_.size() && beside_now_[e] ? queue.begin_after_note(*beside_, event) : Status{};
}

Status Machine::record(const Step& s) {
  if (!second_ || in_turn_) return {};
  DeviceQueue& queue = queue_of(s);
  recorded_[static_cast<size_t>(s.slot)] = &queue;
  return queue.note(s.slot);
}

Status Machine::wait(const Step& s) {
  DeviceQueue* other = static_cast<size_t>(s.slot) < recorded_.size() ? recorded_[static_cast<size_t>(s.slot)] : nullptr;
  DeviceQueue& queue = queue_of(s);
  return other && other != &queue ? queue.begin_after_note(*other, s.slot) : Status{};
}

// What the other queues get from now on begins behind all that the first one has.
Status Machine::part_streams() { return second_ ? second_->begin_after(queue_->stream()) : Status{}; }

// What the first queue gets from now on begins behind all that the others have.
Status Machine::join_streams() {
  for (size_t e = 0; e < beside_now_.size(); ++e) {
    TRY(wait_collective(static_cast<int>(e), *queue_));
    beside_now_[e] = 0;
  }
  std::fill(recorded_.begin(), recorded_.end(), nullptr);
  return second_ ? second_->end_before(queue_->stream()) : Status{};
}

}  // namespace weft

// What every transport is held against: collectives computed plainly, element by element, from the operands of all ranks,
// which every rank can make for itself.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "ir/base/result.h"
#include "runtime/comm/communicator.h"

namespace weft::multi_test {

using Bytes = std::vector<uint8_t>;

// A collective in terms of tensors: the dims of each rank's operand and the axes.
struct Case {
  CollectiveKind kind = CollectiveKind::all_reduce;
  DType dtype = DType::f32;
  CommReduction reduction = CommReduction::sum;
  std::vector<int64_t> dims;
  int64_t dim = 0, join = 0, root = 0;
  std::vector<int64_t> pairs;
  std::string to_string() const;
};

// Small values of every kind that the type has, a function of the rank and the seed.
Bytes operand(const Case& c, int rank, int seed);
Bytes expected(const Case& c, int rank, int n, int seed);

// Runs it and compares. Error kCheckFailed for a difference.
Status check_case(Communicator& comm, const Case& c, int seed, bool in_place);
// Every collective, reductions over every dtype, every axis; large ones that take several pieces; groups; send and recv.
Status check_all(Communicator& comm);

// One all_reduce of `elements` f32.
Status reduce_some(Communicator& c, const std::string& label = "", int64_t elements = 100);
std::string text(const Status& s);  // "ok", or the Error

// f(communicator) on a thread for each rank; what each returned.
std::vector<Status> on_threads(std::vector<std::unique_ptr<Communicator>>& ranks, const std::function<Status(Communicator&)>& f);

}  // namespace weft::multi_test

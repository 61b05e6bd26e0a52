// The filled light models notice a wrong weight: two channels of one convolution change places.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "frontend/onnx/import.h"
#include "tests/models/model_case.h"

namespace weft::model_test {

namespace {

std::vector<char> read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The largest weight of a 3x3 convolution, which the importer leaves in the file. (Two channels of the last, 1x1, one are
// two classes among a thousand that all but never occur.)
const Constant* largest_filter(const Module& m) {
  const Constant* best = nullptr;
  for (int i = 0; i < m.constants.size(); ++i) {
    const Constant& c = m.constants[i];
    if (c.dims.size() == 4 && c.dims[2] == 3 && c.source == Constant::Source::file && (!best || c.size > best->size)) best = &c;
  }
  return best;
}

TEST(WrongWeights, TwoSwappedChannelsAreNoticed) {
  const std::string folder = prepared("fill_light") + "/light_squeezenet", path = folder + "/model.onnx";
  Result<std::unique_ptr<Module>> module = import_onnx_file(path);
  ASSERT_TRUE(module.ok()) << module.error().to_string();
  const Constant* filter = largest_filter(**module);
  ASSERT_NE(filter, nullptr);

  std::vector<char> bytes = read_bytes(path);
  const size_t channel = filter->size / filter->dims[0];
  char* first = bytes.data() + filter->offset;
  std::swap_ranges(first, first + channel, first + channel);

  Result<Executable> exe = compile(std::as_bytes(std::span(bytes)));
  ASSERT_TRUE(exe.ok()) << exe.error().to_string();
  Model m = runnable(*exe);
  Result<std::vector<DataSet>> sets = read_sets(folder, m);
  ASSERT_TRUE(sets.ok()) << sets.error().to_string();
  Result<NamedTensors> out = m.run((*sets)[0].inputs);
  ASSERT_TRUE(out.ok()) << out.error().to_string();
  EXPECT_GT(worst_error(*sets, {*out}), 1e-3);
}

}  // namespace

}  // namespace weft::model_test

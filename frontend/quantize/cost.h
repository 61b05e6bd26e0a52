// What a layer costs in a format: bytes of its weights, and a run's time as a device table says.
#pragma once

#include "frontend/quantize/formats.h"
#include "passes/shard/device_table.h"

namespace weft::quantize {

// Of one run.
struct Traffic {
  double positions = 1;       // products of the weight matrix with a vector
  double inputs = 0, outputs = 0;  // elements
};
// By layer, for inputs of these dims. Where the model's types do not say, one position.
Result<std::vector<Traffic>> traffic_of(const EditableModel& model, const std::vector<Layer>& layers, const std::map<std::string, std::string>& shapes);

int64_t weight_bytes(const Layer& l, const Format* f, int64_t block);  // null: float
// The larger of computing and moving, as the planner prices an op.
double layer_seconds(const Layer& l, const Traffic& t, const Format* f, int64_t bytes, const DeviceTable& table);

}  // namespace weft::quantize

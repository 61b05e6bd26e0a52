// Calibration data of a folder. A sample is one set of inputs:
//   test_data_set_N/input_0.pb, …   ONNX's layout, by the inputs' order; also input_0.pb, … in the folder itself
//   *.npz                            arrays by the inputs' names
//   *.npy                            for a model with one input
// Files hold many rows where they may: they are cut along dim 0 into the model's batch, or, where that is open, into `batch` rows.
// An array that lacks the input's dim 0 is one row. `labels.npy`, or an array `labels` beside the inputs of a .npz: the right class of each row.
// Files are read one at a time, in the order of their names.
#pragma once

#include "tools/weft/cli.h"
#include "weft/quantize.h"

namespace weft::cli {

// Error kUsage for a folder without samples, or whose files do not fit the inputs.
Result<api::CalibrationData> open_calibration(const std::string& folder, const std::vector<api::PortInfo>& inputs, int64_t batch);

}  // namespace weft::cli

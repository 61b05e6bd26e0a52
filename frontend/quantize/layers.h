// The layers that can be quantised: products of matrices and convolutions of the main graph, of float32, whose second
// operand is a constant. Each layer's weights are seen as a matrix, a row for each output channel, whatever the operator's layout.
#pragma once

#include "frontend/onnx/editable.h"

namespace weft::quantize {

struct Layer {
  int node = 0;                      // of the model
  std::string label, op;             // op: MatMul, Gemm, Conv, ConvTranspose
  std::string input, weight, output;
  std::vector<int64_t> dims;         // of the weight
  // Where the weight's output channels lie, and what is summed. Columns: all other axes, in the order of the weight's.
  int row_axis = 0, column_axis = 1;
  int64_t rows = 0, columns = 0;
  int64_t groups = 1;                // of a convolution
  // A constant that is added per output channel: input `bias_input` of node `bias_node`; -1: none. Where it may be added: the layer
  // itself takes a bias, and has none.
  int bias_node = -1, bias_input = 0;
  bool takes_bias = false;

  bool conv() const { return op == "Conv"; }
  // Whether a column is a channel of the input: then blocks of columns are blocks along the weight's axis.
  bool plain() const { return dims.size() == 2; }
};

// notes: nodes that might have been layers, and why they are none.
Result<std::vector<Layer>> find_layers(const EditableModel& model, std::vector<std::string>* notes);

// A dense matrix, row by row.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<float> values;
  float* row(int64_t r) { return values.data() + r * columns; }
  const float* row(int64_t r) const { return values.data() + r * columns; }
};

// Between the weight's own order of elements and rows. to_layout takes any values of the matrix's size.
std::vector<float> to_rows(const Layer& l, const std::vector<float>& weight);
std::vector<float> to_layout(const Layer& l, const std::vector<float>& rows);
Result<Matrix> read_weight(const EditableModel& model, const Layer& l);
Result<std::vector<float>> read_floats(const EditableModel& model, const std::string& constant);
Tensor float_tensor(const std::vector<float>& values, std::vector<int64_t> dims);

}  // namespace weft::quantize

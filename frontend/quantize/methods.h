// What makes quantised layers better. Those that take a model change it so that it computes the same, but for rounding; layers have to be
// looked for anew afterwards.
#pragma once

#include "frontend/quantize/formats.h"
#include "frontend/quantize/moments.h"

namespace weft::quantize {

// Batch normalisations behind layers become part of their weights and biases.
Status fold_normalisations(EditableModel& model);

// Layers that take a bias and have none get one of zeros.
void add_biases(EditableModel& model, const std::vector<Layer>& layers);

// Cross-layer equalisation (Nagel et al., Data-free quantization through weight equalization and bias correction, 2019): between two layers
// with nothing but ReLU, pooling and the like between them, each channel is scaled so that its weights' largest magnitudes in both are equal.
Status equalize(EditableModel& model);

// Channels of layers' inputs are divided by factors that their weights are multiplied with. The division becomes part of a normalisation in
// front, where there is one, else a Mul.
//   smooth: largest |x| ^ 0.5 / largest |w| ^ 0.5 (Xiao et al., SmoothQuant, 2023)
//   awq: mean |x| ^ a, the a of 0, 0.05, …, 1 with the least expected squared error of the outputs when weights are rounded to the format,
//   inputs taken to be uncorrelated about their means (after Lin et al., AWQ, 2024)
Status smooth(EditableModel& model, const std::vector<Layer>& layers, const std::vector<Moments>& moments);
Status scale_for_weights(EditableModel& model, const std::vector<Layer>& layers, const std::vector<Moments>& moments, const Format& format);

// Rounds column by column and makes up for each column's error in those that are left, by the inverse of the inputs' second moments
// (Frantar et al., GPTQ, 2023). Takes about columns^3 + rows * columns^2 operations.
Codes round_by_second_moments(const Matrix& w, DType type, int64_t block, const Moments& moments);

// The bias plus what the rounded weights lack in the mean (Nagel et al., 2019).
std::vector<float> corrected_bias(const Layer& l, const std::vector<float>& bias, const Matrix& w, const Codes& codes, const Moments& moments);

}  // namespace weft::quantize

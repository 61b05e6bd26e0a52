// Attributes of Fourier transforms, windows and the image decoder. Names and defaults are ONNX's newest opset.
#pragma once

#include "ir/core/op_def.h"

namespace weft {

// dft(x[..., 1 or 2], dft_length?, axis?) -> y. The last dim holds real and imaginary parts (1: real alone); axis is -2 when
// absent. dft_length (a scalar) cuts or zero-fills along the axis; absent: its dim, or 2 * (dim - 1) for the inverse of a
// one-sided spectrum. onesided: n/2 + 1 results of a real input; with inverse: n real results, last dim 1. The inverse is
// divided by n.
struct DftAttrs : AttrsOf<DftAttrs> {
  bool inverse = false, onesided = false;
  void fields(FieldVisitor& v) {
    v.field("inverse", inverse);
    v.field("onesided", onesided);
  }
};

// The transform's axis (null unless constant) and length (null unless known).
Result<std::optional<int>> dft_axis(const Op& op);
std::optional<Dim> dft_length(const Op& op, int axis);

// stft(signal[B, length(, 1 or 2)], frame_step, window?, frame_length?) -> [B, frames, bins, 2]
// frame_length: the window's length when absent; frames = 1 + (length - frame_length) / frame_step. A window shorter than
// the frame cuts each frame to its length.
struct StftAttrs : AttrsOf<StftAttrs> {
  bool onesided = true;
  void fields(FieldVisitor& v) { v.field("onesided", onesided); }
};

// The length of a frame and the step between frames; null unless known.
std::optional<Dim> stft_length(const Op& op);
std::optional<Dim> stft_step(const Op& op);

// hann_window, hamming_window, blackman_window(size) -> [size]. periodic: the period is size, else size - 1.
struct SignalWindowAttrs : AttrsOf<SignalWindowAttrs> {
  DType output_datatype = DType::f32;
  bool periodic = true;
  void fields(FieldVisitor& v) {
    v.field("output_datatype", output_datatype);
    v.field("periodic", periodic);
  }
};

// mel_weight_matrix(num_mel_bins, dft_length, sample_rate, lower_edge_hertz, upper_edge_hertz; all scalars)
//   -> [dft_length / 2 + 1, num_mel_bins]
struct MelAttrs : AttrsOf<MelAttrs> {
  DType output_datatype = DType::f32;
  void fields(FieldVisitor& v) { v.field("output_datatype", output_datatype); }
};

// image_decoder(bytes: u8[n]) -> u8[height, width, channels]
struct ImageDecoderAttrs : AttrsOf<ImageDecoderAttrs> {
  std::string pixel_format = "RGB";  // RGB, BGR, Grayscale
  void fields(FieldVisitor& v) { v.field("pixel_format", pixel_format); }
};

}  // namespace weft

// NumPy's files: .npy (one array) and .npz (a zip of them, stored or deflated). Read: versions 1 to 3, either byte order,
// Fortran order, strings (U and S); nothing that needs pickle. Sizes are compared with the file before memory is taken.
// Types that NumPy lacks: bf16 is written as V2 (as ml_dtypes does), fp8 and f4e2m1 as V1, int4 and the like one element a
// byte; they are read back where the caller expects them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "weft/tensor.h"

namespace weft::cli {

using api::Tensor;

// `expected`: what the elements shall be where the file cannot say it (V1, V2, int4 in a byte).
Result<Tensor> parse_npy(std::span<const std::byte> bytes, std::optional<DType> expected);
Result<Tensor> read_npy(const std::string& path, std::optional<DType> expected);
Status write_npy(const std::string& path, const Tensor& t);

// The array `name` of a .npz; an empty name: the only one there is. Error kUsage listing the arrays if there is none.
Result<Tensor> read_npz(const std::string& path, const std::string& name, std::optional<DType> expected);
// Stored, as numpy.savez writes it.
struct NpzItem {
  std::string name;
  Tensor tensor;
};
Status write_npz(const std::string& path, const std::vector<NpzItem>& items);

// Bytes of an .npy file.
Result<std::string> npy_bytes(const Tensor& t);

// Writes a whole file. Error kResources.
Status write_file(const std::string& path, std::string_view bytes);

}  // namespace weft::cli

// Reads a line of text from a picture: a PNG in, the text and the network's confidence out.
//
//   weft compile ch_PP-OCRv4_rec_infer.onnx -o ocr.weft
//   ocr ocr.weft PICTURE.png
//
// Needs weft's runtime alone. The model is a recogniser of PP-OCR, which maps pictures of height 48 to scores [steps, classes] for CTC decoding; its
// alphabet is the metadata entry "character". Exit code 1 when something fails, 2 for wrong arguments.
#include <png.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <weft/executable.h>

namespace {

using namespace weft::api;

struct Picture {
  int width = 0, height = 0;
  std::vector<unsigned char> bgr;  // the network was trained on this order
};

bool read_png(const char* path, Picture& picture) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_file(&image, path)) return std::fprintf(stderr, "%s: %s\n", path, image.message), false;
  image.format = PNG_FORMAT_BGR;
  picture = {static_cast<int>(image.width), static_cast<int>(image.height), {}};
  picture.bgr.resize(PNG_IMAGE_SIZE(image));
  const png_color white = {255, 255, 255};  // behind transparent pixels
  if (png_image_finish_read(&image, &white, picture.bgr.data(), 0, nullptr)) return true;
  return std::fprintf(stderr, "%s: %s\n", path, image.message), false;
}

// Scaled to the network's height (bilinear), planes [3, 48, width], values in [-1, 1].
std::vector<float> prepare(const Picture& p, int height, int width) {
  std::vector<float> planes(size_t{3} * height * width);
  auto split = [](int i, int out, int in, int& low, int& high) {
    float at = std::clamp((i + 0.5f) * in / out - 0.5f, 0.0f, in - 1.0f);
    low = static_cast<int>(at);
    high = std::min(low + 1, in - 1);
    return at - low;
  };
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      int y0, y1, x0, x1;
      float fy = split(y, height, p.height, y0, y1), fx = split(x, width, p.width, x0, x1);
      for (int c = 0; c < 3; ++c) {
        auto at = [&](int row, int column) { return float(p.bgr[(size_t(row) * p.width + column) * 3 + c]); };
        float top = at(y0, x0) + fx * (at(y0, x1) - at(y0, x0)), bottom = at(y1, x0) + fx * (at(y1, x1) - at(y1, x0));
        planes[(size_t(c) * height + y) * width + x] = ((top + fy * (bottom - top)) / 255 - 0.5f) / 0.5f;
      }
    }
  return planes;
}

// Class 0 is the blank, then come the alphabet's lines, and a space at the end.
std::vector<std::string> classes(const std::string& alphabet) {
  std::vector<std::string> out = {""};
  for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    end = alphabet.find('\n', begin);
    out.push_back(alphabet.substr(begin, end - begin));
  }
  out.push_back(" ");
  return out;
}

// The best class of every step; repeated ones and blanks are left out.
void decode(const Tensor& scores, const std::vector<std::string>& names, std::string& text, double& confidence) {
  const float* row = scores.data_as<const float>();
  const int64_t steps = scores.dims()[1], count = scores.dims()[2];
  int64_t last = 0, letters = 0;
  for (int64_t i = 0; i < steps; ++i, row += count) {
    int64_t best = std::max_element(row, row + count) - row;
    if (best != 0 && best != last) text += names[best], confidence += row[best], ++letters;
    last = best;
  }
  if (letters) confidence /= letters;
}

int fail(const weft::Error& e) { return std::fprintf(stderr, "%s\n", e.to_string().c_str()), 1; }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: ocr MODEL.weft PICTURE.png\n"), 2;
  Picture picture;
  if (!read_png(argv[2], picture)) return 1;
  const int height = 48, width = std::max(8, static_cast<int>(std::lround(double(height) * picture.width / picture.height)));
  std::vector<float> pixels = prepare(picture, height, width);

  auto exe = Executable::load(argv[1]);
  if (!exe.ok()) return fail(exe.error());
  std::vector<std::string> names = classes(exe->metadata().count("character") ? exe->metadata().at("character") : "");
  Context context = exe->context();
  const NamedTensors inputs = {{exe->inputs()[0].name, Tensor::view(pixels.data(), {1, 3, height, width})}};

  std::vector<double> ms;
  auto out = context.run(inputs);
  for (int i = 0; i < 20 && out.ok(); ++i) {
    auto begin = std::chrono::steady_clock::now();
    out = context.run(inputs);
    ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  if (!out.ok()) return fail(out.error());
  const Tensor& scores = out->begin()->tensor;
  if (scores.rank() != 3 || scores.dtype() != weft::DType::f32 || scores.dims()[2] != static_cast<int64_t>(names.size()))
    return std::fprintf(stderr, "%s gives %s, and its alphabet has %zu classes: not a PP-OCR recogniser\n", argv[1],
               scores.describe().c_str(), names.size()),
           1;

  std::string text;
  double confidence = 0;
  decode(scores, names, text, confidence);
  std::nth_element(ms.begin(), ms.begin() + ms.size() / 2, ms.end());
  std::printf("text: %s\nconfidence: %.4f\n", text.c_str(), confidence);
  std::printf("input: 1x3x%dx%d\nlatency_ms: %.3f\nthreads: %d\n", height, width, ms[ms.size() / 2], exe->threads());
}

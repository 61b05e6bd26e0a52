// Texts that the build makes part of the library: weft_embed_texts in CMakeLists.txt.
#pragma once

namespace weft {

struct EmbeddedText {
  const char* name;  // path below the folder
  const char* text;
  unsigned long size;
};

// Each sorted by name.
extern const EmbeddedText kEmbeddedKernels[];  // kernels/
extern const unsigned long kEmbeddedKernelsCount;
extern const EmbeddedText kEmbeddedTables[];  // tools/tables/
extern const unsigned long kEmbeddedTablesCount;

}  // namespace weft

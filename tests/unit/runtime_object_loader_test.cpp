// The loader on objects built by hand (every refusal, and code that runs), on what the system's C compiler makes (if there
// is one), and on every truncation and single-bit flip of such an object.
#include "runtime/cpu/object_loader.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

namespace weft::object_loader_test {
namespace {

using Bytes = std::vector<std::byte>;

// An exact-size heap copy, so that a read past the end is seen by ASan.
Result<std::shared_ptr<const LoadedObject>> load(const Bytes& b) {
  std::unique_ptr<std::byte[]> copy(new std::byte[b.size()]);
  std::copy(b.begin(), b.end(), copy.get());
  return LoadedObject::load({copy.get(), b.size()});
}

struct ElfSection {
  std::string name;
  uint32_t type = SHT_PROGBITS;
  uint64_t flags = SHF_ALLOC;
  Bytes data;
  uint64_t align = 16;
  std::vector<Elf64_Rela> relocations;
};
struct ElfSymbol {
  std::string name;
  uint16_t section = 0;  // 1-based number of the section in Elf::sections
  uint64_t value = 0;
  unsigned char info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
};

Bytes code(std::initializer_list<int> v) {
  Bytes b;
  for (int x : v) b.push_back(static_cast<std::byte>(x));
  return b;
}
Elf64_Rela rela(uint64_t offset, uint32_t symbol, uint32_t type, int64_t addend) {
  return {offset, ELF64_R_INFO(uint64_t{symbol}, type), addend};
}

struct Elf {
  std::vector<ElfSection> sections;
  std::vector<ElfSymbol> symbols;  // symbol number i + 1
  std::function<void(Elf64_Ehdr&)> edit_header;
  std::function<void(std::vector<Elf64_Shdr>&)> edit_sections;

  // Layout: header, contents, then sections in the order given, .symtab, .strtab, one .rela per section that has any.
  Bytes build() const {
    Bytes out(sizeof(Elf64_Ehdr));
    std::vector<Elf64_Shdr> table(1);
    std::string names(1, '\0');
    auto add_name = [&](const std::string& s) {
      names += s;
      names += '\0';
      return static_cast<uint32_t>(names.size() - s.size() - 1);
    };
    auto add = [&](const std::string& name, uint32_t type, uint64_t flags, const void* data, size_t size,
                   uint64_t align, uint64_t entsize) -> Elf64_Shdr& {
      Elf64_Shdr h{};
      h.sh_name = add_name(name);
      h.sh_type = type;
      h.sh_flags = flags;
      h.sh_offset = out.size();
      h.sh_size = size;
      h.sh_addralign = align;
      h.sh_entsize = entsize;
      if (type != SHT_NOBITS && size > 0) {
        const std::byte* p = static_cast<const std::byte*>(data);
        out.insert(out.end(), p, p + size);
      }
      table.push_back(h);
      return table.back();
    };
    for (const ElfSection& s : sections) add(s.name, s.type, s.flags, s.data.data(), s.data.size(), s.align, 0);
    std::vector<Elf64_Sym> syms(1);
    for (const ElfSymbol& s : symbols) syms.push_back({add_name(s.name), s.info, 0, s.section, s.value, 0});
    const uint32_t symtab = static_cast<uint32_t>(table.size());
    add(".symtab", SHT_SYMTAB, 0, syms.data(), syms.size() * sizeof(Elf64_Sym), 8, sizeof(Elf64_Sym)).sh_link = symtab + 1;
    const uint32_t strtab = static_cast<uint32_t>(table.size());
    table.emplace_back();
    for (size_t i = 0; i < sections.size(); ++i) {
      const auto& r = sections[i].relocations;
      if (r.empty()) continue;
      Elf64_Shdr& h = add(".rela", SHT_RELA, SHF_INFO_LINK, r.data(), r.size() * sizeof r[0], 8, sizeof(Elf64_Rela));
      h.sh_link = symtab;
      h.sh_info = static_cast<uint32_t>(i + 1);
    }
    Elf64_Shdr& strings = table[strtab];
    strings.sh_name = 0;
    strings.sh_type = SHT_STRTAB;
    strings.sh_offset = out.size();
    strings.sh_size = names.size();
    for (char c : names) out.push_back(static_cast<std::byte>(c));
    if (edit_sections) edit_sections(table);
    Elf64_Ehdr e{};
    std::memcpy(e.e_ident, ELFMAG, SELFMAG);
    e.e_ident[EI_CLASS] = ELFCLASS64;
    e.e_ident[EI_DATA] = ELFDATA2LSB;
    e.e_ident[EI_VERSION] = e.e_version = EV_CURRENT;
    e.e_type = ET_REL;
    e.e_machine = EM_X86_64;
    e.e_ehsize = sizeof e;
    e.e_shoff = out.size();
    e.e_shentsize = sizeof(Elf64_Shdr);
    e.e_shnum = static_cast<uint16_t>(table.size());
    e.e_shstrndx = static_cast<uint16_t>(strtab);
    if (edit_header) edit_header(e);
    std::memcpy(out.data(), &e, sizeof e);
    const std::byte* p = reinterpret_cast<const std::byte*>(table.data());
    out.insert(out.end(), p, p + table.size() * sizeof(Elf64_Shdr));
    return out;
  }
};

// answer() returns 42; pick() returns .rodata[1] through a PC-relative load; copy() tail-calls memcpy; address() loads
// memcpy's address from the GOT; pointer() loads, from .data.rel.ro, the absolute address of answer().
Elf sample() {
  Elf e;
  ElfSection text{".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, {}, 16, {}};
  text.data = code({0xb8, 42, 0, 0, 0, 0xc3,                    // 0: mov $42, %eax; ret
                    0x8b, 0x05, 0, 0, 0, 0, 0xc3,               // 6: mov table(%rip), %eax; ret
                    0xe9, 0, 0, 0, 0,                           // 13: jmp memcpy
                    0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3,         // 18: mov memcpy@GOTPCREL(%rip), %rax; ret
                    0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3});       // 26: mov pointer(%rip), %rax; ret
  text.relocations = {rela(8, 8, R_X86_64_PC32, 4 - 4), rela(14, 7, R_X86_64_PLT32, -4), rela(21, 7, R_X86_64_REX_GOTPCRELX, -4),
                      rela(29, 9, R_X86_64_PC32, -4)};
  ElfSection rodata{".rodata.cst4", SHT_PROGBITS, SHF_ALLOC | SHF_MERGE, code({1, 0, 0, 0, 77, 0, 0, 0}), 64, {}};
  ElfSection relro{".data.rel.ro", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, Bytes(8), 8, {rela(0, 1, R_X86_64_64, 0)}};
  ElfSection bss{".bss", SHT_NOBITS, SHF_ALLOC | SHF_WRITE, {}, 1, {}};
  e.sections = {text, rodata, relro, bss};
  e.symbols = {{"answer", 1, 0}, {"pick", 1, 6}, {"copy", 1, 13}, {"address", 1, 18}, {"pointer", 1, 26},
               {"table", 2, 0, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT)}, {"memcpy", 0, 0, ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE)},
               {"", 2, 0, ELF64_ST_INFO(STB_LOCAL, STT_SECTION)}, {"", 3, 0, ELF64_ST_INFO(STB_LOCAL, STT_SECTION)}};
  return e;
}

void expect_refused(const Elf& e, const std::string& what, Code code = Code::kInvalidModel) {
  auto r = load(e.build());
  ASSERT_FALSE(r.ok()) << what;
  EXPECT_EQ(r.error().code, code) << what;
  EXPECT_NE(r.error().message.find(what), std::string::npos) << r.error().message;
}

#if defined(__x86_64__)

template <class Fn>
Fn function(const LoadedObject& o, const char* name) {
  return reinterpret_cast<Fn>(reinterpret_cast<uintptr_t>(o.kernel(name)));
}

TEST(ObjectLoader, RunsHandMadeCode) {
  auto r = load(sample().build());
  ASSERT_TRUE(r.ok()) << r.error().to_string();
  const LoadedObject& o = **r;
  EXPECT_EQ(o.symbols(), (std::vector<std::string>{"address", "answer", "copy", "pick", "pointer", "table"}));
  EXPECT_EQ(function<int (*)()>(o, "answer")(), 42);
  EXPECT_EQ(function<int (*)()>(o, "pick")(), 77);
  char to[4] = {};
  function<void* (*)(void*, const void*, size_t)>(o, "copy")(to, "abc", 4);
  EXPECT_STREQ(to, "abc");
  EXPECT_EQ(function<void* (*)()>(o, "address")(), reinterpret_cast<void*>(&::memcpy));
  EXPECT_EQ(function<const void* (*)()>(o, "pointer")(), o.symbol("answer"));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(o.symbol("table")) % 64, 0u);
  EXPECT_EQ(static_cast<const int*>(o.symbol("table"))[1], 77);
  EXPECT_EQ(o.kernel("table"), nullptr);
  EXPECT_EQ(o.kernel("absent"), nullptr);
  EXPECT_EQ(o.symbol("memcpy"), nullptr);
}

TEST(ObjectLoader, WritableNeverExecutable) {
  auto r = load(sample().build());
  ASSERT_TRUE(r.ok());
  const uintptr_t start = reinterpret_cast<uintptr_t>((*r)->symbol("answer")), end = start + (*r)->image_bytes();
  std::ifstream maps("/proc/self/maps");
  int seen = 0;
  for (std::string line; std::getline(maps, line);) {
    unsigned long a = 0, b = 0;
    char perms[5] = {};
    ASSERT_EQ(std::sscanf(line.c_str(), "%lx-%lx %4s", &a, &b, perms), 3);
    if (b <= start || a >= end) continue;
    ++seen;
    EXPECT_EQ(perms[1], '-') << line;
    EXPECT_EQ(perms[2], a == start ? 'x' : '-') << line;
  }
  EXPECT_GE(seen, 2);
}

TEST(ObjectLoader, DestructorUnmaps) {
  auto r = load(sample().build());
  ASSERT_TRUE(r.ok());
  auto object = *r;
  void* page = const_cast<void*>(object->symbol("answer"));
  unsigned char resident;
  EXPECT_EQ(::mincore(page, 1, &resident), 0);
  object.reset();
  r = usage("gone");
  EXPECT_NE(::mincore(page, 1, &resident), 0);
}

TEST(ObjectLoader, Refusals) {
  auto with = [](std::function<void(Elf&)> edit) {
    Elf e = sample();
    edit(e);
    return e;
  };
  expect_refused(with([](Elf& e) { e.symbols[6].name = "puts"; }), "refers to `puts`");
  expect_refused(with([](Elf& e) { e.sections[2].name = ".data"; }), "section .data is writable");
  expect_refused(with([](Elf& e) { e.sections[0].flags |= SHF_WRITE; }), "section .text is writable");
  expect_refused(with([](Elf& e) { e.sections[1].flags |= SHF_TLS; }), "thread-local");
  expect_refused(with([](Elf& e) { e.sections[1].type = SHT_INIT_ARRAY; }), "a kind that kernels do not have");
  expect_refused(with([](Elf& e) { e.sections[1].align = 3; }), "bad alignment");
  expect_refused(with([](Elf& e) { e.sections[1].align = 1 << 20; }), "bad alignment");
  expect_refused(with([](Elf& e) { e.sections[0].relocations[0].r_offset = 31; }), "a relocation lies outside .text");
  expect_refused(with([](Elf& e) { e.sections[0].relocations[0].r_offset = UINT64_MAX; }), "a relocation lies outside .text");
  expect_refused(with([](Elf& e) { e.sections[0].relocations[0] = rela(8, 99, R_X86_64_PC32, 0); }), "names no symbol");
  expect_refused(with([](Elf& e) { e.sections[0].relocations[0] = rela(8, 1, R_X86_64_TLSGD, 0); }), "relocation type 19");
  expect_refused(with([](Elf& e) { e.sections[0].relocations[0] = rela(8, 1, R_X86_64_32S, 0); }), "not position independent");
  expect_refused(with([](Elf& e) { e.sections[0].relocations[0] = rela(8, 1, R_X86_64_PC32, INT64_MAX); }), "not position independent");
  expect_refused(with([](Elf& e) { e.symbols[0].value = 1000; }), "lies outside its section");
  expect_refused(with([](Elf& e) { e.symbols[0].section = 60; }), "is in no section");
  expect_refused(with([](Elf& e) { e.symbols[0].section = SHN_COMMON; }), "is in no section");
  expect_refused(with([](Elf& e) { e.symbols[0].info = ELF64_ST_INFO(STB_GLOBAL, STT_GNU_IFUNC); }), "indirect");
  expect_refused(with([](Elf& e) { e.symbols[1].name = "answer"; }), "defined twice");
  expect_refused(with([](Elf& e) { e.edit_header = [](Elf64_Ehdr& h) { h.e_type = ET_DYN; }; }), "not a relocatable object");
  expect_refused(with([](Elf& e) { e.edit_header = [](Elf64_Ehdr& h) { h.e_shnum = 9999; }; }), "section table");
  expect_refused(with([](Elf& e) { e.edit_header = [](Elf64_Ehdr& h) { h.e_shoff = UINT64_MAX - 8; }; }), "section table");
  expect_refused(with([](Elf& e) { e.edit_header = [](Elf64_Ehdr& h) { h.e_ident[EI_CLASS] = ELFCLASS32; }; }), "64-bit");
  expect_refused(with([](Elf& e) { e.edit_header = [](Elf64_Ehdr& h) { h.e_machine = EM_AARCH64; }; }), "AArch64", Code::kUnsupported);
  expect_refused(with([](Elf& e) { e.edit_header = [](Elf64_Ehdr& h) { h.e_machine = EM_RISCV; }; }), "x86-64", Code::kUnsupported);
  expect_refused(with([](Elf& e) { e.edit_sections = [](auto& t) { t[2].sh_size = UINT64_MAX - 3; }; }), "lies outside the file");
  expect_refused(with([](Elf& e) { e.edit_sections = [](auto& t) { t[2].sh_type = SHT_NOBITS; t[2].sh_size = 1ull << 60; }; }), "too large");
  expect_refused(with([](Elf& e) { e.edit_sections = [](auto& t) { t.back().sh_info = 500; }; }), "relocations for no section");
  expect_refused(with([](Elf& e) { e.edit_sections = [](auto& t) { t.back().sh_link = 1; }; }), "without their symbol table");
  expect_refused(with([](Elf& e) { e.edit_sections = [](auto& t) { t.back().sh_type = SHT_REL; }; }), "without addends");
}

TEST(ObjectLoader, EmptyObjectsLoad) {
  EXPECT_TRUE(load(Elf{}.build()).ok());
  EXPECT_FALSE(load({}).ok());
  EXPECT_FALSE(load(code({0x7f, 'E', 'L', 'F'})).ok());
}

void damage(const Bytes& good) {
  for (size_t n = 0; n < good.size(); ++n) (void)load(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(n)));
  Bytes b = good;
  for (size_t i = 0; i < b.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      b[i] ^= static_cast<std::byte>(1 << bit);
      (void)load(b);
      b[i] ^= static_cast<std::byte>(1 << bit);
    }
  // Several fields at once, from a fixed sequence.
  uint64_t state = 1;
  auto next = [&state] { return state = state * 6364136223846793005u + 1442695040888963407u, state >> 33; };
  for (int round = 0; round < 3000; ++round) {
    b = good;
    for (int k = 0; k < 8; ++k) b[next() % b.size()] = static_cast<std::byte>(k % 2 ? 0xff : next());
    (void)load(b);
  }
}

TEST(ObjectLoader, DamagedObjectsNeverCrash) { damage(sample().build()); }

const char kSource[] = R"(
typedef long long i64;
void* memcpy(void*, const void*, unsigned long);
void* memmove(void*, const void*, unsigned long);
void* memset(void*, int, unsigned long);
static const float table[5] = {1.5f, 2, 3, 4, 5};
const char* const names[3] = {"a", "bb", "ccc"};
void scale(void* const* p, const i64* d, i64 b, i64 e, void* s) {
  float* x = p[0];
  for (i64 i = b; i < e; i++) x[i] = table[i % 5] * (float)d[0];
}
int choose(int x) {
  switch (x) {
    case 0: return 7; case 1: return 3 * x + 4; case 2: return x * x; case 3: return 1 - x; case 4: return 12 / x; case 5: return 33;
    case 6: return x << 3; default: return -1;
  }
}
const char* name_of(int i) { return names[i]; }
void copy(void* a, const void* b, unsigned long n) { memcpy(a, b, n); }
void move(void* a, const void* b, unsigned long n) { memmove(a, b, n); }
void fill(void* a, int v, unsigned long n) { memset(a, v, n); }
void* copier(void) { return (void*)memcpy; }
)";

Bytes compile(const std::string& flags) {
  const std::string folder = (std::filesystem::temp_directory_path() / ("weft-loader-" + std::to_string(::getpid()))).string();
  std::filesystem::create_directory(folder);
  std::ofstream(folder + "/k.c") << kSource;
  const std::string command = "cc " + flags + " -fno-stack-protector -c " + folder + "/k.c -o " + folder + "/k.o 2>/dev/null";
  Bytes b;
  if (std::system(command.c_str()) == 0) {
    std::ifstream f(folder + "/k.o", std::ios::binary);
    for (char c : std::string(std::istreambuf_iterator<char>(f), {})) b.push_back(static_cast<std::byte>(c));
  }
  std::filesystem::remove_all(folder);
  return b;
}

TEST(ObjectLoader, CompiledObjects) {
  for (const char* flags : {"-O2 -fPIC", "-O0 -fPIC", "-O2 -fPIE", "-O3 -fPIC -mavx2", "-O2 -fPIC -fcf-protection=full"}) {
    SCOPED_TRACE(flags);
    const Bytes b = compile(flags);
    if (b.empty()) GTEST_SKIP() << "no C compiler `cc`, or it rejects " << flags;
    auto r = load(b);
    ASSERT_TRUE(r.ok()) << r.error().to_string();
    const LoadedObject& o = **r;
    if (std::strstr(flags, "avx2") && !__builtin_cpu_supports("avx2")) continue;
    std::vector<float> x(10, 0.0f);
    void* ptrs[] = {x.data()};
    const int64_t dims[] = {2};
    ASSERT_NE(o.kernel("scale"), nullptr);
    o.kernel("scale")(ptrs, dims, 1, 7, nullptr);
    EXPECT_EQ(x, (std::vector<float>{0, 4, 6, 8, 10, 3, 4, 0, 0, 0}));
    auto choose = function<int (*)(int)>(o, "choose");
    for (auto [in, out] : {std::pair{0, 7}, {1, 7}, {2, 4}, {3, -2}, {4, 3}, {5, 33}, {6, 48}, {7, -1}}) EXPECT_EQ(choose(in), out);
    EXPECT_STREQ(function<const char* (*)(int)>(o, "name_of")(2), "ccc");
    char text[8] = "abcdef";
    function<void (*)(void*, const void*, size_t)>(o, "copy")(text, "xy", 2);
    function<void (*)(void*, const void*, size_t)>(o, "move")(text + 1, text, 4);
    function<void (*)(void*, int, size_t)>(o, "fill")(text + 5, '!', 1);
    EXPECT_STREQ(text, "xxycd!");
    EXPECT_NE(function<void* (*)()>(o, "copier")(), nullptr);
  }
}

TEST(ObjectLoader, AbsoluteCodeIsRefused) {
  const Bytes b = compile("-O2 -fno-pic -fno-pie -mcmodel=small");
  if (b.empty()) GTEST_SKIP() << "no C compiler `cc`";
  auto r = load(b);
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.error().message.find("not position independent"), std::string::npos) << r.error().message;
}

TEST(ObjectLoader, DamagedCompiledObjectsNeverCrash) {
  const Bytes b = compile("-O2 -fPIC");
  if (b.empty()) GTEST_SKIP() << "no C compiler `cc`";
  damage(b);
}

#else

TEST(ObjectLoader, OtherProcessorsAreUnsupported) { expect_refused(sample(), "x86-64", Code::kUnsupported); }

#endif

}  // namespace
}  // namespace weft::object_loader_test

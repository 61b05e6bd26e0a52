#include "runtime/cpu/object_loader.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "ir/base/check.h"

namespace weft {

namespace {
constexpr uint64_t kMaxImage = uint64_t{256} << 20;
constexpr uint64_t kMaxAlign = 4096;
constexpr uint32_t kNotLoaded = UINT32_MAX;
constexpr uint64_t kStubBytes = 16;
constexpr char kGotSymbol[] = "_GLOBAL_OFFSET_TABLE_";

#ifndef SHT_X86_64_UNWIND
constexpr uint32_t SHT_X86_64_UNWIND = 0x70000001;
#endif

enum class Form : uint8_t { u32, s32, s64 };
enum class Base : uint8_t { symbol, got_slot, got };
struct Relocation {
  uint32_t type;
  Base base;         // what the addend is added to
  bool pc_relative;
  bool got_relative; // the result counts from the start of the GOT
  Form form;
};
// The closed list. The GOT-relative ones come with the medium and large code models.
constexpr Relocation kRelocations[] = {
    {R_X86_64_64, Base::symbol, false, false, Form::s64},
    {R_X86_64_PC64, Base::symbol, true, false, Form::s64},
    {R_X86_64_PC32, Base::symbol, true, false, Form::s32},
    {R_X86_64_PLT32, Base::symbol, true, false, Form::s32},
    {R_X86_64_32, Base::symbol, false, false, Form::u32},
    {R_X86_64_32S, Base::symbol, false, false, Form::s32},
    {R_X86_64_GOTPCREL, Base::got_slot, true, false, Form::s32},
    {R_X86_64_GOTPCRELX, Base::got_slot, true, false, Form::s32},
    {R_X86_64_REX_GOTPCRELX, Base::got_slot, true, false, Form::s32},
    {R_X86_64_GOT64, Base::got_slot, false, true, Form::s64},
    {R_X86_64_GOTOFF64, Base::symbol, false, true, Form::s64},
    {R_X86_64_GOTPC32, Base::got, true, false, Form::s32},
    {R_X86_64_GOTPC64, Base::got, true, false, Form::s64},
};
const Relocation* find_relocation(uint32_t type) {
  auto it = std::find_if(std::begin(kRelocations), std::end(kRelocations), [type](const Relocation& r) { return r.type == type; });
  return it == std::end(kRelocations) ? nullptr : it;
}

uint64_t allowed_function(std::string_view name) {
  if (name == "memcpy") return reinterpret_cast<uint64_t>(&::memcpy);
  if (name == "memmove") return reinterpret_cast<uint64_t>(&::memmove);
  if (name == "memset") return reinterpret_cast<uint64_t>(&::memset);
  return 0;
}

Error bad(std::string what) { return invalid("kernel object: " + std::move(what)); }
uint64_t align_up(uint64_t v, uint64_t a) { return (v + a - 1) / a * a; }
}  // namespace

// One pass over the bytes: headers, layout, copy, relocations, protection. Every read of the input goes through at().
class ObjectReader {
 public:
  explicit ObjectReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  Result<std::shared_ptr<const LoadedObject>> load() {
    TRY(read_header());
    TRY(read_sections());
    TRY(read_symbols());
    TRY(scan_relocations());
    TRY(lay_out());
    TRY(map_and_copy());
    TRY(relocate());
    TRY(export_symbols());
    TRY(protect());
    return std::shared_ptr<const LoadedObject>(std::move(object_));
  }

 private:
  struct Section {
    Elf64_Shdr header;
    std::string_view name;
    bool loaded = false, code = false;
    uint64_t address = 0;  // in the image
  };
  struct Symbol {
    Elf64_Sym entry;
    std::string_view name;
    uint64_t outside = 0;          // address of an allowed undefined function
    uint32_t got_slot = kNotLoaded;
    uint32_t stub = kNotLoaded;
  };

  bool in_file(uint64_t offset, uint64_t size) const { return offset <= bytes_.size() && size <= bytes_.size() - offset; }
  template <class T>
  T at(uint64_t offset) const {
    CHECK(in_file(offset, sizeof(T)));
    T v;
    std::memcpy(&v, bytes_.data() + offset, sizeof v);
    return v;
  }
  Result<std::string_view> string_at(const Elf64_Shdr& table, uint64_t index) const {
    if (index >= table.sh_size) return bad("a name lies outside its string table");
    const char* begin = reinterpret_cast<const char*>(bytes_.data()) + table.sh_offset + index;
    const void* end = std::memchr(begin, 0, table.sh_size - index);
    if (!end) return bad("a name has no end");
    return std::string_view(begin, static_cast<size_t>(static_cast<const char*>(end) - begin));
  }

  Status read_header() {
    if (!in_file(0, sizeof(Elf64_Ehdr))) return bad("too short for an ELF header");
    header_ = at<Elf64_Ehdr>(0);
    if (std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) return bad("not an ELF file");
    if (header_.e_ident[EI_CLASS] != ELFCLASS64 || header_.e_ident[EI_DATA] != ELFDATA2LSB || header_.e_ident[EI_VERSION] != EV_CURRENT ||
        header_.e_version != EV_CURRENT)
      return bad("not a 64-bit little-endian ELF file");
    if (header_.e_type != ET_REL) return bad("not a relocatable object");
    if (header_.e_machine == EM_AARCH64) return unsupported("kernel objects for AArch64 cannot be loaded yet");
    if (header_.e_machine != EM_X86_64)
      return unsupported("kernel object for processor number " + std::to_string(header_.e_machine) + ", not x86-64");
#if !defined(__x86_64__)
    return unsupported("kernel object for x86-64 on another processor");
#endif
    if (header_.e_shentsize != sizeof(Elf64_Shdr) || header_.e_shnum == 0 || header_.e_shnum >= SHN_LORESERVE)
      return bad("bad section table");
    if (!in_file(header_.e_shoff, uint64_t{header_.e_shnum} * sizeof(Elf64_Shdr))) return bad("the section table lies outside the file");
    if (header_.e_shstrndx >= header_.e_shnum) return bad("bad index of the section names");
    return {};
  }

  Status read_sections() {
    sections_.resize(header_.e_shnum);
    for (size_t i = 0; i < sections_.size(); ++i) {
      Elf64_Shdr& h = sections_[i].header;
      h = at<Elf64_Shdr>(header_.e_shoff + i * sizeof h);
      if (h.sh_type != SHT_NOBITS && h.sh_type != SHT_NULL && !in_file(h.sh_offset, h.sh_size))
        return bad("section " + std::to_string(i) + " lies outside the file");
    }
    const Elf64_Shdr names = sections_[header_.e_shstrndx].header;
    if (names.sh_type != SHT_STRTAB) return bad("the section names are no string table");
    for (Section& s : sections_) {
      if (s.header.sh_type == SHT_NULL) continue;
      TRY_ASSIGN(s.name, string_at(names, s.header.sh_name));
      TRY(classify(s));
    }
    return {};
  }

  Status classify(Section& s) {
    const Elf64_Shdr& h = s.header;
    const std::string name(s.name);
    if (h.sh_type == SHT_REL) return bad("relocations without addends");
    if (h.sh_type == SHT_SYMTAB_SHNDX) return bad("extended section indices");
    if (!(h.sh_flags & SHF_ALLOC) || h.sh_size == 0) return {};
    if (h.sh_type == SHT_X86_64_UNWIND || s.name == ".eh_frame" || h.sh_type == SHT_NOTE) return {};
    if (h.sh_type != SHT_PROGBITS && h.sh_type != SHT_NOBITS) return bad("section " + name + " has a kind that kernels do not have");
    if (h.sh_flags & (SHF_TLS | SHF_COMPRESSED)) return bad("section " + name + " is thread-local or compressed");
    s.code = h.sh_flags & SHF_EXECINSTR;
    bool relro = false;  // .ldata: the medium and large code models
    for (std::string_view prefix : {".data.rel.ro", ".ldata.rel.ro"})
      relro |= s.name == prefix || (s.name.starts_with(prefix) && s.name[prefix.size()] == '.');
    if ((h.sh_flags & SHF_WRITE) && (s.code || !relro)) return bad("section " + name + " is writable");
    if (h.sh_addralign & (h.sh_addralign - 1) || h.sh_addralign > kMaxAlign) return bad("section " + name + " has a bad alignment");
    if (h.sh_size > kMaxImage) return bad("section " + name + " is too large");
    s.loaded = true;
    return {};
  }

  Status read_symbols() {
    for (const Section& table : sections_) {
      const Elf64_Shdr& h = table.header;
      if (h.sh_type != SHT_SYMTAB) continue;
      if (symtab_ != 0) return bad("two symbol tables");
      symtab_ = static_cast<size_t>(&table - sections_.data());
      if (h.sh_entsize != sizeof(Elf64_Sym) || h.sh_size % sizeof(Elf64_Sym) != 0) return bad("bad symbol size");
      if (h.sh_link >= sections_.size() || sections_[h.sh_link].header.sh_type != SHT_STRTAB) return bad("the symbol table has no names");
      const Elf64_Shdr& names = sections_[h.sh_link].header;
      symbols_.resize(h.sh_size / sizeof(Elf64_Sym));
      for (size_t i = 1; i < symbols_.size(); ++i) {  // 0 is the null symbol
        Symbol& s = symbols_[i];
        s.entry = at<Elf64_Sym>(h.sh_offset + i * sizeof(Elf64_Sym));
        TRY_ASSIGN(s.name, string_at(names, s.entry.st_name));
        TRY(check_symbol(s));
      }
    }
    return {};
  }

  Status check_symbol(Symbol& s) {
    const std::string name(s.name);
    const auto type = ELF64_ST_TYPE(s.entry.st_info);
    if (type == STT_FILE) return {};
    if (type == STT_TLS || type == STT_GNU_IFUNC || type == STT_COMMON) return bad("symbol " + name + " is thread-local, indirect or common");
    const uint16_t section = s.entry.st_shndx;
    if (section == SHN_UNDEF) {
      if (s.name == kGotSymbol) return {};
      s.outside = allowed_function(s.name);
      if (s.outside == 0) return bad("refers to `" + name + "`; only memcpy, memmove and memset may be used");
      return {};
    }
    if (section >= sections_.size()) return bad("symbol " + name + " is in no section");
    if (s.entry.st_value > sections_[section].header.sh_size) return bad("symbol " + name + " lies outside its section");
    return {};
  }

  // Calls visit(section, relocation row, r_offset, addend, symbol) for every relocation of a loaded section.
  template <class Visit>
  Status each_relocation(Visit visit) {
    uint64_t budget = bytes_.size() / sizeof(Elf64_Rela);  // what the file can hold without overlaps
    for (const Section& rela : sections_) {
      const Elf64_Shdr& h = rela.header;
      if (h.sh_type != SHT_RELA) continue;
      if (h.sh_info >= sections_.size()) return bad("relocations for no section");
      const Section& target = sections_[h.sh_info];
      if (!target.loaded) continue;
      if (symtab_ == 0 || h.sh_link != symtab_) return bad("relocations without their symbol table");
      if (h.sh_entsize != sizeof(Elf64_Rela) || h.sh_size % sizeof(Elf64_Rela) != 0) return bad("bad relocation size");
      const uint64_t count = h.sh_size / sizeof(Elf64_Rela);
      if (count > budget) return bad("more relocations than the file can hold");
      budget -= count;
      for (uint64_t i = 0; i < count; ++i) {
        const auto r = at<Elf64_Rela>(h.sh_offset + i * sizeof(Elf64_Rela));
        const uint32_t type = ELF64_R_TYPE(r.r_info);
        if (type == R_X86_64_NONE) continue;
        const Relocation* row = find_relocation(type);
        if (!row) return bad("relocation type " + std::to_string(type) + " in " + std::string(target.name));
        const uint64_t width = row->form == Form::s64 ? 8 : 4;
        if (r.r_offset > target.header.sh_size || width > target.header.sh_size - r.r_offset)
          return bad("a relocation lies outside " + std::string(target.name));
        const uint64_t index = ELF64_R_SYM(r.r_info);
        if (index == 0 || index >= symbols_.size()) return bad("a relocation names no symbol");
        TRY(visit(target, *row, r.r_offset, static_cast<uint64_t>(r.r_addend), symbols_[index]));
      }
    }
    return {};
  }

  // Finds out which symbols need a GOT slot or a stub.
  Status scan_relocations() {
    return each_relocation([this](const Section&, const Relocation& row, uint64_t, uint64_t, Symbol& s) -> Status {
      const uint16_t section = s.entry.st_shndx;
      if (row.base == Base::got) return {};
      if (section == SHN_UNDEF && s.outside == 0) return bad("a relocation to " + std::string(s.name) + " of a kind that has no meaning");
      if (section != SHN_UNDEF && (section >= sections_.size() || !sections_[section].loaded))
        return bad("a relocation to symbol `" + std::string(s.name) + "`, which is not in memory");
      const bool stub = s.outside != 0 && row.base == Base::symbol && row.form != Form::s64;
      if (stub && s.stub == kNotLoaded) s.stub = stubs_++;
      if ((stub || row.base == Base::got_slot) && s.got_slot == kNotLoaded) s.got_slot = got_slots_++;
      return {};
    });
  }

  Status lay_out() {
    const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    uint64_t end = 0;
    auto place = [&](bool code) -> Status {
      for (Section& s : sections_) {
        if (!s.loaded || s.code != code) continue;
        s.address = align_up(end, std::max<uint64_t>(s.header.sh_addralign, 1));
        end = s.address + s.header.sh_size;
        if (end > kMaxImage) return bad("too large");
      }
      return {};
    };
    TRY(place(true));
    stubs_at_ = align_up(end, kStubBytes);
    end = stubs_at_ + stubs_ * kStubBytes;
    code_bytes_ = end = align_up(end, page);
    TRY(place(false));
    got_at_ = align_up(end, 8);
    image_bytes_ = std::max(align_up(got_at_ + got_slots_ * uint64_t{8}, page), page);
    return {};
  }

  Status map_and_copy() {
    object_.reset(new LoadedObject);
    void* p = ::mmap(nullptr, image_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return resources(std::string("cannot map memory for a kernel: ") + std::strerror(errno));
    image_ = object_->image_ = static_cast<std::byte*>(p);
    object_->image_bytes_ = image_bytes_;
    for (const Section& s : sections_)
      if (s.loaded && s.header.sh_type != SHT_NOBITS) std::memcpy(image_ + s.address, bytes_.data() + s.header.sh_offset, s.header.sh_size);
    for (const Symbol& s : symbols_) {
      if (s.got_slot != kNotLoaded) write(got_at_ + s.got_slot * uint64_t{8}, target_of(s), 8);
      if (s.stub == kNotLoaded) continue;
      const uint64_t at = stubs_at_ + s.stub * kStubBytes;  // jmp *slot(%rip)
      image_[at] = std::byte{0xff};
      image_[at + 1] = std::byte{0x25};
      write(at + 2, got_at_ + s.got_slot * uint64_t{8} - (at + 6), 4);
    }
    return {};
  }

  uint64_t base() const { return reinterpret_cast<uint64_t>(image_); }
  uint64_t target_of(const Symbol& s) const {
    return s.outside != 0 ? s.outside : base() + sections_[s.entry.st_shndx].address + s.entry.st_value;
  }
  void write(uint64_t offset, uint64_t value, size_t width) { std::memcpy(image_ + offset, &value, width); }

  // All sums wrap as the ELF ABI's do; only the width of the result is checked.
  Status relocate() {
    return each_relocation([this](const Section& section, const Relocation& row, uint64_t offset, uint64_t addend, Symbol& s) -> Status {
      const uint64_t got = base() + got_at_, place = section.address + offset;
      uint64_t v = 0;
      switch (row.base) {
        case Base::symbol: v = s.stub != kNotLoaded && row.form != Form::s64 ? base() + stubs_at_ + s.stub * kStubBytes : target_of(s); break;
        case Base::got_slot: v = got + s.got_slot * uint64_t{8}; break;
        case Base::got: v = got; break;
      }
      v += addend;
      if (row.pc_relative) v -= base() + place;
      if (row.got_relative) v -= got;
      const int64_t sv = static_cast<int64_t>(v);
      if ((row.form == Form::u32 && v > UINT32_MAX) || (row.form == Form::s32 && (sv < INT32_MIN || sv > INT32_MAX)))
        return bad("a relocation to `" + std::string(s.name) + "` does not fit: the code is not position independent");
      write(place, v, row.form == Form::s64 ? 8 : 4);
      return {};
    });
  }

  Status export_symbols() {
    std::vector<LoadedObject::Symbol>& out = object_->symbols_;
    for (const Symbol& s : symbols_) {
      const auto bind = ELF64_ST_BIND(s.entry.st_info), type = ELF64_ST_TYPE(s.entry.st_info);
      if (bind != STB_GLOBAL && bind != STB_WEAK) continue;
      if (type == STT_FILE || s.entry.st_shndx == SHN_UNDEF || s.name.empty()) continue;
      const Section& section = sections_[s.entry.st_shndx];
      if (!section.loaded) continue;
      const bool function = type == STT_FUNC && section.code && s.entry.st_value < section.header.sh_size;
      out.push_back({std::string(s.name), image_ + section.address + s.entry.st_value, function});
    }
    std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.name < b.name; });
    for (size_t i = 1; i < out.size(); ++i)
      if (out[i].name == out[i - 1].name) return bad("symbol " + out[i].name + " is defined twice");
    return {};
  }

  Status protect() {
    const bool ok = (code_bytes_ == 0 || ::mprotect(image_, code_bytes_, PROT_READ | PROT_EXEC) == 0) &&
                    (code_bytes_ == image_bytes_ || ::mprotect(image_ + code_bytes_, image_bytes_ - code_bytes_, PROT_READ) == 0);
    if (!ok)
      return resources(std::string("cannot make memory executable: ") + std::strerror(errno))
          .with_hint("the system's security policy may forbid generated code (SELinux execmem)");
    return {};
  }

  std::span<const std::byte> bytes_;
  Elf64_Ehdr header_{};
  std::vector<Section> sections_;
  std::vector<Symbol> symbols_;
  size_t symtab_ = 0;
  uint32_t got_slots_ = 0, stubs_ = 0;
  uint64_t code_bytes_ = 0, stubs_at_ = 0, got_at_ = 0, image_bytes_ = 0;
  std::byte* image_ = nullptr;
  std::shared_ptr<LoadedObject> object_;
};

Result<std::shared_ptr<const LoadedObject>> LoadedObject::load(std::span<const std::byte> object) { return ObjectReader(object).load(); }

LoadedObject::~LoadedObject() {
  if (image_) ::munmap(image_, image_bytes_);
}

const LoadedObject::Symbol* LoadedObject::find(std::string_view name) const {
  auto it = std::lower_bound(symbols_.begin(), symbols_.end(), name, [](const Symbol& s, std::string_view n) { return s.name < n; });
  return it != symbols_.end() && it->name == name ? &*it : nullptr;
}
const void* LoadedObject::symbol(std::string_view name) const {
  const Symbol* s = find(name);
  return s ? s->address : nullptr;
}
KernelFn LoadedObject::kernel(std::string_view name) const {
  const Symbol* s = find(name);
  return s && s->function ? reinterpret_cast<KernelFn>(reinterpret_cast<uintptr_t>(s->address)) : nullptr;
}
std::vector<std::string> LoadedObject::symbols() const {
  std::vector<std::string> out;
  for (const Symbol& s : symbols_) out.push_back(s.name);
  return out;
}

}  // namespace weft

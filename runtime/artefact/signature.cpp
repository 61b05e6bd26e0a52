#include "runtime/artefact/signature.h"

#include <cstring>
#include <fstream>
#include <optional>

#include "ir/base/dynamic_library.h"
#include "ir/base/text.h"

namespace weft {

namespace {

constexpr char kMark[8] = {'W', 'E', 'F', 'T', 'S', 'I', 'G', 'N'};
constexpr size_t kKeyBytes = 32, kSecretBytes = 64;

// libsodium, as its ABI has been since 1.0.12.
struct Sodium {
  int (*sodium_init)() = nullptr;
  size_t (*crypto_sign_statebytes)() = nullptr;
  int (*crypto_sign_init)(void* state) = nullptr;
  int (*crypto_sign_update)(void* state, const unsigned char* m, unsigned long long bytes) = nullptr;
  int (*crypto_sign_final_create)(void* state, unsigned char* signature, unsigned long long* bytes, const unsigned char* secret) = nullptr;
  int (*crypto_sign_final_verify)(void* state, const unsigned char* signature, const unsigned char* key) = nullptr;
  int (*crypto_sign_seed_keypair)(unsigned char* key, unsigned char* secret, const unsigned char* seed) = nullptr;
};

Result<Sodium> open_sodium() {
  auto library = DynamicLibrary::open({"libsodium.so.23", "libsodium.so.26", "libsodium.so"});
  auto missing = [](const std::string& why) {
    return unsupported("signatures need libsodium: " + why).with_hint("install it, on Debian and Ubuntu with `apt-get install libsodium23`");
  };
  if (!library.ok()) return missing(library.error().message);
  Sodium s;
  bool all = true;
  auto find = [&](auto& f, const char* name) {
    f = reinterpret_cast<std::remove_reference_t<decltype(f)>>(library->symbol(name));
    all = all && f;
  };
  find(s.sodium_init, "sodium_init");
  find(s.crypto_sign_statebytes, "crypto_sign_statebytes");
  find(s.crypto_sign_init, "crypto_sign_init");
  find(s.crypto_sign_update, "crypto_sign_update");
  find(s.crypto_sign_final_create, "crypto_sign_final_create");
  find(s.crypto_sign_final_verify, "crypto_sign_final_verify");
  find(s.crypto_sign_seed_keypair, "crypto_sign_seed_keypair");
  if (!all || s.sodium_init() < 0) return missing(library->path() + " is too old, or does not start");
  return s;
}

Result<const Sodium*> sodium() {
  static const Result<Sodium> s = open_sodium();
  if (!s.ok()) return s.error();
  return &*s;
}

std::optional<std::string> decode_base64(const std::string& text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    if (c == '\n' || c == '\r' || c == '=') continue;
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if ((count += 6) < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 255);
  }
  return out;
}

// The 32 bytes behind the DER header of an Ed25519 key of this kind ("PRIVATE KEY", "PUBLIC KEY").
Result<std::string> read_key(const std::string& path, const std::string& kind, std::string_view header) {
  std::ifstream f(path, std::ios::binary);
  std::string text(4096, '\0');
  f.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (f.gcount() == 0) return usage("cannot read the key file " + path);
  text.resize(static_cast<size_t>(f.gcount()));
  const std::string begin = "-----BEGIN " + kind + "-----", end = "-----END " + kind + "-----";
  const size_t from = text.find(begin), to = text.find(end);
  std::optional<std::string> der;
  if (from != std::string::npos && to != std::string::npos && to > from) der = decode_base64(text.substr(from + begin.size(), to - from - begin.size()));
  if (der && der->size() == header.size() + kKeyBytes && der->compare(0, header.size(), header) == 0) return der->substr(header.size());
  Error e = usage(path + " holds no Ed25519 " + (kind == "PUBLIC KEY" ? "public" : "private") + " key in PEM form");
  return e.with_hint("openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out public.pem"), e;
}

const unsigned char* bytes_of(std::span<const std::byte> b) { return reinterpret_cast<const unsigned char*>(b.data()); }

}  // namespace

struct SignedBytes::State {
  const Sodium* sodium = nullptr;
  std::vector<std::max_align_t> memory;
  void* data() { return memory.data(); }
};

SignedBytes::SignedBytes(std::unique_ptr<State> s) : state_(std::move(s)) {}
SignedBytes::SignedBytes(SignedBytes&&) noexcept = default;
SignedBytes& SignedBytes::operator=(SignedBytes&&) noexcept = default;
SignedBytes::~SignedBytes() = default;

Result<SignedBytes> SignedBytes::start() {
  auto s = std::make_unique<State>();
  TRY_ASSIGN(s->sodium, sodium());
  s->memory.resize(s->sodium->crypto_sign_statebytes() / sizeof(std::max_align_t) + 4);
  s->sodium->crypto_sign_init(s->data());
  return SignedBytes(std::move(s));
}

void SignedBytes::add(std::span<const std::byte> b) { state_->sodium->crypto_sign_update(state_->data(), bytes_of(b), b.size()); }

Result<std::string> SignedBytes::sign(const std::string& key_file) {
  constexpr std::string_view kHeader("\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20", 16);
  TRY_ASSIGN(const std::string seed, read_key(key_file, "PRIVATE KEY", kHeader));
  unsigned char key[kKeyBytes], secret[kSecretBytes], signature[64];
  state_->sodium->crypto_sign_seed_keypair(key, secret, reinterpret_cast<const unsigned char*>(seed.data()));
  state_->sodium->crypto_sign_final_create(state_->data(), signature, nullptr, secret);
  std::string out(kMark, sizeof kMark);
  out.append(reinterpret_cast<const char*>(key), sizeof key);
  return out.append(reinterpret_cast<const char*>(signature), sizeof signature);
}

bool SignedBytes::verify(std::span<const std::byte> trailer) {
  const unsigned char* at = bytes_of(trailer) + sizeof kMark;
  return state_->sodium->crypto_sign_final_verify(state_->data(), at + kKeyBytes, at) == 0;
}

bool is_signature(std::span<const std::byte> trailer) {
  return trailer.size() == kSignatureBytes && std::memcmp(trailer.data(), kMark, sizeof kMark) == 0;
}

PublicKey signer_of(std::span<const std::byte> trailer) {
  PublicKey k;
  std::memcpy(k.data(), trailer.data() + sizeof kMark, k.size());
  return k;
}

Result<PublicKey> read_public_key(const std::string& path) {
  TRY_ASSIGN(const std::string raw, read_key(path, "PUBLIC KEY", std::string_view("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 12)));
  PublicKey k;
  std::memcpy(k.data(), raw.data(), k.size());
  return k;
}

std::string key_text(const PublicKey& k) {
  std::string out;
  for (unsigned char c : k) {
    constexpr const char* kDigits = "0123456789abcdef";
    out += {kDigits[c >> 4], kDigits[c & 15]};
  }
  return out;
}

}  // namespace weft

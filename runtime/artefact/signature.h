// Signatures of artefacts: Ed25519ph (RFC 8032), by libsodium, which is opened when the first one is made or checked.
//
// Keys are PEM files, as `openssl genpkey -algorithm ed25519 -out key.pem` and `openssl pkey -in key.pem -pubout` write them.
// What is signed is the whole file and the whole file of weights beside it; the signature stands behind the file's end:
//   "WEFTSIGN", the public key of 32 bytes, the signature of 64 bytes
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>

#include "ir/base/result.h"

namespace weft {

constexpr size_t kSignatureBytes = 8 + 32 + 64;
using PublicKey = std::array<unsigned char, 32>;

// Bytes that are signed, or whose signature is checked, in order.
class SignedBytes {
 public:
  // Error kUnsupported without libsodium.
  static Result<SignedBytes> start();
  SignedBytes(SignedBytes&&) noexcept;
  SignedBytes& operator=(SignedBytes&&) noexcept;
  ~SignedBytes();

  void add(std::span<const std::byte> b);
  // The trailer, by the private key in the file. Error kUsage for a file that is no such key.
  Result<std::string> sign(const std::string& key_file);
  // Whether the trailer's signature is right, and by the key of its own.
  bool verify(std::span<const std::byte> trailer);

 private:
  struct State;
  explicit SignedBytes(std::unique_ptr<State> s);
  std::unique_ptr<State> state_;
};

bool is_signature(std::span<const std::byte> trailer);
PublicKey signer_of(std::span<const std::byte> trailer);
// The key in a PEM file. Errors kUsage, kResources.
Result<PublicKey> read_public_key(const std::string& path);
std::string key_text(const PublicKey& k);  // hexadecimal

}  // namespace weft

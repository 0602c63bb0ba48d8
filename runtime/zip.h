// Zip archives, as far as NPZ files need them: the central directory (with the 64-bit extension that NumPy writes) and
// entries that are stored or deflated. An entry's size and checksum are compared with what comes out.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/result.h"
#include "runtime/stored_array.h"

namespace nnc {

struct ZipEntry {
  std::string name;
  std::uint16_t method = 0;  ///< 0 stored, 8 deflated
  std::uint32_t crc = 0;
  std::uint64_t packed = 0, size = 0;  ///< bytes
  std::uint64_t offset = 0;            ///< of its local header
};

/// The entries of an archive that lies in memory, in the order of its directory. `path` is for messages.
Result<std::vector<ZipEntry>> read_zip(std::span<const char> archive, const std::string& path);

struct ZipMember {
  std::string name, content;
};
/// An archive of stored members, all sizes and offsets in 64 bits; without dates, so that equal contents are equal
/// bytes.
std::string zip_text(const std::vector<ZipMember>& members);

/// What an entry holds: a part of the archive where it is stored, memory where it is packed.
Result<KeptBytes> unpack(const KeptBytes& archive, const ZipEntry& entry, const std::string& path);

}  // namespace nnc

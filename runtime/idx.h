// The IDX format of the MNIST files: a big-endian header (element type, extents), then the elements; plain or packed by
// gzip. The header's promise is compared with what the file holds: a file that is larger or smaller is refused.
#pragma once

#include <string>

#include "runtime/result.h"
#include "runtime/stored_array.h"

namespace nnc {

/// Elements of more than a byte are converted to the machine's byte order.
Result<StoredArray> read_idx(const std::string& path);

}  // namespace nnc

// The IDX format of the MNIST files: a big-endian header (element type, extents), then the elements; plain or packed by
// gzip. The header's promise is compared with what the file holds: a file that is larger or smaller is refused. A plain
// file is mapped; what a packed one holds lies in memory or, where it is large, in a file without a name.
#pragma once

#include <string>

#include "runtime/result.h"
#include "runtime/row_store.h"
#include "runtime/stored_array.h"

namespace nnc {

Result<StoredArray> read_idx(const std::string& path, const Storage& storage = {});

}  // namespace nnc

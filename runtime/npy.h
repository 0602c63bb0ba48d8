// NumPy's NPY format (numpy.lib.format, versions 1 to 3): a header in Python's notation (element type, order, shape),
// then the elements. And NPZ: NPY files in a zip archive, stored or deflated, by the name of the column with `.npy`
// behind it. What would have to be guessed, copied about or executed (big endian, Fortran order, pickled objects) is
// refused. Files are mapped: elements are read where they lie, but for those that an archive has packed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/dense_array.h"
#include "runtime/result.h"
#include "runtime/stored_array.h"

namespace nnc {

Result<StoredArray> read_npy(const std::string& path);
/// The content of a file, where the elements stay; `called` is how messages call it: a path, or "a.npz: x.npy".
Result<StoredArray> parse_npy(const KeptBytes& content, const std::string& called);

/// An array as an NPY file, version 1.
std::string npy_text(const DenseArray& array);

/// All arrays of an archive by name, in its order; of one that is not read, such as one of words, why.
Result<std::vector<std::pair<std::string, Result<StoredArray>>>> read_npz(const std::string& path);

}  // namespace nnc

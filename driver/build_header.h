// NAME.h: what an object file holds, as C declares it.
#pragma once

#include <string>
#include <vector>

#include "codegen/compile.h"

namespace nnc::driver {

/// "mnist-2" as a name in C: mnist_2.
std::string c_name(const std::string& text);

/// An input or a result of a function as the header shows it.
struct Argument {
  std::string name;  ///< in C
  Type type;
  std::string note = {};  ///< what else is to be known
};

/// A function of the object, and what a comment says of it.
struct CFunction {
  ObjectFunction code;
  std::string what;  ///< one sentence or more
  std::vector<Argument> inputs, results;
};

/// A parameter or a state among the arrays that pack and unpack move.
struct PackedArray {
  std::string path;
  Type type;
  std::uint64_t offset = 0;  ///< in bytes
};

/// The names of classes by their numbers: PREFIX_NAME_names.
struct NameTable {
  std::string name;  ///< in C: of the input or result whose classes they are
  std::vector<std::string> names;
};

struct CHeader {
  std::string prefix, source;  ///< NAME in C; what it was made from
  std::string cpu;
  std::vector<CFunction> functions;
  std::vector<NameTable> tables;
  bool trains = false;  ///< the weights are the caller's
  std::uint64_t params_bytes = 0, state_bytes = 0, arrays_bytes = 0;
  std::vector<PackedArray> arrays;
};
std::string text_of(const CHeader& header);

}  // namespace nnc::driver

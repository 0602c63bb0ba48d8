// The entries `pack` and `unpack`: parameters and state as files and people see them, dense and row-major one after the
// other, into the places where the training step wants them, and back. They compute nothing, so they are graphs of
// leaves and outputs, and lowering finds the loops as it does for any other program.
#include "ir/builder.h"
#include "passes/passes.h"

namespace nnc {

Packing packing(const std::vector<std::pair<std::string, Type>>& params,
                const std::vector<std::pair<std::string, Type>>& state) {
  Packing result;
  Builder pack("pack"), unpack("unpack");
  const auto add = [&](Op op, const std::string& path, const Type& type) {
    const std::string name = "logical/" + path;
    result.arrays.emplace_back(name, type);
    pack.output(OutputKind::update, path, pack.leaf(Op::input, name, type));
    unpack.output(OutputKind::result, name, unpack.leaf(op, path, type));
  };
  for (const auto& [path, type] : params) add(Op::param, path, type);
  for (const auto& [path, type] : state) add(Op::state, path, type);
  result.pack = std::move(pack).finish();
  result.unpack = std::move(unpack).finish();
  return result;
}

}  // namespace nnc

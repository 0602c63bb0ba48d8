#include "driver/column_names.h"

#include <fmt/format.h>

namespace nnc::driver {

std::vector<std::string> value_names(const DataJob& data, const Session& session, const std::string& column,
                                     std::int64_t width) {
  const auto made_of = session.inputs_of_columns().find(column);
  if (made_of != session.inputs_of_columns().end() && made_of->second.size() == 1)
    for (const RawColumn& raw : data.raw)
      if (raw.input == made_of->second.front() && std::ssize(raw.columns) == width) return raw.columns;
  if (width == 1) return {column};
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < width; ++i) names.push_back(fmt::format("{}[{}]", column, i));
  return names;
}

}  // namespace nnc::driver

// Errors of the runtime as values: what is wrong with a file, where, what was expected and what was found. They are
// rendered in the layout of the compiler's diagnostics, so that a wrong cell reads like a wrong expression.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ir/job.h"

namespace nnc {

struct Problem {  // NOLINT(clang-analyzer-core.uninitialized.Assign): of the variant's other alternative
  enum class Kind : std::uint8_t {
    data,     ///< the content of a file does not fit; exit status 1
    io,       ///< a file cannot be read or written; exit status 2
    diverged  ///< training ran into NaN or infinity; exit status 3
  };
  Kind kind = Kind::data;
  std::string message;             ///< one line: "`abc` is not a number"
  Place place;                     ///< line 0: the whole file; empty file: nowhere
  std::string expected, found;     ///< either may be empty
  std::vector<std::string> notes;  ///< further lines, such as "help: ..."

  /// "error: MESSAGE" with the lines of place, expected, found and notes; ends in a newline.
  std::string render() const;
};

/// A value or the reason why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
  Result(Problem problem) : held_(std::in_place_index<1>, std::move(problem)) {}

  explicit operator bool() const { return held_.index() == 0; }
  T& operator*() & { return std::get<0>(held_); }
  const T& operator*() const& { return std::get<0>(held_); }
  T&& operator*() && { return std::get<0>(std::move(held_)); }
  T* operator->() { return &std::get<0>(held_); }
  const T* operator->() const { return &std::get<0>(held_); }
  const Problem& problem() const { return std::get<1>(held_); }

 private:
  std::variant<T, Problem> held_;
};

}  // namespace nnc

// What people write who come from elsewhere, and what it is here: the help line of messages about names, members and
// signs that another language has.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace nnc {

/// The help for a name that nothing has: what a habit from elsewhere is here, a known name in other letters, or the
/// nearest of the known ones. Empty where nothing is near.
std::string repair_of_name(std::string_view name, std::span<const std::string> known);

/// Whether this is how other tools call their modules: `nn` in `nn.relu`.
bool is_foreign_module(std::string_view name);

/// An argument of a call as it is written; the name is empty where there is none.
struct WrittenArgument {
  std::string name, value;
};
/// The help for `base.member` where base is a value: `.shape`, `.T`, `.relu()`, `.reshape(batch, 4)`.
std::string repair_of_member(std::string_view base, std::string_view member, std::span<const WrittenArgument> arguments,
                             std::span<const std::string> functions);

/// The help for an argument that the callee does not have: another library's word for one that it has ("dim" is
/// `over`), or the nearest.
std::string repair_of_argument(std::string_view name, std::span<const std::string> known);

/// The help for a type that there is not.
std::string repair_of_type(std::string_view name, std::span<const std::string> known);

/// The help where a statement or declaration begins with a word of another language, or empty.
std::string repair_of_word(std::string_view word);

/// The help for a character that the language does not use, or empty.
std::string_view repair_of_character(std::string_view character);

}  // namespace nnc

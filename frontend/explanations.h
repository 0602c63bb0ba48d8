// The page behind each code: what it means, a program that earns it, and the program mended. The pages are
// frontend/explanations/CODE.md, embedded at build time; `nnc explain` prints them, and docs/errors.md is made of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/diagnostics.h"

namespace nnc {

/// All codes, by number.
std::vector<Code> all_codes();

/// What a person writes for a code: "E0301", "e301", "301". Nothing where there is none.
std::optional<Code> code_named(std::string_view text);

/// The code whose number is nearest, for an answer to one that there is not.
Code nearest_code(std::string_view text);

/// The page of a code without its heading, in Markdown; empty where it was forgotten (a test looks).
std::string_view explanation(Code code);

/// `nnc explain CODE`: heading and page.
std::string explained(Code code);

/// `nnc explain`: a line for each code, by what they are about.
std::string list_of_codes();

/// docs/errors.md.
std::string errors_document();

}  // namespace nnc

// What primitives are made of: arguments by position and by name, and the words that stand in files of their own.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "frontend/elaborator.h"

namespace nnc::primitives {

/// Position of a named argument; nullopt where it is not given.
std::optional<std::size_t> named(const CallSite& site, std::string_view name);
/// How many arguments have no name.
std::size_t positional(const CallSite& site);
/// An argument by its position or its name; nullopt where it is not given.
std::optional<std::size_t> given(const CallSite& site, std::size_t position, std::string_view name);
/// Between `least` and `most` positional arguments, and no names but these.
bool check_arguments(CallSite& site, std::size_t least, std::size_t most,
                     std::initializer_list<std::string> names = {});
/// Whether the first argument has floating elements; if not, that is reported.
bool needs_floats(CallSite& site, const Array& x);
/// The op over that many positional arguments.
Term elementwise_call(CallSite& site, Op op, std::size_t count);

// Reductions (primitives_reductions.cpp).
Term sum(CallSite& site);
Term mean(CallSite& site);
Term var(CallSite& site);
Term max(CallSite& site);
Term min(CallSite& site);
Term argmax(CallSite& site);

// Shapes and parts of an axis (primitives_shapes.cpp).
Term reshape(CallSite& site);
Term transpose(CallSite& site);
Term pad(CallSite& site);
Term window(CallSite& site);
Term concat(CallSite& site);
Term size(CallSite& site);

}  // namespace nnc::primitives

// What the signs and the names beside the lines of a derivation mean, for a reader who knows the calculus of one
// variable.
#pragma once

#include <string>
#include <vector>

#include "passes/derive/derivation.h"

namespace nnc {

struct GlossaryEntry {
  std::string word, meaning;
};
struct Glossary {
  std::vector<GlossaryEntry> signs, rules, laws;
};

/// Of what a derivation prints: its signs; the rules of differentiation and the laws of algebra that it names.
Glossary glossary_of(const Derivation& derivation);

}  // namespace nnc

// What a derivation says of layer after layer in the same words: told once.
#pragma once

#include <vector>

#include "passes/derive/derivation.h"

namespace nnc {

/// Finds runs of three and more groups of equations that differ only in the numbers of their names, where each number
/// goes up or down by the same from group to group. The first group stays; lines of the others become `alike`, and the
/// last line of the first group names what they are about.
void tell_repeats_once(std::vector<DerivationLine>& lines);

}  // namespace nnc

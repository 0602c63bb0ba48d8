// The model as a picture: what its text applies to what, from the columns down to the loss, with the shapes that come
// out. Layers of nodes and their order follow Sugiyama, Tagawa and Toda 1981; what repeats is drawn once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "frontend/outline.h"

namespace nnc::driver {

/// A step of an outline that stands for `times` equal ones, each made from the one before.
struct DrawnStep {
  OutlineStep step;
  std::int64_t times = 1;
};
/// Runs of three and more equal parts as one, where there are more steps than a page shows well.
std::vector<DrawnStep> repeats_once(const Outline& outline);

/// An SVG that links each step to "#L" and its line, with colours by the classes of the report's style. Empty for an
/// empty outline.
std::string model_svg(const Outline& outline);

/// "n × 3", "a number"; of what is no f32 also the type.
std::string shape_shown(const Type& type);

}  // namespace nnc::driver

// The pictures of a report as SVG: curves over the epochs, the answers of a model of one or two inputs, weights and
// samples as images.
#pragma once

#include <string>
#include <vector>

#include "driver/report.h"

namespace nnc::driver {

/// "var(--c2)", again from the first after eight.
std::string colour(std::size_t i);
/// Names with their colours.
std::string key_of(const std::vector<std::string>& names);

/// All figures over the epochs, those of one kind in one picture: linear, or logarithmic by a switch. Empty where no
/// figure has two epochs.
std::string curves_html(const std::vector<RunReport>& runs);
/// The fit or the regions; empty where there is none.
std::string field_html(const RunReport& run);
/// Weights below 0 in one colour, above 0 in the other; in each picture the greatest is opaque.
std::string weights_html(const RunReport::Pictures& pictures);
/// A square of grey levels, the least on paper, the greatest in ink.
std::string image_svg(const std::vector<double>& pixels, const std::string& label);

}  // namespace nnc::driver

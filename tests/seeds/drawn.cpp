#include "tests/seeds/drawn.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <stdexcept>

namespace nnc::seeds {

using nlohmann::json;

namespace {

const json& of_system(const std::string& name) {
  static const json all = json::parse(std::ifstream(NNC_SOURCE_DIR "/tests/reference/seeds.json"));
  return all.at(name);
}

}  // namespace

Spread reference(const std::string& name, const std::string& figure) {
  const json& spread = of_system(name).at(figure);
  return {spread.at("least"), spread.at("low"),      spread.at("median"),
          spread.at("high"),  spread.at("greatest"), of_system(name).at("runs")};
}

std::string why_outside(const std::string& published, const Spread& spread, const std::string& known) {
  const std::vector<double> numbers = numbers_of(published);
  if (numbers.size() != 1) return "";
  const bool among = numbers[0] >= spread.least && numbers[0] <= spread.greatest;
  const std::string ends =
      fmt::format("the {} independent runs, {:.6g} .. {:.6g}", spread.runs, spread.least, spread.greatest);
  return (among ? "among " + ends : "beyond " + ends) + (known.empty() ? "" : "; " + known);
}

Drawn::Drawn(Table& table, std::string system, std::string name, std::vector<Run> runs, bool few)
    : table_(table), system_(std::move(system)), name_(std::move(name)), runs_(std::move(runs)), few_(few) {}

void Drawn::row(const std::string& what, const std::string& published, const Figure& figure, const std::string& known,
                double grain, const std::string& why) const {
  const Spread spread = reference(name_, known);
  const double beyond = (spread.greatest - spread.least) / 2;
  const double low = few_ ? spread.least - beyond : spread.low, high = few_ ? spread.greatest + beyond : spread.high;
  const double slack = std::max(grain, 1e-5 * std::max(std::abs(low), std::abs(high)));  // the rounding of f32
  table_.within(system_, what, published, median(figure), low - slack, high + slack, spread.median).why =
      why_outside(published, spread, why.empty() ? why_ : why);
}

void Drawn::keep_those_that_stopped(const std::string& what) {
  const json& known = of_system(name_);
  const double share = known.at("reached").get<double>() / known.at("runs").get<double>();
  const auto all = static_cast<double>(runs_.size());
  std::erase_if(runs_, [](const Run& run) { return !run.stopped; });
  const double deviation = std::sqrt(share * (1 - share) / all);
  table_.within(system_, what, "-", static_cast<double>(runs_.size()) / all, std::max(0.0, share - 3 * deviation),
                std::min(1.0, share + 3 * deviation));
  if (runs_.empty()) throw std::runtime_error(what + ": none");
}

}  // namespace nnc::seeds

// Rows of the table for runs of the material that are repeated: the same rows in the same order (tests/seeds/order.h),
// from zero, in float64. What the material prints of them is reached to its last digit.
#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <map>
#include <sstream>

#include "tests/seeds/systems.h"

namespace nnc::seeds {

namespace {

/// A run of the material.
struct Repeated {
  std::string system, what;
  std::string example, block;
  std::string data;                ///< the data block that has the rows
  std::string file, columns;       ///< of the material; lines of the data block: features and targets
  std::uint32_t drawn;             ///< what its first epoch drew: found by trying all (tests/reference/find_order.py)
  std::size_t rows;                ///< as many are taken, over and over
  std::string stop{}, every{"1"};  ///< what ends it before, if anything; updates between two looks
  std::string error{};             ///< in place of the example's metric `error`
};

Run repeat(Runs& runs, const Repeated& run) {
  const std::string rows = "  train = csv(\"" + runs.in_order(run.file, run.drawn, run.rows).string() +
                           "\")\n  valid = csv(\"DATA/" + run.file + "\")\n";
  std::map<std::string, std::string> settings = {{"shuffle", "false"}, {"epochs", "1"}};
  if (!run.error.empty()) settings["metric error"] = run.error;
  settings["stop"] = run.stop;
  settings["check_every"] = run.stop.empty() ? "1" : "steps(" + run.every + ")";
  return runs.train(run.example, run.block,
                    {.more = "--dtype f64", .data = {{run.data, rows + run.columns}}, .settings = settings});
}

/// A unit of the last digit printed.
double last_digit(const std::string& published) {
  const std::size_t dot = published.find('.');
  return dot == std::string::npos ? 1 : std::pow(10, -static_cast<double>(published.size() - dot - 1));
}

/// Rows of one run.
class Rows {
 public:
  Rows(Table& table, const Repeated& run)
      : table_(table), system_(run.system), what_("the material's run, row by row: " + run.what + ": ") {}

  void number(const std::string& name, const std::string& published, double reached) const {
    const double value = std::stod(published), unit = last_digit(published);
    table_.within(system_, what_ + name, published, reached, value - unit, value + unit);
  }
  void numbers(const std::string& name, const std::string& published, const std::vector<double>& reached) const {
    std::istringstream in(published);
    std::string one;
    for (std::size_t i = 0; in >> one; ++i)
      number(reached.size() == 1 ? name : fmt::format("{}{}", name, i + 1), one, reached.at(i));
  }
  void weights(const std::string& w, const std::string& b, const Run& run) const {
    numbers("w", w, run.weights.at("Dense1.W"));
    numbers("b", b, run.weights.at("Dense1.b"));
  }
  void updates(const std::string& name, const std::string& published, double reached) const {
    table_.within(system_, what_ + name, published, reached, std::stod(published) - 2, std::stod(published) + 2);
  }

 private:
  Table& table_;
  std::string system_, what_;
};

/// nnc looks at the loss after each update, the material after every second; its count is the number of the last, from
/// 0.
void add_servers_again(Table& table, Runs& runs) {
  Repeated line{"linear regression, one variable",
                "single samples",
                "linear/descent.nn",
                "single",
                "servers",
                "seeds/ch04_servers.csv",
                "  x: f32[1] = cols(\"servers_k\")\n  y: f32[1] = cols(\"power_kw\")",
                35,
                10000,
                "valid.error < 0.02"};
  const auto add = [&](std::size_t updates, std::size_t batch, const std::string& w, const std::string& b) {
    const Rows rows(table, line);
    rows.updates("updates until the loss is below 0.02", std::to_string(updates),
                 static_cast<double>(repeat(runs, line).step));
    line.rows = (updates + 1) * batch, line.stop = "";
    rows.weights(w, b, repeat(runs, line));
  };
  const Repeated single = line;
  add(304, 1, "2.003", "2.990");
  line = single, line.what = "mini-batches of 10", line.block = "mini", line.drawn = 28;
  add(110, 10, "2.006", "2.997");
}

void add_houses_again(Table& table, Runs& runs) {
  const auto again = [&](const std::string& what, const std::string& block, std::uint32_t drawn, std::size_t epochs) {
    return Repeated{"linear regression, two variables",
                    what,
                    "house/house.nn",
                    block,
                    "houses",
                    "seeds/ch05_house_price.csv",
                    "  x: f32[2] = minmax(cols(\"distance_km\", \"area_m2\"))\n  price: f32[1] = cols(\"price_wan\")\n"
                    "  share: f32[1] = minmax(price)",
                    drawn,
                    1000 * epochs};
  };
  const auto price = [&](const Run& run) { return std::stod(runs.predict(run, "distance_km,area_m2\n15,93\n").at(0)); };
  const Repeated plain = again("features in [0, 1]", "plain", 79, 500);
  const Run run = repeat(runs, plain);
  const Rows rows(table, plain);
  rows.weights("-40.2326 399.3639", "244.3912", run);
  rows.number("loss", "380.5935", run.figure("valid", "loss"));
  rows.number("price at (15, 93)", "486.143", price(run));
  // Back to kilometres and square metres.
  const std::string data = "distance_km,area_m2\n0,0\n1,0\n0,1\n";
  const auto prices = runs.predict(run, data);
  const double at_zero = std::stod(prices.at(0));
  rows.numbers("scaling undone: w", "-2.01737 5.05524",
               {std::stod(prices.at(1)) - at_zero, std::stod(prices.at(2)) - at_zero});
  rows.number("scaling undone: b", "46.26647", at_zero);
  // Of this net the material prints two runs: the loss of the first, weights and price of the second.
  const Repeated scaled = again("target too", "scaled", 70, 200), before = again("target too", "scaled", 12, 200);
  const Run weighed = repeat(runs, scaled);
  Rows(table, scaled).number("loss", "0.0015664", repeat(runs, before).figure("valid", "loss"));
  Rows(table, scaled).weights("-0.08149 0.81022", "0.12802", weighed);
  Rows(table, scaled).number("price at (15, 93)", "486.336", price(weighed));
}

void add_classes_again(Table& table, Runs& runs) {
  Repeated cities{"logistic regression",
                  "100 epochs",
                  "logistic/cities.nn",
                  "Border",
                  "cities",
                  "seeds/ch06_chu_han.csv",
                  "  x: f32[2] = cols(\"x1\", \"x2\")\n  y: f32[1] = cols(\"y\")",
                  65,
                  20000};
  cities.error = "mean(-y * log(a) - (1 - y) * log(1 - a + 1e-5))";  // the material's loss
  const Run two = repeat(runs, cities);
  const Rows border(table, cities);
  border.number("loss, with 1e-5 below the second logarithm", "0.20742587", two.figure("valid", "error"));
  border.weights("-7.66469954 3.15772116", "2.19442993", two);
  std::vector<double> probabilities;
  for (const std::string& line : runs.predict(two, "x1,x2\n0.58,0.92\n0.62,0.55\n0.39,0.29\n"))
    probabilities.push_back(std::stod(line));
  border.numbers("probability of place ", "0.65791301 0.30556477 0.53019727", probabilities);

  const Repeated kingdoms{"softmax regression, three classes",
                          "100 epochs",
                          "softmax/kingdoms.nn",
                          "Kingdom",
                          "kingdoms",
                          "seeds/ch07_three_kingdoms.csv",
                          "  x: f32[2] = minmax(cols(\"x1\", \"x2\"))\n  y: i32[] = classes(col(\"y\"))",
                          19,
                          14000};
  const Run three = repeat(runs, kingdoms);
  const Rows states(table, kingdoms);
  states.weights("-1.43234109 -3.57409342 5.00643451 4.47791288 -2.88936887 -1.58854401",
                 "-1.81896724 3.66606162 -1.84709438", three);
  states.number("loss", "0.25497053", three.figure("valid", "loss"));
}

void add_gates_again(Table& table, Runs& runs) {
  const Repeated inverter{"logic gates",
                          "NOT",
                          "gates/gates.nn",
                          "not_gate",
                          "inverter",
                          "seeds/not.csv",
                          "  x: f32[1] = cols(\"x\")\n  y: f32[1] = cols(\"y\")",
                          85,
                          20000,
                          "valid.error < 0.002",
                          "2"};
  const Run run = repeat(runs, inverter);
  const Rows rows(table, inverter);
  rows.number("epochs until the loss is below 0.002", "2516", static_cast<double>(run.step) / 2);
  rows.weights("-12.46886", "6.03110", run);

  // From here on the material adds 1e-5 below the second logarithm of its loss, which is what ends its runs.
  const auto add = [&](const std::string& what, const std::string& block, const std::string& y, std::uint32_t drawn,
                       const std::string& epochs, const std::string& w, const std::string& b) {
    const Repeated gate{"logic gates",
                        what,
                        "gates/gates.nn",
                        block,
                        "gates",
                        "seeds/logic_gates.csv",
                        "  x: f32[2] = cols(\"x1\", \"x2\")\n  both: f32[1] = cols(\"and\")\n  not_both: f32[1] = "
                        "cols(\"nand\")\n  any: f32[1] = cols(\"or\")\n  none: f32[1] = cols(\"nor\")\n  one: f32[1] = "
                        "cols(\"xor\")",
                        drawn,
                        40000,
                        "valid.error < 0.002",
                        "4",
                        fmt::format("mean(-{0} * log(a) - (1 - {0}) * log(1 - a + 1e-5))", y)};
    const Run two = repeat(runs, gate);
    const Rows of_gate(table, gate);
    if (!epochs.empty())
      of_gate.number("epochs until the loss is below 0.002", epochs, static_cast<double>(two.step) / 4);
    of_gate.numbers("w", w, two.weights.at("Dense1.W"));
    if (!b.empty()) of_gate.numbers("b", b, two.weights.at("Dense1.b"));
  };
  add("AND", "and_gate", "both", 42, "4237", "11.7575 11.7578", "-17.8047");
  add("NAND", "nand_gate", "not_both", 6, "", "-11.763 -11.763", "17.812");
  add("OR", "or_gate", "any", 77, "", "11.743 11.743", "");
  add("NOR", "nor_gate", "none", 5, "", "-11.738 -11.738", "5.409");
}

/// The material looks at the loss after every tenth epoch.
void add_sines_again(Table& table, Runs& runs) {
  const auto add = [&](int degree, std::uint32_t drawn, std::size_t epochs, const std::string& w, const std::string& b,
                       const std::string& loss) {
    const Repeated sine{"polynomial regression",
                        fmt::format("sine, degree {}", degree),
                        "polynomial/sine.nn",
                        fmt::format("degree_{}", degree),
                        "sine",
                        "seeds/ch08_sin_train.csv",
                        "  x: f32[1] = cols(\"x\")\n  y: f32[1] = cols(\"y\")",
                        drawn,
                        500 * (epochs + 50),
                        "valid.error < 0.005",
                        "500"};
    const Run run = repeat(runs, sine);
    const Rows rows(table, sine);
    rows.number("epochs until the loss is below 0.005", std::to_string(epochs), static_cast<double>(run.step) / 50);
    rows.number("loss", loss, run.figure("valid", "loss"));
    rows.weights(w, b, run);
  };
  const auto never = [&](std::uint32_t drawn, const std::string& loss) {
    const Repeated sine{"polynomial regression",
                        "sine, degree 2",
                        "polynomial/sine.nn",
                        "degree_2",
                        "sine",
                        "seeds/ch08_sin_train.csv",
                        "  x: f32[1] = cols(\"x\")\n  y: f32[1] = cols(\"y\")",
                        drawn,
                        500 * 10000};
    Rows(table, sine).number("loss after 10000 epochs", loss, repeat(runs, sine).figure("valid", "loss"));
  };
  never(2, "0.09628814");
  add(3, 58, 2380, "10.49907256 -31.06694195 20.73039288", "-0.07999603", "0.00494968");
  add(4, 95, 8290, "8.78717 -20.55757649 1.28964911 10.88610303", "-0.04688634", "0.00499641");
}

}  // namespace

void add_repeated(Table& table, Runs& runs, bool quick) {
  add_servers_again(table, runs);
  add_houses_again(table, runs);
  add_classes_again(table, runs);
  add_gates_again(table, runs);
  if (quick) return table.skipped.push_back("| polynomial regression | the material's run, row by row");
  add_sines_again(table, runs);
}

}  // namespace nnc::seeds

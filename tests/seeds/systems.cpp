// The rows of the table: what is trained, and which published figures it is held against.
#include "tests/seeds/systems.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

namespace nnc::seeds {

namespace {

using nlohmann::json;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Least and greatest of the independent runs.
struct Spread {
  double least, greatest;
};

Spread reference(const std::string& system, const std::string& figure) {
  static const json all = json::parse(std::ifstream(NNC_SOURCE_DIR "/tests/reference/seeds.json"));
  const json& spread = all.at(system).at(figure);
  return {spread.at("least"), spread.at("greatest")};
}

/// A figure of runs whose order of rows and start are drawn: the median of five lies where the independent runs lie, to
/// the rounding of f32.
void add_drawn(Table& table, const std::string& system, const std::string& what, const std::string& published,
               double reached, const std::string& of, const std::string& figure) {
  const auto [least, greatest] = reference(of, figure);
  const double slack = 1e-5 * std::max(std::abs(least), std::abs(greatest));
  table.within(system, what, published, reached, least - slack, greatest + slack);
}

double epochs(const Run& run) { return static_cast<double>(run.epoch); }
auto figure_of(const std::string& split, const std::string& name) {
  return [=](const Run& run) { return run.figure(split, name); };
}
auto weight_of(const std::string& path, std::size_t index = 0) {
  return [=](const Run& run) { return run.weight(path, index); };
}

// ---- one layer
// ---------------------------------------------------------------------------------------------------------

void add_servers(Table& table, Runs& runs, bool quick) {
  const std::string system = "linear regression, one variable";
  const std::string example = "linear/descent.nn", until = "--set enough=0.02";
  const Run exact = runs.train(example, "exact", {.more = "--dtype f64"});
  table.near(system, "least squares, w", 2.056827, exact.weight("Dense1.W"), 5e-7);
  table.near(system, "least squares, b", 2.965434, exact.weight("Dense1.b"), 5e-7);
  const auto single =
      several(quick, [&](const std::string& seed) { return runs.train(example, "single", {until + seed}); });
  add_drawn(table, system, "single samples: epochs until the loss is below 0.02", "304 updates, 3 epochs",
            median(single, epochs), "servers_single", "epochs");
  add_drawn(table, system, "single samples: w", "2.003", median(single, weight_of("Dense1.W")), "servers_single", "w1");
  const auto mini =
      several(quick, [&](const std::string& seed) { return runs.train(example, "mini", {until + seed}); });
  add_drawn(table, system, "mini-batches of 10: epochs", "110 updates, 10 epochs", median(mini, epochs), "servers_mini",
            "epochs");
  add_drawn(table, system, "mini-batches of 10: w", "2.006", median(mini, weight_of("Dense1.W")), "servers_mini", "w1");
  const Run whole = runs.train(example, "whole", {until});
  table.near(system, "full batch: updates", 60, static_cast<double>(whole.step), 2);
  table.near(system, "full batch: w", 1.993, whole.weight("Dense1.W"), 5e-4);
  table.near(system, "full batch: b", 2.998, whole.weight("Dense1.b"), 5e-4);
}

void add_houses(Table& table, Runs& runs, bool quick) {
  const std::string system = "linear regression, two variables", example = "house/house.nn",
                    rows = "distance_km,area_m2\n15,93\n";
  const auto plain = several(quick, [&](const std::string& seed) { return runs.train(example, "plain", {seed}); });
  add_drawn(table, system, "features in [0, 1]: loss", "380.5935", median(plain, figure_of("train", "loss")), "houses",
            "loss");
  add_drawn(table, system, "features in [0, 1]: w1", "-40.2326", median(plain, weight_of("Dense1.W")), "houses", "w1");
  add_drawn(table, system, "features in [0, 1]: w2", "399.3639", median(plain, weight_of("Dense1.W", 1)), "houses",
            "w2");
  add_drawn(table, system, "features in [0, 1]: b", "244.3912", median(plain, weight_of("Dense1.b")), "houses", "b1");
  const auto price = [&](const Run& run) { return std::stod(runs.predict(run, rows).at(0)); };
  table.near(system, "features in [0, 1]: price at (15, 93)", 486.143, median(plain, price), 1.14);
  const auto scaled =
      several(quick, [&](const std::string& seed) { return runs.train(example, "scaled", {"--epochs 200" + seed}); });
  add_drawn(table, system, "target too: loss", "0.0015664", median(scaled, figure_of("train", "loss")), "houses_scaled",
            "loss");
  add_drawn(table, system, "target too: w1", "-0.08149", median(scaled, weight_of("Dense1.W")), "houses_scaled", "w1");
  add_drawn(table, system, "target too: w2", "0.81022", median(scaled, weight_of("Dense1.W", 1)), "houses_scaled",
            "w2");
  add_drawn(table, system, "target too: b", "0.12802", median(scaled, weight_of("Dense1.b")), "houses_scaled", "b1");
  table.near(system, "target too: price at (15, 93), undone", 486.336, median(scaled, price), 0.6);

  const Run raw = runs.train("house/raw.nn", "House");
  const auto says = [&](const std::string& text) { return raw.messages.find(text) != std::string::npos; };
  table.within(system, "raw features, rate 0.1: exit status", "diverges", raw.status, 3, 3);
  table.holds(system, "raw features: names the step and the value", "inf after some 10 updates",
              says("training diverged: the loss became inf in epoch 1, step "),
              "the loss became inf in epoch 1, step " + std::to_string(raw.step + 1));
  table.holds(system, "raw features: says that a column is not scaled", "must be said",
              says("column `x` has values up to 119: `standardize` and `minmax` bring columns to one scale"),
              "column `x` has values up to 119");
  const std::vector<double> kept = raw.weights.at("Dense1.W");
  table.holds(system, "raw features: the last finite weights are kept", "must be kept",
              std::ranges::all_of(kept, [](double w) { return std::isfinite(w); }),
              fmt::format("w {:.3g} {:.3g}", kept.at(0), kept.at(1)));
}

void add_newton(Table& table, Runs& runs) {
  const std::string system = "normal equation, Newton's method";
  const Run houses = runs.train("newton/normal.nn", "House",
                                {.data = {{"houses",
                                           "  train = csv(\"DATA/seeds/ch05_house_price.csv\")\n"
                                           "  x: f64[2] = cols(\"distance_km\", \"area_m2\")\n"
                                           "  price: f64[1] = cols(\"price_wan\")"}}});
  table.near(system, "houses: w1", -2.0184092853092226, houses.weight("Dense1.W"), 1e-9);
  table.near(system, "houses: w2", 5.055333475112755, houses.weight("Dense1.W", 1), 1e-9);
  table.near(system, "houses: b", 46.235258613837644, houses.weight("Dense1.b"), 1e-9);
  table.near(system, "houses: price at (15, 93)", 486.1051325196855,
             std::stod(runs.predict(houses, "distance_km,area_m2\n15,93\n").at(0)), 1e-8);
  table.within(system, "houses: steps", "1", static_cast<double>(houses.step), 1, 1);

  const auto rows = [](const std::string& file, const std::string& x, const std::string& y) {
    return "  train = csv(\"DATA/" + file + "\")\n  x: f64[2] = cols(" + x + ")\n  kind: f64[1] = cols(\"" + y + "\")";
  };
  const Run tumours = runs.train(
      "newton/logistic.nn", "Line",
      {.data = {{"clouds", rows("tabular/breast_cancer_wdbc.csv", "\"mean_radius\", \"mean_texture\"", "malignant")}}});
  table.within(system, "logistic regression, breast cancer: steps to a slope below 1e-12", "under 10",
               static_cast<double>(tumours.step), 1, 9);
  table.within(system, "logistic regression, breast cancer: slope at the end", "0", tumours.figure("train", "slope"), 0,
               1e-12);
  const Run apart = runs.train("newton/separable.nn", "Border",
                               {.data = {{"cities",
                                          "  train = csv(\"DATA/seeds/ch06_chu_han.csv\")\n"
                                          "  x: f64[2] = cols(\"x1\", \"x2\")\n  y: f64[1] = cols(\"y\")"}}});
  const std::string without_end = "it has no lowest point, as where a line separates two classes";
  table.holds(system, "two states that a line separates: the run says so", "the weights grow without end",
              apart.status == 3 && apart.messages.find(without_end) != std::string::npos, without_end);
  const Run singular = runs.train("newton/singular.nn", "House", {.real = false});
  const std::string because = "the matrix is singular: `x[2]` is 10.7639 `x[1]` in every row";
  table.holds(system, "a column twice", "a clear error",
              singular.status == 3 && singular.messages.find(because) != std::string::npos, because);
}

void add_classes(Table& table, Runs& runs, bool quick) {
  const std::string logistic = "logistic regression";
  const auto cities =
      several(quick, [&](const std::string& seed) { return runs.train("logistic/cities.nn", "Border", {seed}); });
  add_drawn(table, logistic, "loss", "0.20742587", median(cities, figure_of("train", "loss")), "cities", "loss");
  add_drawn(table, logistic, "w1", "-7.66469954", median(cities, weight_of("Dense1.W")), "cities", "w1");
  add_drawn(table, logistic, "w2", "3.15772116", median(cities, weight_of("Dense1.W", 1)), "cities", "w2");
  add_drawn(table, logistic, "b", "2.19442993", median(cities, weight_of("Dense1.b")), "cities", "b1");
  table.near(logistic, "accuracy", 0.98, median(cities, figure_of("train", "acc")), 0.0051);
  const std::vector<std::pair<std::string, double>> places = {
      {"0.58,0.92", 0.65791301}, {"0.62,0.55", 0.30556477}, {"0.39,0.29", 0.53019727}};
  for (const auto& [place, published] : places) {
    const auto probability = [&](const Run& run) {
      return std::stod(runs.predict(run, "x1,x2\n" + place + "\n").at(0));
    };
    table.near(logistic, "probability at (" + place + ")", published, median(cities, probability), 0.006);
  }
  const Run& one = cities.front();
  table.within(logistic, "threshold 0.8: precision", "above that at 0.5", one.figure("train", "high_precision"),
               one.figure("train", "precision"), 1);
  table.within(logistic, "threshold 0.8: recall", "below that at 0.5", one.figure("train", "high_recall"), 0,
               one.figure("train", "recall"));

  const std::string softmax = "softmax regression, three classes";
  const auto kingdoms =
      several(quick, [&](const std::string& seed) { return runs.train("softmax/kingdoms.nn", "Kingdom", {seed}); });
  add_drawn(table, softmax, "loss", "0.25497053", median(kingdoms, figure_of("train", "loss")), "kingdoms", "loss");
  const std::vector<double> w = {-1.43234109, -3.57409342, 5.00643451, 4.47791288, -2.88936887, -1.58854401};
  for (std::size_t i = 0; i < w.size(); ++i)
    add_drawn(table, softmax, fmt::format("w{}", i + 1), fmt::format("{:.8f}", w[i]),
              median(kingdoms, weight_of("Dense1.W", i)), "kingdoms", fmt::format("w{}", i + 1));
  const std::vector<double> b = {-1.81896724, 3.66606162, -1.84709438};
  for (std::size_t i = 0; i < b.size(); ++i)
    add_drawn(table, softmax, fmt::format("b{}", i + 1), fmt::format("{:.8f}", b[i]),
              median(kingdoms, weight_of("Dense1.b", i)), "kingdoms", fmt::format("b{}", i + 1));
  const auto answers = runs.predict(kingdoms.front(), "x1,x2\n5,1\n7,6\n5,6\n2,7\n");
  table.holds(softmax, "classes at (5,1) (7,6) (5,6) (2,7)", "2 3 1 1",
              fmt::format("{}", fmt::join(answers, " ")) == "2 3 1 1", fmt::format("{}", fmt::join(answers, " ")));

  const std::string codes = "several problems of two classes";
  const double least = 0.9;
  for (const auto& [block, what] : {std::pair{"rest", "one against the rest"}, {"pairs", "one against one, by votes"}})
    table.within(codes, std::string(what) + ": accuracy", "as softmax, at least 0.9",
                 runs.train("codes/codes.nn", block).figure("train", "acc"), least, 1);
  const Run coded = runs.train(
      "codes/codes.nn", "coded",
      {.data = {{"digits",
                 "  train = csv(\"DATA/tabular/digits_train.csv\")\n  test = csv(\"DATA/tabular/digits_test.csv\")\n"
                 "  x: f32[64] = cols(\"p0\", to = \"p63\") / 16\n  y: i32[] = col(\"y\")"}}});
  table.within(codes, "fifteen problems, ten digits: accuracy on the test", "at least 0.9", coded.figure("test", "acc"),
               least, 1);
}

void add_gates(Table& table, Runs& runs) {
  struct Gate {
    std::string block, what, epochs, of;
    double w, b;
  };
  const std::string system = "logic gates";
  for (const Gate& gate : {Gate{"not_gate", "NOT", "2516", "not", -12.46886, 6.03110},
                           {"and_gate", "AND", "4237", "and", 11.7575, -17.8047},
                           {"nand_gate", "NAND", "as AND", "nand", -11.763, 17.812},
                           {"or_gate", "OR", "-", "or", 11.743, -5.41},
                           {"nor_gate", "NOR", "-", "nor", -11.738, 5.409}}) {
    const Run run = runs.train("gates/gates.nn", gate.block);
    const Spread spread = reference(gate.of, "epochs");
    table.within(system, gate.what + ": epochs until the loss is below 0.002", gate.epochs, epochs(run),
                 spread.least - 2, spread.greatest + 2);
    table.near(system, gate.what + ": w", gate.w, run.weight("Dense1.W"), 0.01);
    table.near(system, gate.what + ": b", gate.b, run.weight("Dense1.b"), 0.015);
    table.within(system, gate.what + ": greatest error", "below 0.01", run.figure("train", "off"), 0, 0.01);
  }
  const Run one = runs.train("gates/gates.nn", "xor_gate");
  table.within(system, "XOR with one neuron: rows that are right", "fails", one.figure("train", "acc"), 0, 0.75);
}

// ---- curves
// ------------------------------------------------------------------------------------------------------------

const std::string columns_xy = "  x: f32[1] = cols(\"x\")\n  y: f32[1] = cols(\"y\")";

void add_polynomials(Table& table, Runs& runs, bool quick) {
  const std::string system = "polynomial regression";
  const std::map<std::string, std::string> sine = {
      {"sine", "  train = csv(\"DATA/seeds/ch08_sin_train.csv\")\n" + columns_xy}};
  const auto of_degree = [&](int degree) {
    return several(quick, [&](const std::string& seed) {
      return runs.train("polynomial/sine.nn", fmt::format("degree_{}", degree), {seed, sine});
    });
  };
  const auto two = of_degree(2), three = of_degree(3), four = of_degree(4);
  add_drawn(table, system, "sine, degree 2: epochs (10000 at most)", "10000, not reached", median(two, epochs),
            "sine_2", "epochs");
  add_drawn(table, system, "sine, degree 2: loss", "0.095", median(two, figure_of("train", "loss")), "sine_2", "loss");
  add_drawn(table, system, "sine, degree 3: epochs until the loss is below 0.005", "about 2380", median(three, epochs),
            "sine_3", "epochs");
  add_drawn(table, system, "sine, degree 3: loss", "0.00494968", median(three, figure_of("train", "loss")), "sine_3",
            "loss");
  add_drawn(table, system, "sine, degree 3: w1", "10.49907256", median(three, weight_of("Dense1.W")), "sine_3", "w1");
  add_drawn(table, system, "sine, degree 4: epochs until the loss is below 0.005", "about 8290", median(four, epochs),
            "sine_4", "epochs");
  add_drawn(table, system, "sine, degree 4: loss", "0.00499641", median(four, figure_of("train", "loss")), "sine_4",
            "loss");
  add_drawn(table, system, "sine, degree 4: w1", "8.78717", median(four, weight_of("Dense1.W")), "sine_4", "w1");
  if (quick) return;
  const std::map<std::string, std::string> cobra = {
      {"cobra", "  train = csv(\"DATA/seeds/ch09_curve_train.csv\")\n" + columns_xy}};
  for (const auto& [degree, published] :
       std::map<int, std::string>{{4, "0.00498195"}, {6, "0.00466952"}, {8, "0.00377405"}}) {
    const auto of_this = several(quick, [&](const std::string& seed) {
      return runs.train("polynomial/curve.nn", fmt::format("degree_{}", degree), {seed, cobra});
    });
    add_drawn(table, system, fmt::format("curve, degree {}: loss after {} epochs", degree, degree == 4 ? 10000 : 50000),
              published, median(of_this, figure_of("train", "loss")), fmt::format("cobra_{}", degree), "loss");
  }
}

std::string held_out(const std::string& name) {
  return "  train, valid = split(csv(\"DATA/seeds/" + name + "_train.csv\"), 0.9, 0.1)\n  test = csv(\"DATA/seeds/" +
         name + "_test.csv\")\n";
}

void add_two_layers(Table& table, Runs& runs, bool quick) {
  const std::string system = "two layers";
  const std::map<std::string, std::string> data = {{"sine", held_out("ch08_sin") + columns_xy},
                                                   {"cobra", held_out("ch09_curve") + columns_xy}};
  const auto of_block = [&](const std::string& block) {
    return several(
        quick, [&](const std::string& seed) { return runs.train("two_layers/two_layers.nn", block, {seed, data}); });
  };
  const auto sine = of_block("sine"), cobra = of_block("cobra");
  add_drawn(table, system, "sine, 1-2-1: R² of the test", "0.98815", median(sine, figure_of("test", "r2")), "sine_net",
            "test_r2");
  add_drawn(table, system, "sine, 1-2-1: loss of the held-out rows", "0.004366",
            median(sine, figure_of("valid", "loss")), "sine_net", "loss");
  add_drawn(table, system, "curve, 1-3-1: R² of the test", "0.97659", median(cobra, figure_of("test", "r2")),
            "cobra_net", "test_r2");
  const auto [least, greatest] = reference("cobra_net", "epochs");
  table.within(system, "curve, 1-3-1: epochs until the loss is below 0.001", "4200", median(cobra, epochs), least - 10,
               greatest + 10);
  const Run straight = runs.train("two_layers/two_layers.nn", "straight", {.data = data});
  const auto ends = [&](double x) { return std::stod(runs.predict(straight, fmt::format("x\n{}\n", x)).at(0)); };
  table.within(system, "without activation: bend at the middle, y(0) - 2 y(0.5) + y(1)", "0, a line",
               ends(0) - 2 * ends(0.5) + ends(1), -1e-6, 1e-6);
}

void add_bent_borders(Table& table, Runs& runs, bool quick) {
  const std::string two = "two layers, two classes";
  const auto xor_runs =
      several(quick, [&](const std::string& seed) { return runs.train("xor/single.nn", "Xor", {seed}); });
  add_drawn(table, two, "XOR, 2-2-1: epochs until the loss is below 0.005", "5900", median(xor_runs, epochs), "xor",
            "epochs");
  table.within(two, "XOR, 2-2-1: greatest error", "below 0.01", median(xor_runs, figure_of("train", "off")), 0, 0.01);
  const std::string scaled = "  fit = [train, valid, test]\n  x: f32[2] = minmax(cols(\"x1\", \"x2\"))\n";
  const std::map<std::string, std::string> arcs = {
      {"arcs", held_out("ch10_double_arc") + scaled + "  y: f32[1] = cols(\"y\")"}};
  const auto arc_runs =
      several(quick, [&](const std::string& seed) { return runs.train("arcs/arcs.nn", "Net", {seed, arcs}); });
  add_drawn(table, two, "double arc, 2-2-1: epochs until the loss is below 0.08", "260", median(arc_runs, epochs),
            "arcs", "epochs");
  add_drawn(table, two, "double arc, 2-2-1: accuracy on the test", "1", median(arc_runs, figure_of("test", "acc")),
            "arcs", "test_accuracy");
  const std::string three = "two layers, three classes";
  const std::map<std::string, std::string> coin = {
      {"coin", held_out("ch11_coin") + scaled + "  y: i32[] = classes(col(\"y\"))"}};
  const auto coins =
      several(quick, [&](const std::string& seed) { return runs.train("coin/coin.nn", "Net", {seed, coin}); });
  add_drawn(table, three, "coin, 2-3-3: accuracy on the test", "0.952", median(coins, figure_of("test", "acc")), "coin",
            "test_accuracy");
  add_drawn(table, three, "coin, 2-3-3: loss of the held-out rows", "0.137970",
            median(coins, figure_of("valid", "loss")), "coin", "loss");
}

// ---- deep nets
// ---------------------------------------------------------------------------------------------------------

void add_deep(Table& table, Runs& runs) {
  const std::string system = "deep nets";
  const Run county = runs.train(
      "county/county.nn", "Price",
      {.more = "--epochs 1000",
       .data = {{"county",
                 "  train = csv(\"DATA/seeds/ch14_king_county_train.csv\")\n  test = "
                 "csv(\"DATA/seeds/ch14_king_county_test.csv\")\n"
                 "  x: f32[13] = minmax(cols(except = \"price\"))\n  y: f32[1] = minmax(cols(\"price\"))"}}});
  table.within(system, "king county, 13-32-16-8-4-1: R² of the test", "0.8413", county.figure("test", "r2"), 0.81, 1);
  const Run income = runs.train(
      "income/income.nn", "Income",
      {.data = {
           {"people",
            "  train = csv(\"DATA/seeds/ch14_income_train.csv\")\n  test = csv(\"DATA/seeds/ch14_income_test.csv\")\n"
            "  x: f32[14] = minmax(cols(except = \"y\"))\n  y: f32[1] = cols(\"y\")"}}});
  table.within(system, "income, 14-32-16-8-4-1: accuracy on the test", "0.84316", income.figure("test", "acc"), 0.83,
               1);
  const Run digits =
      runs.train("mnist/mnist.nn", "Mlp",
                 {.data = {{"mnist",
                            "  train = idx(image = \"DATA/mnist/train-images-idx3-ubyte.gz\", label = "
                            "\"DATA/mnist/train-labels-idx1-ubyte.gz\")\n"
                            "  test = idx(image = \"DATA/mnist/t10k-images-idx3-ubyte.gz\", label = "
                            "\"DATA/mnist/t10k-labels-idx1-ubyte.gz\")\n"
                            "  x: f32[784] = reshape(col(\"image\"), [784]) / 255\n  y: i32[] = col(\"label\")"}}});
  table.within(system, "MNIST, 784-256-128-10, five epochs: accuracy on the test", "0.975",
               digits.figure("test", "acc"), 0.975, 1);
}

std::string shown_values(const json& value) {
  if (!value.is_array()) return value.is_number() ? fmt::format("{:.9g}", value.get<double>()) : value.dump();
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(value.size(), 6); ++i)
    text += (i > 0 ? " " : "") + shown_values(value[i]);
  return value.size() > 6 ? text + " ..." : text;
}

}  // namespace

void add_systems(Table& table, Runs& runs, bool quick) {
  add_servers(table, runs, quick);
  add_houses(table, runs, quick);
  add_newton(table, runs);
  add_classes(table, runs, quick);
  add_gates(table, runs);
  add_polynomials(table, runs, quick);
  add_two_layers(table, runs, quick);
  add_bent_borders(table, runs, quick);
  if (!quick) add_deep(table, runs);
}

void add_own_systems(Table& table, Runs& runs, bool quick) {
  const std::string system = "batch normalisation";
  const auto steps = [](const Run& run) { return static_cast<double>(run.step); };
  const auto without = several(
      quick, [&](const std::string& seed) { return runs.train("batch_norm/batch_norm.nn", "without", {seed}); });
  const auto with =
      several(quick, [&](const std::string& seed) { return runs.train("batch_norm/batch_norm.nn", "with", {seed}); });
  const double plain = median(without, steps), normalised = median(with, steps);
  table.holds(system, "steps to the loss 0.2, with it and without", "fewer with it", normalised < plain,
              fmt::format("{} and {}", normalised, plain));
  if (quick) return;
  double total = 0, deepest = 0;
  for (const std::string& example : all_examples()) {
    const double seconds = runs.train_all(example);
    (example.starts_with("fashion") || example.starts_with("mnist") ? deepest : total) += seconds;
  }
  table.holds("all examples", "processor time on one core: those with data of their own, and those with pictures",
              "under 120 s", total + deepest < 120, fmt::format("{:.0f} s and {:.0f} s", total, deepest));
}

void add_pieces(Table& table, Runs& runs) {
  for (const std::string& file : all_examples())
    for (const json& test : runs.test(file)) {
      if (!test.contains("expected")) continue;
      const bool passed = test.at("passed");
      for (const json& one : test.at("expected")) {
        const double within = one.at("within");
        table.pieces.push_back({test.at("test"), one.at("condition"), shown_values(one.at("right")),
                                shown_values(one.at("left")), within == 0 ? "exactly" : fmt::format("{:g}", within),
                                passed});
      }
    }
}

}  // namespace nnc::seeds

// The rows of the table: what is trained, and which published figures it is held against.
#include "tests/seeds/systems.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/seeds/drawn.h"

namespace nnc::seeds {

namespace {

using nlohmann::json;

double epochs(const Run& run) { return static_cast<double>(run.epoch); }
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
  const Run once = runs.train(example, "once");
  table.near(system, "one pass in the order of the file: w", 1.71629006, once.weight("Dense1.W"), 1e-6);
  table.near(system, "one pass in the order of the file: b", 3.19684087, once.weight("Dense1.b"), 1e-6);
  table.near(system, "one pass in the order of the file: power for 346 servers", 3.79067723,
             std::stod(runs.predict(once, "servers_k\n0.346\n").at(0)), 1e-6);
  struct Form {
    std::string block, what, updates, w, b;
  };
  for (const Form& form : {Form{"single", "single samples", "304", "2.003", "2.990"},
                           {"mini", "mini-batches of 10", "110", "2.006", "2.997"}}) {
    Drawn drawn(
        table, system, "servers_" + form.block,
        several(quick, many, [&](const std::string& seed) { return runs.train(example, form.block, {until + seed}); }),
        quick);
    drawn.is_repeated();
    drawn.row(form.what + ": updates until the loss is below 0.02", form.updates, updates, "updates");
    drawn.row(form.what + ": w", form.w, weight_of("Dense1.W"), "w1");
    drawn.row(form.what + ": b", form.b, weight_of("Dense1.b"), "b1");
  }
  const Run whole = runs.train(example, "whole", {until});
  table.near(system, "full batch: updates", 60, updates(whole), 2);
  table.near(system, "full batch: w", 1.993, whole.weight("Dense1.W"), 5e-4);
  table.near(system, "full batch: b", 2.998, whole.weight("Dense1.b"), 5e-4);
}

void add_houses(Table& table, Runs& runs, bool quick) {
  const std::string system = "linear regression, two variables", example = "house/house.nn",
                    rows = "distance_km,area_m2\n15,93\n";
  const auto price = [&](const Run& run) { return std::stod(runs.predict(run, rows).at(0)); };
  const auto of_block = [&](const std::string& block, const std::string& name, const std::string& more) {
    return Drawn(
        table, system, name,
        several(quick, many, [&](const std::string& seed) { return runs.train(example, block, {more + seed}); }),
        quick);
  };
  const Drawn plain = of_block("plain", "houses", "");
  plain.row("features in [0, 1]: loss", "380.5935", figure_of("train", "loss"), "loss");
  plain.row("features in [0, 1]: w1", "-40.2326", weight_of("Dense1.W"), "w1");
  plain.row("features in [0, 1]: w2", "399.3639", weight_of("Dense1.W", 1), "w2");
  plain.row("features in [0, 1]: b", "244.3912", weight_of("Dense1.b"), "b1");
  plain.row("features in [0, 1]: price at (15, 93)", "486.143", price, "place1");
  Drawn scaled = of_block("scaled", "houses_scaled", "--epochs 200");
  scaled.is_repeated();
  scaled.row("target too: loss", "0.0015664", figure_of("train", "loss"), "loss");
  scaled.row("target too: w1", "-0.08149", weight_of("Dense1.W"), "w1");
  scaled.row("target too: w2", "0.81022", weight_of("Dense1.W", 1), "w2");
  scaled.row("target too: b", "0.12802", weight_of("Dense1.b"), "b1");
  scaled.row("target too: price at (15, 93), undone", "486.336", price, "place1");

  const Run raw = runs.train("house/raw.nn", "House");
  const auto says = [&](const std::string& text) { return raw.messages.find(text) != std::string::npos; };
  table.within(system, "raw features, rate 0.1: exit status", "diverges", raw.status, 3, 3);
  const std::string became = "training diverged: the loss became inf in epoch 1, step ";
  const std::size_t said = raw.messages.find(became);
  table.holds(system, "raw features: names the step", "inf after some 10 updates", said != std::string::npos,
              said == std::string::npos ? "not said" : raw.messages.substr(said, raw.messages.find('\n', said) - said));
  const std::string first = "`(z − price)²` in `loss = half_mse(z, price)`: inf, in row ";
  const std::size_t at = raw.messages.find(first);
  table.holds(
      system, "raw features: names the first value that went wrong, its line and its row", "-", at != std::string::npos,
      at == std::string::npos ? "not said" : raw.messages.substr(at, raw.messages.find(',', at + first.size()) - at));
  table.holds(system, "raw features: says that a column is not scaled", "-",
              says("column `x` has values up to 119: `standardize` and `minmax` bring columns to one scale"),
              "column `x` has values up to 119");
  const std::vector<double> kept = raw.weights.at("Dense1.W");
  const double loss = [&] {
    const json figure = runs.evaluate(raw).at("train").at("loss");
    return figure.is_number() ? figure.get<double>() : std::nan("");
  }();
  table.holds(system, "raw features: the last weights that are kept have a finite loss over all rows", "-",
              std::isfinite(loss), fmt::format("w {:.3g} {:.3g}, loss {:.3g}", kept.at(0), kept.at(1), loss));
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
  table.within(system, "houses: steps", "-", static_cast<double>(houses.step), 1, 1);

  const auto rows = [](const std::string& file, const std::string& x, const std::string& y) {
    return "  train = csv(\"DATA/" + file + "\")\n  x: f64[2] = cols(" + x + ")\n  kind: f64[1] = cols(\"" + y + "\")";
  };
  const Run tumours = runs.train(
      "newton/logistic.nn", "Line",
      {.data = {{"clouds", rows("tabular/breast_cancer_wdbc.csv", "\"mean_radius\", \"mean_texture\"", "malignant")}}});
  table.within(system, "logistic regression, breast cancer: steps to a slope below 1e-12", "-",
               static_cast<double>(tumours.step), 1, 9);
  table.within(system, "logistic regression, breast cancer: slope at the end", "-", tumours.figure("train", "slope"), 0,
               1e-12);
  const Run apart = runs.train("newton/separable.nn", "Border",
                               {.data = {{"cities",
                                          "  train = csv(\"DATA/seeds/ch06_chu_han.csv\")\n"
                                          "  x: f64[2] = cols(\"x1\", \"x2\")\n  y: f64[1] = cols(\"y\")"}}});
  const std::string without_end = "it has no lowest point, as where a line separates two classes";
  table.holds(system, "two states that a line separates: the run says so", "-",
              apart.status == 3 && apart.messages.find(without_end) != std::string::npos, without_end);
  const Run singular = runs.train("newton/singular.nn", "House", {.real = false});
  const std::string because = "the matrix is singular: `x[2]` is 10.7639 `x[1]` in every row";
  table.holds(system, "a column twice", "-",
              singular.status == 3 && singular.messages.find(because) != std::string::npos, because);
}

void add_classes(Table& table, Runs& runs, bool quick) {
  const std::string logistic = "logistic regression";
  const Drawn cities(
      table, logistic, "cities",
      several(quick, many, [&](const std::string& seed) { return runs.train("logistic/cities.nn", "Border", {seed}); }),
      quick);
  cities.row("loss", "0.20742587", figure_of("train", "loss"), "loss");
  cities.row("w1", "-7.66469954", weight_of("Dense1.W"), "w1");
  cities.row("w2", "3.15772116", weight_of("Dense1.W", 1), "w2");
  cities.row("b", "2.19442993", weight_of("Dense1.b"), "b1");
  cities.row("accuracy", "0.98", figure_of("train", "acc"), "train_accuracy");
  int number = 0;
  for (const auto& [place, published] : {std::pair<std::string, std::string>{"0.58,0.92", "0.65791301"},
                                         {"0.62,0.55", "0.30556477"},
                                         {"0.39,0.29", "0.53019727"}}) {
    const auto probability = [&runs, &place = place](const Run& run) {
      return std::stod(runs.predict(run, "x1,x2\n" + place + "\n").at(0));
    };
    cities.row("probability at (" + place + ")", published, probability, fmt::format("place{}", ++number));
  }
  cities.row("threshold 0.5: precision", "-", figure_of("train", "precision"), "train_precision");
  cities.row("threshold 0.5: recall", "-", figure_of("train", "recall"), "train_recall");
  cities.row("threshold 0.8: precision", "-", figure_of("train", "high_precision"), "train_high_precision");
  cities.row("threshold 0.8: recall", "-", figure_of("train", "high_recall"), "train_high_recall");

  const std::string softmax = "softmax regression, three classes";
  Drawn kingdoms(table, softmax, "kingdoms",
                 several(quick, many,
                         [&](const std::string& seed) { return runs.train("softmax/kingdoms.nn", "Kingdom", {seed}); }),
                 quick);
  kingdoms.is_repeated();
  kingdoms.row("loss", "0.25497053", figure_of("train", "loss"), "loss");
  const std::vector<double> w = {-1.43234109, -3.57409342, 5.00643451, 4.47791288, -2.88936887, -1.58854401};
  for (std::size_t i = 0; i < w.size(); ++i)
    kingdoms.row(fmt::format("w{}", i + 1), fmt::format("{:.8f}", w[i]), weight_of("Dense1.W", i),
                 fmt::format("w{}", i + 1));
  const std::vector<double> b = {-1.81896724, 3.66606162, -1.84709438};
  for (std::size_t i = 0; i < b.size(); ++i)
    kingdoms.row(fmt::format("b{}", i + 1), fmt::format("{:.8f}", b[i]), weight_of("Dense1.b", i),
                 fmt::format("b{}", i + 1));
  const auto answers = runs.predict(kingdoms.runs().front(), "x1,x2\n5,1\n7,6\n5,6\n2,7\n");
  table.holds(softmax, "classes at (5,1) (7,6) (5,6) (2,7)", "2 3 1 1",
              fmt::format("{}", fmt::join(answers, " ")) == "2 3 1 1", fmt::format("{}", fmt::join(answers, " ")));
}

void add_codes(Table& table, Runs& runs, bool quick) {
  const std::string system = "several problems of two classes";
  const auto of_block = [&](const std::string& block, const std::string& name, const std::string& data) {
    std::map<std::string, std::string> digits;
    if (!data.empty()) digits["digits"] = data;
    return Drawn(table, system, name,
                 several(quick, many,
                         [&](const std::string& seed) { return runs.train("codes/codes.nn", block, {seed, digits}); }),
                 quick);
  };
  of_block("rest", "kingdoms_rest", "")
      .row("one against the rest: accuracy", "-", figure_of("train", "acc"), "test_accuracy");
  of_block("pairs", "kingdoms_pairs", "")
      .row("one against one, by votes: accuracy", "-", figure_of("train", "acc"), "test_accuracy");
  of_block("coded", "digits_coded",
           "  train = csv(\"DATA/tabular/digits_train.csv\")\n  test = csv(\"DATA/tabular/digits_test.csv\")\n"
           "  x: f32[64] = cols(\"p0\", to = \"p63\") / 16\n  y: i32[] = col(\"y\")")
      .row("fifteen problems, ten digits: accuracy on the test", "-", figure_of("test", "acc"), "test_accuracy");
}

void add_gates(Table& table, Runs& runs) {
  struct Gate {
    std::string block, what, of, epochs, w, b, why;
  };
  const std::string late =
      "the material's loss has 1e-5 below the second logarithm and is below 0.002 earlier: see below";
  const std::string system = "logic gates";
  for (const Gate& gate : {Gate{"not_gate", "NOT", "not", "2516", "-12.46886", "6.03110", ""},
                           {"and_gate", "AND", "and", "4237", "11.7575", "-17.8047", late},
                           {"nand_gate", "NAND", "nand", "-", "-11.763", "17.812", late},
                           {"or_gate", "OR", "or", "-", "11.743", "-11.738 (a misprint)", late},
                           {"nor_gate", "NOR", "nor", "-", "-11.738", "5.409", late}}) {
    const Run run = runs.train("gates/gates.nn", gate.block);
    // The order of the rows is all that is drawn, and moves the last digits alone.
    const auto row = [&](const std::string& what, const std::string& published, double reached,
                         const std::string& known, double slack) {
      const Spread spread = reference(gate.of, known);
      table.within(system, gate.what + ": " + what, published, reached, spread.least - slack, spread.greatest + slack)
          .why = why_outside(published, spread, gate.why);
    };
    row("epochs until the loss is below 0.002", gate.epochs, epochs(run), "epochs", 2);
    row("w", gate.w, run.weight("Dense1.W"), "w1", 1e-4);
    row("b", gate.b, run.weight("Dense1.b"), "b1", 1e-4);
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
  const auto of_degree = [&](const std::string& example, int degree, const std::map<std::string, std::string>& data,
                             int count = many) {
    return Drawn(table, system, fmt::format("{}_{}", data.begin()->first, degree),
                 several(quick, count,
                         [&](const std::string& seed) {
                           return runs.train(example, fmt::format("degree_{}", degree), {seed, data});
                         }),
                 quick);
  };
  const Drawn two = of_degree("polynomial/sine.nn", 2, sine);
  Drawn three = of_degree("polynomial/sine.nn", 3, sine), four = of_degree("polynomial/sine.nn", 4, sine);
  three.is_repeated(), four.is_repeated();
  two.row("sine, degree 2: epochs (10000 at most)", "10000", epochs, "epochs");
  two.row("sine, degree 2: loss", "0.095", figure_of("train", "loss"), "loss");
  three.row("sine, degree 3: epochs until the loss is below 0.005", "2380", epochs, "epochs");
  three.row("sine, degree 3: loss", "0.00494968", figure_of("train", "loss"), "loss");
  three.row("sine, degree 3: w1", "10.49907256", weight_of("Dense1.W"), "w1");
  four.row("sine, degree 4: epochs until the loss is below 0.005", "8290", epochs, "epochs");
  four.row("sine, degree 4: loss", "0.00499641", figure_of("train", "loss"), "loss");
  four.row("sine, degree 4: w1", "8.78717", weight_of("Dense1.W"), "w1");
  if (quick) return table.skipped.push_back("| polynomial regression | curve, ");
  const std::map<std::string, std::string> cobra = {
      {"cobra", "  train = csv(\"DATA/seeds/ch09_curve_train.csv\")\n" + columns_xy}};
  for (const auto& [degree, published] :
       std::map<int, std::string>{{4, "0.00498195"}, {6, "0.00466952"}, {8, "0.00377405"}})
    of_degree("polynomial/curve.nn", degree, cobra, some)
        .row(fmt::format("curve, degree {}: loss after {} epochs", degree, degree == 4 ? 10000 : 50000), published,
             figure_of("train", "loss"), "loss");
}

void add_two_layers(Table& table, Runs& runs, bool quick) {
  const std::string system = "two layers";
  constexpr double looks_apart = 100;  // epochs, of the material at the curve: its loss is lower when it stops
  const auto data = [](const std::string& seed) {
    return std::map<std::string, std::string>{{"sine", held_out("ch08_sin", seed) + columns_xy},
                                              {"cobra", held_out("ch09_curve", seed) + columns_xy}};
  };
  const auto of_block = [&](const std::string& block, int neurons = 0) {
    std::map<std::string, std::string> other;
    if (neurons > 0)
      for (const std::string width : {"2", "3"})
        other["x |> Dense(" + width + ") |> sigmoid"] = fmt::format("x |> Dense({}) |> sigmoid", neurons);
    const std::string name = neurons == 1 ? "_one_net" : neurons == 4 ? "_four_net" : "_net";
    std::map<std::string, std::string> settings;
    if (block == "cobra") settings["check_every"] = fmt::format("{}", looks_apart);
    return Drawn(table, system, block + name,
                 several(quick, many,
                         [&](const std::string& seed) {
                           return runs.train(
                               "two_layers/two_layers.nn", block,
                               {.more = seed, .data = data(seed), .settings = settings, .replace = other});
                         }),
                 quick);
  };
  const Drawn sine = of_block("sine");
  sine.row("sine, 1-2-1: R² of the test", "0.98815", figure_of("test", "r2"), "test_r2");
  sine.row("sine, 1-2-1: loss of the held-out rows", "0.004366", figure_of("valid", "loss"), "loss");
  Drawn cobra = of_block("cobra");
  cobra.keep_those_that_stopped("curve, 1-3-1: share of runs that get to a loss below 0.001");
  cobra.row("curve, 1-3-1: epochs to that", "4200", epochs, "epochs", looks_apart);
  cobra.row("curve, 1-3-1: R² of the test", "0.97659", figure_of("test", "r2"), "test_r2");
  cobra.row("curve, 1-3-1: loss of the held-out rows", "0.000863", figure_of("valid", "loss"), "loss");
  if (quick) {
    for (const std::string net : {"sine, 1-1-1", "curve, 1-4-1"}) table.skipped.push_back("| two layers | " + net);
  } else {
    const Drawn one = of_block("sine", 1);
    one.row("sine, 1-1-1: R² of the test", "0.85757", figure_of("test", "r2"), "test_r2");
    one.row("sine, 1-1-1: loss of the held-out rows", "0.038609", figure_of("valid", "loss"), "loss");
    Drawn four = of_block("cobra", 4);
    four.keep_those_that_stopped("curve, 1-4-1: share of runs that get to a loss below 0.001");
    four.row("curve, 1-4-1: epochs to that", "5000", epochs, "epochs", looks_apart);
    four.row("curve, 1-4-1: R² of the test", "0.98178", figure_of("test", "r2"), "test_r2");
    four.row("curve, 1-4-1: loss of the held-out rows", "0.000839", figure_of("valid", "loss"), "loss");
  }
  const Run straight = runs.train("two_layers/two_layers.nn", "straight", {.data = data("--seed 0")});
  const auto ends = [&](double x) { return std::stod(runs.predict(straight, fmt::format("x\n{}\n", x)).at(0)); };
  table.within(system, "without activation: bend at the middle, y(0) - 2 y(0.5) + y(1)", "a line",
               ends(0) - 2 * ends(0.5) + ends(1), -1e-6, 1e-6);
}

void add_bent_borders(Table& table, Runs& runs, bool quick) {
  const std::string two = "two layers, two classes";
  Drawn gates(table, two, "xor",
              several(quick, many, [&](const std::string& seed) { return runs.train("xor/single.nn", "Xor", {seed}); }),
              quick);
  gates.keep_those_that_stopped("XOR, 2-2-1: share of runs that get to a loss below 0.005");
  gates.row("XOR, 2-2-1: epochs to that", "5900", epochs, "epochs");
  table.within(two, "XOR, 2-2-1: greatest error", "below 0.01", gates.median(figure_of("train", "off")), 0, 0.01);
  int place = 0;
  for (const auto& [inputs, published] : {std::pair<std::string, std::string>{"0,0", "0.00418973"},
                                          {"0,1", "0.99457721"},
                                          {"1,0", "0.99457729"},
                                          {"1,1", "0.00474491"}})
    gates.row(
        fmt::format("XOR, 2-2-1: output at ({})", inputs), published,
        [&runs, &inputs = inputs](const Run& run) {
          return std::stod(runs.predict(run, "x1,x2\n" + inputs + "\n").at(0));
        },
        fmt::format("place{}", ++place));

  constexpr double looks_apart = 10;  // epochs, of the material at the arcs
  const std::string scaled = "  fit = [train, valid, test]\n  x: f32[2] = minmax(cols(\"x1\", \"x2\"))\n";
  const auto of_real = [&](const std::string& example, const std::string& block, const std::string& file,
                           const std::string& y, const TrainOptions& other = {}) {
    return several(quick, many, [&](const std::string& seed) {
      TrainOptions options = other;
      options.more = seed, options.data = {{block, held_out(file, seed) + scaled + y}};
      return runs.train(example, "Net", options);
    });
  };
  const Drawn arcs(table, two, "arcs",
                   of_real("arcs/arcs.nn", "arcs", "ch10_double_arc", "  y: f32[1] = cols(\"y\")",
                           {.settings = {{"check_every", fmt::format("{}", looks_apart)}}}),
                   quick);
  arcs.row("double arc, 2-2-1: epochs until the loss is below 0.08", "260", epochs, "epochs", looks_apart);
  arcs.row("double arc, 2-2-1: accuracy on the test", "1", figure_of("test", "acc"), "test_accuracy");
  arcs.row("double arc, 2-2-1: loss of the held-out rows", "0.074073", figure_of("valid", "loss"), "loss");
  Drawn wide(table, two, "arcs_three",
             of_real("arcs/arcs.nn", "arcs", "ch10_double_arc", "  y: f32[1] = cols(\"y\")",
                     {.settings = {{"epochs", "1000"},
                                   {"stop", "valid.loss < 0.02"},
                                   {"check_every", fmt::format("{}", looks_apart)}},
                      .replace = {{"Dense(2)", "Dense(3)"}}}),
             quick);
  wide.keep_those_that_stopped("double arc, 2-3-1: share of runs that get to a loss below 0.02");
  wide.row("double arc, 2-3-1: epochs to that", "420", epochs, "epochs", looks_apart);
  wide.row("double arc, 2-3-1: accuracy on the test", "1", figure_of("test", "acc"), "test_accuracy");
  wide.row("double arc, 2-3-1: loss of the held-out rows", "0.019141", figure_of("valid", "loss"), "loss");

  const std::string three = "two layers, three classes";
  const Drawn coin(table, three, "coin",
                   of_real("coin/coin.nn", "coin", "ch11_coin", "  y: i32[] = classes(col(\"y\"))"), quick);
  coin.row("coin, 2-3-3: accuracy on the test", "0.952", figure_of("test", "acc"), "test_accuracy");
  coin.row("coin, 2-3-3: loss of the held-out rows", "0.137970", figure_of("valid", "loss"), "loss");
}

}  // namespace

void add_systems(Table& table, Runs& runs, bool quick) {
  add_servers(table, runs, quick);
  add_houses(table, runs, quick);
  add_newton(table, runs);
  add_classes(table, runs, quick);
  add_codes(table, runs, quick);
  add_gates(table, runs);
  add_repeated(table, runs, quick);
  add_polynomials(table, runs, quick);
  add_two_layers(table, runs, quick);
  add_bent_borders(table, runs, quick);
  add_deep_nets(table, runs, quick);
}

void add_own_systems(Table& table, Runs& runs, bool quick) {
  const std::string system = "batch normalisation";
  const auto of_block = [&](const std::string& block) {
    return several(quick, 5,
                   [&](const std::string& seed) { return runs.train("batch_norm/batch_norm.nn", block, {seed}); });
  };
  const auto without = of_block("without"), with = of_block("with");
  const double plain = median(without, updates), normalised = median(with, updates);
  table.holds(system, "five layers of sigmoid: steps to the loss 0.2, 6000 at most, with it and without", "-",
              normalised < plain, fmt::format("{} and {}", normalised, plain));
  if (quick) return table.skipped.push_back("| all examples |");
  double total = 0, deepest = 0;
  for (const std::string& example : all_examples()) {
    const double seconds = runs.train_all(example);
    (needs_pictures(example) ? deepest : total) += seconds;
  }
  table.holds("all examples",
              "processor time on one core, 120 s at most: those with data of their own, and those that read MNIST and "
              "Fashion-MNIST",
              "-", total + deepest < 120, fmt::format("{:.0f} s and {:.0f} s", total, deepest));
}

}  // namespace nnc::seeds

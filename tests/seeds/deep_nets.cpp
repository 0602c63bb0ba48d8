// Rows of the table for nets of many layers: house prices and incomes, MNIST, Fashion-MNIST, dropout, residual
// connections.
#include <fmt/format.h>

#include "tests/seeds/drawn.h"
#include "tests/seeds/systems.h"

namespace nnc::seeds {

namespace {

const std::string system_of_tables = "deep nets on tables";

/// Features in [0, 1] by all rows of both files, a tenth of the rows for training held out.
std::string scaled_rows(const std::string& name, const std::string& seed, const std::string& features,
                        const std::string& target) {
  return held_out(name, seed) + "  fit = [train, valid, test]\n  x: " + features + "\n  y: " + target;
}

void add_tables(Table& table, Runs& runs) {
  const auto& system = system_of_tables;
  const Drawn county(
      table, system, "county",
      several(false, some,
              [&](const std::string& seed) {
                return runs.train(
                    "county/county.nn", "Price",
                    {"--epochs 1000" + seed,
                     {{"county", scaled_rows("ch14_king_county", seed, "f32[13] = minmax(cols(except = \"price\"))",
                                             "f32[1] = minmax(cols(\"price\"))")}}});
              }),
      false);
  const auto r2 = figure_of("test", "r2");
  county.row("king county, 13-32-16-8-4-1: R² of the test", "0.8413", r2, "test_r2");
  county.row("king county: R² of the held-out rows", "0.857", figure_of("valid", "r2"), "valid_r2");
  table.within(system, "king county: R² of the test, no less than published", "0.8413", county.median(r2), 0.8413, 1);

  const auto incomes = [&](const std::string& block) {
    return Drawn(table, system, "income",
                 several(false, some,
                         [&](const std::string& seed) {
                           return runs.train(
                               "income/income.nn", block,
                               {seed,
                                {{"people", scaled_rows("ch14_income", seed, "f32[14] = minmax(cols(except = \"y\"))",
                                                        "f32[1] = cols(\"y\")")}}});
                         }),
                 false);
  };
  const auto right = figure_of("test", "acc");
  incomes("constant")
      .row("income, 14-32-16-8-4-1, constant rate: accuracy on the test", "0.84316", right, "test_accuracy");
  table.within(system, "income, a rate that falls to 0: accuracy on the test, no less than published", "0.84316",
               incomes("falling").median(right), 0.84316, 1);
}

/// The four files of MNIST or Fashion-MNIST, and which of the rows for training are held out, if any.
std::string pictures(const std::string& folder, const std::string& train_and_valid) {
  const auto files = [&](const std::string& part) {
    const std::string start = "\"DATA/" + folder + "/" + part;
    return "idx(image = " + start + "-images-idx3-ubyte.gz\", label = " + start + "-labels-idx1-ubyte.gz\")";
  };
  const std::size_t rows = train_and_valid.find("ROWS");
  const std::string train = train_and_valid.substr(0, rows) + files("train") + train_and_valid.substr(rows + 4);
  return "  " + train + "\n  test = " + files("t10k") +
         "\n  x: f32[784] = reshape(col(\"image\"), [784]) / 255\n  y: i32[] = col(\"label\")";
}

/// A twelfth of the rows, drawn by the seed of the run.
std::string drawn_twelfth(const std::string& seed) {
  return "train, valid = split(ROWS, 55000, 5000, seed = " + seed.substr(seed.rfind(' ') + 1) + ")";
}
/// The file's first rows, which the material holds out.
std::string first_rows(int count) {
  return fmt::format("valid, train = split(ROWS, {}, {}, every = 60000)", count, 60000 - count);
}

/// The deep nets as the material's program has them: weights with variance 2 / outputs where He's have 2 / inputs, and
/// scale and shift of batch normalisation that go along the sum of a batch's gradients, 64 times as far as all else.
void add_material_start(Table& table, Runs& runs, const std::string& system) {
  const std::string what = "MNIST, 784-128-64-32-16-10, ReLU", as = ", with the material's start",
                    until = ": updates until the held-out loss is below 0.12";
  constexpr double apart = 44;  // updates between two looks at the loss
  const auto run = [&](const std::string& block, const std::string& name) {
    TrainOptions options{
        .data = {{"digits", pictures("mnist", first_rows(3000))}},
        .replace = {{"init = he_normal", "init = by_outputs"},
                    {"model Deep(",
                     "fn by_outputs() -> float[..., In, Out] { return normal(0, sqrt(2 / Out)) }\n\nmodel "
                     "Deep("}}};
    if (block == "normalised")
      for (int layer = 1; layer <= 4; ++layer)
        options.settings[fmt::format("optimizer(DeepNormalised.Normalised{}.BatchNorm1)", layer)] = "sgd(lr = 6.4)";
    return Drawn(table, system, name,
                 several(false, 2 * some,
                         [&](const std::string& seed) {
                           options.more = seed;
                           return runs.train("digits/digits.nn", block, options);
                         }),
                 false);
  };
  const auto right = figure_of("test", "acc");
  const Drawn deep = run("deep", "mnist_relu_material"), normalised = run("normalised", "mnist_normalised_material");
  deep.row(what + as + until, "5764", updates, "updates", apart);
  deep.row(what + as + ": accuracy on the test", "0.9697", right, "test_accuracy");
  normalised.row(what + " and batch normalisation" + as + until, "4268", updates, "updates", apart);
  normalised.row(what + " and batch normalisation" + as + ": accuracy on the test", "0.9663", right, "test_accuracy");
}

void add_pictures(Table& table, Runs& runs) {
  const std::string system = "deep nets on pictures";
  const auto digits = [&](const std::string& block, const std::string& name, int count) {
    return Drawn(table, system, name,
                 several(false, count,
                         [&](const std::string& seed) {
                           return runs.train("digits/digits.nn", block,
                                             {seed, {{"digits", pictures("mnist", drawn_twelfth(seed))}}});
                         }),
                 false);
  };
  const auto right = figure_of("test", "acc");
  const Drawn shallow = digits("shallow", "mnist_sigmoid", some);
  shallow.row("MNIST, 784-64-16-10, sigmoid and tanh, 40 epochs: accuracy on the test", "0.9749", right,
              "test_accuracy");
  shallow.row("MNIST, 784-64-16-10: accuracy on the held-out rows", "0.9710", figure_of("valid", "acc"),
              "valid_accuracy");
  shallow.row("MNIST, 784-64-16-10: loss of the held-out rows", "0.098164", figure_of("valid", "loss"), "valid_loss");

  const std::string what = "MNIST, 784-128-64-32-16-10, ReLU",
                    until = ": updates until the held-out loss is below 0.12",
                    start = "the material's start has variance 2 / outputs where He's has 2 / inputs: see below",
                    with = " and batch normalisation";
  constexpr double apart = 44;  // updates between two looks at the loss
  const Drawn deep = digits("deep", "mnist_relu", many), normalised = digits("normalised", "mnist_normalised", many);
  deep.row(what + until, "5764", updates, "updates", apart, start);
  deep.row(what + ": accuracy on the test", "0.9697", right, "test_accuracy", 0, start);
  normalised.row(what + with + until, "4268", updates, "updates", apart, start);
  normalised.row(what + with + ": accuracy on the test", "0.9663", right, "test_accuracy", 0, start);
  add_material_start(table, runs, system);
  const double less = normalised.median(updates), more = deep.median(updates);
  table.holds(system, what + ": fewer updates with batch normalisation", "4268 and 5764", less < more,
              fmt::format("{:g} and {:g}", less, more));

  const Run best = runs.train("mnist/deep.nn", "Deep", {" --seed 1", {{"mnist", pictures("mnist", "train = ROWS")}}});
  table.within(system,
               "MNIST, 784-256, two residual blocks, batch normalisation, dropout: accuracy on the test, no less than "
               "the best published",
               "0.9749", best.figure("test", "acc"), 0.9749, 1);

  const Drawn fashion(table, system, "fashion",
                      several(false, 3,
                              [&](const std::string& seed) {
                                return runs.train("fashion/fashion.nn", "Clothes",
                                                  {seed, {{"fashion", pictures("fashion-mnist", "train = ROWS")}}});
                              }),
                      true);
  fashion.row("Fashion-MNIST, 784-256, two residual blocks, batch normalisation, dropout: accuracy on the test", "-",
              right, "test_accuracy");
}

void add_dropout(Table& table, Runs& runs, bool quick) {
  const std::string system = "dropout and residual connections";
  const auto wave = [&](const std::string& block, const std::string& name) {
    const std::map<std::string, std::string> rows = {
        {"wave",
         "  train = csv(\"DATA/seeds/ch16_overfit_train.csv\")\n  test = csv(\"DATA/seeds/ch16_overfit_test.csv\")\n"
         "  x: f32[1] = cols(\"x\")\n  y: f32[1] = cols(\"y\")"}};
    return Drawn(
        table, system, name,
        several(quick, many,
                [&](const std::string& seed) { return runs.train("dropout/dropout.nn", block, {seed, rows}); }),
        quick);
  };
  const auto loss = figure_of("test", "loss");
  const Drawn without = wave("without", "wave_plain"), with = wave("with", "wave_dropped");
  without.row("bent wave, 1-64-64-1: loss of the test", "-", loss, "test_loss");
  with.row("bent wave, 1-64-64-1, dropout 0.1: loss of the test", "-", loss, "test_loss");
  table.holds(system, "bent wave: a lower loss of the test with dropout", "-", with.median(loss) < without.median(loss),
              fmt::format("{:.4g} and {:.4g}", with.median(loss), without.median(loss)));
  const auto spiral = [&](const std::string& block) {
    return Drawn(table, system, "spiral_" + block,
                 several(quick, many,
                         [&](const std::string& seed) {
                           return runs.train("residual/residual.nn", block, {.more = seed, .real = false});
                         }),
                 quick);
  };
  if (quick) return table.skipped.push_back("| " + system + " | spiral, ");
  const auto right = figure_of("valid", "acc");
  spiral("residual").row("spiral, twenty residual blocks: accuracy on the held-out rows", "-", right, "valid_accuracy");
  spiral("stacked").row("spiral, the same blocks without the way past them", "-", right, "valid_accuracy");
}

}  // namespace

void add_deep_nets(Table& table, Runs& runs, bool quick) {
  add_dropout(table, runs, quick);
  if (quick) {
    table.skipped.push_back("| " + system_of_tables + " |");
    table.skipped.push_back("| deep nets on pictures |");
    return;
  }
  add_tables(table, runs);
  add_pictures(table, runs);
}

}  // namespace nnc::seeds

#include "tests/seeds/pieces.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace nnc::seeds {

namespace {

using nlohmann::json;

/// All elements of a tensor, in order.
std::vector<double> elements_of(const json& value) {
  if (!value.is_array()) return {value.is_number() ? value.get<double>() : std::nan("")};
  std::vector<double> elements;
  for (const json& part : value)
    for (const double element : elements_of(part)) elements.push_back(element);
  return elements;
}

std::string shown(const std::vector<double>& elements) {
  constexpr std::size_t most = 6;
  std::string text;
  for (std::size_t i = 0; i < std::min(elements.size(), most); ++i)
    text += fmt::format("{}{:.9g}", i > 0 ? " " : "", elements[i]);
  return elements.size() > most ? text + " ..." : text;
}

/// Half a unit of the last decimal that is printed, of the number that has the most; whole numbers are exact.
double last_digit(const std::string& published) {
  std::size_t decimals = 0;
  for (std::size_t dot = published.find('.'); dot != std::string::npos; dot = published.find('.', dot + 1))
    decimals = std::max(decimals, std::min(published.find(' ', dot), published.size()) - dot - 1);
  return decimals == 0 ? 1e-9 : 0.5000001 * std::pow(10, -static_cast<double>(decimals));
}

/// Words are not compared.
bool is_reached(const std::string& published, const std::vector<double>& elements) {
  const std::vector<double> numbers = numbers_of(published);
  if (numbers.empty()) return true;
  return std::ranges::equal(numbers, elements,
                            [&](double a, double b) { return std::abs(a - b) <= last_digit(published); });
}

const json* find_block(const std::vector<TestedFile>& tested, const KnownPiece& piece) {
  for (const TestedFile& file : tested)
    for (const json& block : file.blocks)
      if (file.file == piece.file && block.at("test") == piece.test) return &block;
  return nullptr;
}

const json* find_expectation(const json& block, const std::string& condition) {
  if (block.contains("expected"))
    for (const json& expected : block.at("expected"))
      if (expected.at("condition") == condition) return &expected;
  return nullptr;
}

void add_piece(Table& table, const KnownPiece& piece, const std::vector<TestedFile>& tested) {
  const json* block = find_block(tested, piece);
  const json* expected = block ? find_expectation(*block, piece.condition) : nullptr;
  if (!expected) {
    table.failures.push_back(fmt::format("examples/{}, test \"{}\": {}", piece.file, piece.test,
                                         block ? fmt::format("`expect {}` is gone", piece.condition) : "is gone"));
    return;
  }
  const std::vector<double> left = elements_of(expected->at("left"));
  const double within = expected->at("within");
  table.pieces.push_back({piece.test, piece.condition, piece.published, shown(left),
                          within == 0 ? "exactly" : fmt::format("{:g}", within),
                          block->at("passed").get<bool>() && is_reached(piece.published, left)});
}

}  // namespace

void add_pieces(Table& table, const std::vector<KnownPiece>& known, const std::vector<TestedFile>& tested) {
  for (const KnownPiece& piece : known) add_piece(table, piece, tested);
  for (const TestedFile& file : tested) {
    if (file.status != 0)
      table.failures.push_back(fmt::format("nnc test examples/{} ended with status {}", file.file, file.status));
    for (const json& block : file.blocks) {
      if (!block.at("passed").get<bool>())
        table.failures.push_back(fmt::format("examples/{}, test {}: failed", file.file, block.at("test").dump()));
      if (!block.contains("expected")) continue;
      for (const json& expected : block.at("expected"))
        if (std::ranges::none_of(known, [&](const KnownPiece& piece) {
              return piece.file == file.file && block.at("test") == piece.test &&
                     expected.at("condition") == piece.condition;
            }))
          table.failures.push_back(fmt::format("examples/{}, test {}: tests/seeds/pieces.cpp lacks `expect {}`",
                                               file.file, block.at("test").dump(),
                                               expected.at("condition").get<std::string>()));
    }
  }
}

const std::vector<KnownPiece>& known_pieces() {
  static const std::vector<KnownPiece> known = {
      {"averages/averages.nn", "a moving average with bias correction",
       "averages[0] == [10, 11.052632, 11.033210, 12.186682, 12.629484]", "10 11.052632 11.033210 12.186682 12.629484"},
      {"batch_norm/batch_norm.nn", "a batch is normalised, scaled and shifted", "y[0] == [-1.68327889, -1.67081972]",
       "-1.68327889 -1.67081972"},
      {"batch_norm/batch_norm.nn", "a batch is normalised, scaled and shifted", "mean(y, over = 0) == [1, -1]", "-"},
      {"batch_norm/batch_norm.nn", "inference by the statistics of all rows, whatever the batches were",
       "Whole(row) == [-1.32378826, -1.58094707]", "-1.32378826 -1.58094707"},
      {"batch_norm/batch_norm.nn", "inference by the statistics of all rows, whatever the batches were",
       "Halves(row) == [-1.32378826, -1.58094707]", "-1.32378826 -1.58094707"},
      {"batch_norm/batch_norm.nn", "inference by the statistics of all rows, whatever the batches were",
       "Uneven(row) == [-1.32378826, -1.58094707]", "-1.32378826 -1.58094707"},
      {"codes/codes.nn", "one against one: three problems, and the class that most of them vote for",
       "codes == [[1, -1, 0], [1, 0, -1], [0, 1, -1]]", "-"},
      {"codes/codes.nn", "one against one: three problems, and the class that most of them vote for",
       "decode_codes(z, codes) == [0, 1]", "-"},
      {"codes/codes.nn", "one against one: three problems, and the class that most of them vote for",
       "one_vs_one(z[0:1], y, 3) == softplus(z[0, 1]) + softplus(z[0, 2])", "-"},
      {"codes/codes.nn", "one against the rest: as many problems as classes",
       "one_vs_rest(z, y) == softplus(-2) + softplus(-1) + softplus(0.5)", "-"},
      {"codes/codes.nn", "codes that differ in seven places survive three wrong answers",
       "max(same - 15 * one_hot(i32(range(10)), 10)) <= 15 - 2 * 7", "-"},
      {"codes/codes.nn", "codes that differ in seven places survive three wrong answers",
       "decode_codes(transpose(codes) * wrong, codes) == range(10)", "-"},
      {"gates/gates.nn", "threshold neurons make the gates, and XOR of three", "both == [0, 0, 0, 1]", "0 0 0 1"},
      {"gates/gates.nn", "threshold neurons make the gates, and XOR of three", "not_both == [1, 1, 1, 0]", "1 1 1 0"},
      {"gates/gates.nn", "threshold neurons make the gates, and XOR of three", "any == [0, 1, 1, 1]", "0 1 1 1"},
      {"gates/gates.nn", "threshold neurons make the gates, and XOR of three", "none == [1, 0, 0, 0]", "1 0 0 0"},
      {"gates/gates.nn", "threshold neurons make the gates, and XOR of three", "inverted == [1, 1, 0, 0]", "-"},
      {"gates/gates.nn", "threshold neurons make the gates, and XOR of three",
       "threshold(hidden, [1, 1], -1.5) == [0, 1, 1, 0]", "0 1 1 0"},
      {"linear/descent.nn",
       "identity with half the squared error: the gradient is A - Y; of the squared error it is twice that",
       "grad(0.5 * sum((z - y)^2), z) == z - y", "A - Y"},
      {"linear/descent.nn",
       "identity with half the squared error: the gradient is A - Y; of the squared error it is twice that",
       "grad(half_mse(z, y), z) == (z - y) / 3", "A - Y, averaged"},
      {"linear/descent.nn",
       "identity with half the squared error: the gradient is A - Y; of the squared error it is twice that",
       "grad(mse(z, y), z) == 2 * grad(half_mse(z, y), z)", "twice that"},
      {"linear/descent.nn",
       "with several samples as rows of a matrix: dW is X transposed times A - Y, over their number",
       "grad(half_mse(x @ W, y), W) == transpose(x) @ (x @ W - y) / 4", "dW = Xᵀ(A - Y)"},
      {"linear/descent.nn", "the gradient of a batch is the mean of its samples' gradients",
       "batch_gradient == sum(singles) / 8", "the mean of the single ones"},
      {"logistic/cities.nn", "sigmoid, and its derivative f (1 - f)", "f == [0.880797078, 0.268941421]",
       "0.880797078 0.268941421"},
      {"logistic/cities.nn", "sigmoid, and its derivative f (1 - f)", "grad(sum(sigmoid(x)), x) == f * (1 - f)",
       "f(1 - f)"},
      {"logistic/cities.nn", "sigmoid, and its derivative f (1 - f)", "sigmoid(far) == [1, 0]", "finite at ±1000"},
      {"logistic/cities.nn", "sigmoid, and its derivative f (1 - f)", "grad(sum(sigmoid(far)), far) == 0", "-"},
      {"logistic/cities.nn", "a higher threshold: more precision, less recall", "precision(p, y) == 3 / 4", "-"},
      {"logistic/cities.nn", "a higher threshold: more precision, less recall", "recall(p, y) == 3 / 4", "-"},
      {"logistic/cities.nn", "a higher threshold: more precision, less recall", "f1(p, y) == 3 / 4", "-"},
      {"logistic/cities.nn", "a higher threshold: more precision, less recall", "precision(p, y, threshold = 0.8) == 1",
       "-"},
      {"logistic/cities.nn", "a higher threshold: more precision, less recall",
       "recall(p, y, threshold = 0.8) == 1 / 2", "-"},
      {"logistic/cities.nn", "a higher threshold: more precision, less recall", "f1(p, y, threshold = 0.8) == 2 / 3",
       "-"},
      {"logistic/cities.nn", "logistic with binary cross-entropy: the gradient by the logit is A - Y",
       "grad(loss, z) == sigmoid(z) - y", "A - Y"},
      {"logistic/cities.nn", "binary cross-entropy, worked by hand", "binary_cross_entropy(a, y) == 0.366984588", "-"},
      {"logistic/cities.nn", "binary cross-entropy, worked by hand",
       "binary_cross_entropy(a, y) == -(log(0.8) + log(0.6)) / 2", "-"},
      {"residual/residual.nn", "the derivative of x + f(x) is 1 + f'",
       "grad(sum(x + tanh(x)), x) == 1 + (1 - tanh(x)^2)", "1 + f'"},
      {"residual/residual.nn", "the derivative of x + f(x) is 1 + f'", "grad(sum(x + relu(x)), x) == [1, 1, 2, 2]",
       "1 + f'"},
      {"residual/residual.nn", "ReLU: zero and its derivative zero to the left, the identity to the right",
       "relu(x) == [0, 0, 0.5, 3]", "-"},
      {"residual/residual.nn", "ReLU: zero and its derivative zero to the left, the identity to the right",
       "grad(sum(relu(x)), x) == [0, 0, 1, 1]", "-"},
      {"residual/residual.nn", "dropout: what is kept is scaled by 1 / (1 - p), so that the mean stays",
       "mask * x / (1 - 0.4) == [10 / 3, 0, 10, 40 / 3, 0]", "3.3333 0 10 13.3333 0"},
      {"residual/residual.nn", "dropout: what is kept is scaled by 1 / (1 - p), so that the mean stays", "D(x) == x",
       "inference is the identity"},
      {"residual/residual.nn", "dropout: what is kept is scaled by 1 / (1 - p), so that the mean stays",
       "y * (y - x / (1 - 0.4)) == 0", "-"},
      {"softmax/kingdoms.nn", "softmax of (3, 1, -3), and A - Y against the first class",
       "a == [0.87887824, 0.11894324, 0.00217852]", "0.87887824 0.11894324 0.00217852"},
      {"softmax/kingdoms.nn", "softmax of (3, 1, -3), and A - Y against the first class",
       "grad(-sum(y * log(softmax(z))), z) == [-0.12112176, 0.11894324, 0.00217852]",
       "-0.12112176 0.11894324 0.00217852"},
      {"softmax/kingdoms.nn", "softmax of (3, 1, -3), and A - Y against the first class",
       "grad(-sum(y * log(softmax(z))), z) == a - y", "A - Y"},
      {"softmax/kingdoms.nn", "cross-entropy in nats and in bits", "cross_entropy(softmax(z), y) == 0.129108909",
       "0.129108909"},
      {"softmax/kingdoms.nn", "cross-entropy in nats and in bits", "cross_entropy_bits(softmax(z), y) == 0.186264783",
       "0.186264783"},
      {"softmax/kingdoms.nn", "summed over the rows, and averaged", "sum_of_rows == 0.129108909 + 1.098612289", "-"},
      {"softmax/kingdoms.nn", "summed over the rows, and averaged", "cross_entropy(softmax(z), y) == sum_of_rows / 2",
       "-"},
      {"softmax/kingdoms.nn", "softmax of two classes is logistic of the difference",
       "softmax(z)[0] == sigmoid(z[0] - z[1])", "logistic of the difference"},
      {"softmax/kingdoms.nn", "several samples as matrices: dW is X transposed times A - Y",
       "grad(sum(-y * log_softmax(x @ w)), w) == transpose(x) @ (a - y)", "dW = Xᵀ(A - Y)"},
      {"two_layers/two_layers.nn", "the equations of back-propagation are what is derived",
       "grad(loss, W3) == transpose(a2) @ delta3", "dW = δ aᵀ"},
      {"two_layers/two_layers.nn", "the equations of back-propagation are what is derived",
       "grad(loss, W2) == transpose(a1) @ delta2", "dW = δ aᵀ"},
      {"two_layers/two_layers.nn", "the equations of back-propagation are what is derived",
       "grad(loss, W1) == transpose(x) @ delta1", "dW = δ aᵀ"},
      {"two_layers/two_layers.nn", "the equations of back-propagation are what is derived",
       "grad(loss, b2) == sum(delta2, over = 0)", "db = δ"},
      {"two_layers/two_layers.nn", "the equations of back-propagation are what is derived",
       "grad(loss, b1) == sum(delta1, over = 0)", "db = δ"},
      {"two_layers/two_layers.nn", "Jacobian matrices multiply, and a gradient has the shape of its variable",
       "dy_dx == dy_du @ du_dx", "Jacobian matrices multiply"},
      {"two_layers/two_layers.nn", "Jacobian matrices multiply, and a gradient has the shape of its variable",
       "size(gradient) == 6", "the shape of its variable"},
  };
  return known;
}

}  // namespace nnc::seeds

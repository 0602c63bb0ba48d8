#include "driver/baseline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <set>
#include <tuple>

#include "driver/tensor.h"
#include "passes/passes.h"

namespace nnc::driver {

namespace {

constexpr const char* constant_name = "always";
constexpr std::int64_t most_elements = 500'000;  // of an answer, for the evaluator

bool is_learnt(const Node& node) {
  if (node.op == Op::param) return true;
  return node.op == Op::state && !std::get<Named>(node.attributes).name.starts_with("data.");
}

std::int64_t row_count(const Shape& shape) {
  std::int64_t count = 1;
  for (std::size_t axis = 1; axis < shape.size(); ++axis) count *= shape[axis].count;
  return count;
}

struct Candidate {
  std::string always;
  std::vector<double> row;  ///< the constant, one row of it
};

/// What a column has over the rows of a split, from one pass over them.
struct ColumnSums {
  std::string name;
  std::vector<double> share;  ///< of each class, where there are classes and every value is one
  std::vector<double> mean;   ///< of each element of a row, where rows have the length of an answer
  bool has_shares, has_means;
};

/// Adds rows of a column that has `all` values in all, in `rows` rows.
void add_rows(ColumnSums& sums, const DenseArray& column, double all, double rows) {
  const std::size_t width = sums.mean.size();
  sums.has_shares = sums.has_shares && column.dtype == DType::i32;
  for (std::int64_t i = 0; i < column.count(); ++i) {
    const double value = column.at(i);
    sums.has_shares = sums.has_shares && value >= 0 && value < static_cast<double>(sums.share.size());
    if (sums.has_shares) sums.share[static_cast<std::size_t>(value)] += 1.0 / all;
    if (sums.has_means) sums.mean[static_cast<std::size_t>(i) % width] += value / rows;
  }
}

/// Columns `names` of `train`, for an answer of `shape`; streamed rows block by block.
std::vector<ColumnSums> sums_of(const SplitColumns& train, const std::vector<std::string>& names, const Shape& shape) {
  std::vector<ColumnSums> all;
  const auto width = static_cast<std::size_t>(row_count(shape));
  const auto classes = static_cast<std::size_t>(shape.back().count);
  for (const std::string& name : names) {
    const bool picks = classes > 1 && shape.size() > 1;
    all.push_back({name, std::vector<double>(classes), std::vector<double>(width), picks, train.rows > 0});
  }
  const auto add = [&](const SplitColumns& some) {
    for (ColumnSums& sums : all) {
      const DenseArray& column = *some.find(sums.name);
      if (column.rows() == 0) continue;
      const std::int64_t row_values = column.count() / column.rows();
      sums.has_means = sums.has_means && row_values == static_cast<std::int64_t>(width);
      add_rows(sums, column, static_cast<double>(train.rows * row_values), static_cast<double>(train.rows));
    }
  };
  if (!train.streamed) return add(train), all;
  for (std::int64_t first = 0; first < train.rows; first += block_rows)
    add(train.part(first, std::min(block_rows, train.rows - first)));
  return all;
}

/// log of each class's share, the same wherever a row has a class; the mean, element by element; and where that is a
/// probability its logit and its logarithm.
void add_candidates(const ColumnSums& sums, std::vector<Candidate>& all) {
  constexpr double never = 1e-6;
  if (sums.has_shares) {
    Candidate candidate{fmt::format("the most frequent class of `{}`", sums.name), {}};
    for (std::size_t i = 0; i < sums.mean.size(); ++i)
      candidate.row.push_back(std::log(std::max(sums.share[i % sums.share.size()], never)));
    all.push_back(std::move(candidate));
  }
  if (!sums.has_means) return;
  const std::string always = fmt::format("the mean of `{}`", sums.name);
  all.push_back({always, sums.mean});
  if (!std::ranges::all_of(sums.mean, [](double share) { return share > 0 && share < 1; })) return;
  std::vector<double> logit = sums.mean, logarithm = sums.mean;
  for (double& share : logit) share = std::log(share / (1 - share));
  for (double& share : logarithm) share = std::log(share);
  all.push_back({always, logit});
  all.push_back({always, logarithm});
}

DenseArray repeated(const std::vector<double>& row, const Type& type, std::int64_t rows) {
  std::vector<std::int64_t> dims{rows};
  for (std::size_t axis = 1; axis < type.shape.size(); ++axis) dims.push_back(type.shape[axis].count);
  DenseArray array(type.dtype, dims);
  for (std::int64_t i = 0; i < array.count(); ++i) array.set(i, row[static_cast<std::size_t>(i) % row.size()]);
  return array;
}

/// Figures of one constant after another in place of the answer.
class Judge {
 public:
  virtual ~Judge() = default;
  virtual std::vector<NamedArray> figures(const std::vector<double>& constant) = 0;
};

/// Few rows: the reference evaluator is done before code would be compiled.
class FewRows : public Judge {
 public:
  FewRows(const Graph& graph, const Type& answer, const SplitColumns& shown, const Weights& fitted)
      : graph_(graph), answer_(answer) {
    environment_.batch = shown.rows;
    environment_.scalars["rows"] = static_cast<double>(shown.rows);
    for (const Node& leaf : graph.nodes) {
      if (leaf.op == Op::state) {  // what undo goes back by
        const nnc_slot* slot = find_slot(state_of(*fitted.layout), std::get<Named>(leaf.attributes).name);
        environment_.state[slot->name] = tensor_of(unpack(*slot, fitted.state.data()));
      }
      if (leaf.op != Op::input || std::get<Named>(leaf.attributes).name == constant_name) continue;
      const std::string& name = std::get<Named>(leaf.attributes).name;
      environment_.inputs[name] = tensor_of(*shown.find(name));
    }
  }

  std::vector<NamedArray> figures(const std::vector<double>& constant) override {
    environment_.inputs[constant_name] = tensor_of(repeated(constant, answer_, environment_.batch));
    const auto values = evaluate(graph_, environment_, true);
    std::vector<NamedArray> figures;
    for (const Output& output : graph_.outputs) {
      const Tensor& value = values.at(output.name);
      DenseArray array(value.dtype, value.dims);
      std::memcpy(array.bytes.data(), value.data.data(), value.data.size());
      figures.push_back({output.name, std::move(array)});
    }
    return figures;
  }

 private:
  const Graph& graph_;
  const Type& answer_;
  Environment environment_;
};

/// Rows of a split, block by block, with the constant as one more column.
class WithConstant : public RowFeeder {
 public:
  WithConstant(const SplitColumns& shown, const std::vector<double>& constant, const Type& answer)
      : shown_(shown), constant_(constant), answer_(answer) {}
  std::int64_t rows() const override { return shown_.rows; }
  void block(const nnc_entry& entry, std::int64_t first, std::int64_t count, std::span<nnc_feed> feeds) override {
    block_ = shown_.part(first, count);
    block_.columns.push_back({constant_name, repeated(constant_, answer_, count)});
    ColumnFeeder(block_).block(entry, 0, count, feeds);
  }

 private:
  const SplitColumns& shown_;
  const std::vector<double>& constant_;
  const Type& answer_;
  SplitColumns block_;
};

/// Many rows, or rows that are streamed: the graph is compiled and folds them as `eval` does.
class ManyRows : public Judge {
 public:
  ManyRows(const Graph& graph, const Type& answer, const SplitColumns& shown, Weights& fitted, const Native& native)
      : passes_(blockwise(graph)), answer_(answer), shown_(shown), fitted_(fitted), native_(native) {
    programs_.evaluate_passes = static_cast<int>(passes_.passes.size());
    programs_.carry_start = passes_.carry_start;
    programs_.entry = [this](EntryKind kind, int pass, std::int64_t rows) { return entry(kind, pass, rows); };
  }

  std::vector<NamedArray> figures(const std::vector<double>& constant) override {
    WithConstant rows(shown_, constant, answer_);
    return fold_rows(native_.runner, programs_, EntryKind::evaluate, fitted_, rows, 0);
  }

 private:
  Entry entry(EntryKind kind, int pass, std::int64_t rows) {
    auto& code = compiled_[{kind, pass, rows}];
    const Graph& graph = kind == EntryKind::evaluate ? passes_.passes[static_cast<std::size_t>(pass)] : passes_.finish;
    if (!code)
      code = compile(native_.session.lower_graph(graph, kind, rows),
                     {native_.compilation.host.target, native_.compilation.level});
    return {&code->entry(), 1};
  }

  Blockwise passes_;
  const Type& answer_;
  const SplitColumns& shown_;
  Weights& fitted_;
  Native native_;
  Programs programs_;
  std::map<std::tuple<EntryKind, int, std::int64_t>, std::unique_ptr<Compiled>> compiled_;
};

}  // namespace

std::optional<NodeId> answer_of(const Graph& graph) {
  const std::size_t count = graph.nodes.size();
  std::vector<bool> learnt(count);
  std::vector<std::size_t> last_use(count, 0);  // of what depends on it; outputs use it at the end
  std::size_t last_leaf = 0;
  for (std::size_t id = 0; id < count; ++id) {
    const Node& node = graph.nodes[id];
    learnt[id] = is_learnt(node);
    if (learnt[id]) last_leaf = id;
    for (const NodeId operand : node.operands) {
      learnt[id] = learnt[id] || learnt[operand];
      last_use[operand] = id;
    }
  }
  for (const Output& output : graph.outputs) last_use[output.node] = count;
  std::size_t open = 0;  // the last use of anything learnt so far, but the node at hand
  for (std::size_t id = 0; id < count; ++id) {
    if (!learnt[id]) continue;
    const Type& type = graph.nodes[id].type;
    const bool is_rows =
        is_float(type.dtype) && !type.shape.empty() && type.shape[0].batched && type.shape[0].count == 1;
    if (id >= last_leaf && open <= id && is_rows && last_use[id] > id) return static_cast<NodeId>(id);
    open = std::max(open, last_use[id]);
  }
  return std::nullopt;
}

std::optional<Baseline> baseline_of(const Graph& evaluate_graph, const std::vector<std::string>& losses,
                                    const SplitColumns& train, const SplitColumns& shown, Weights& fitted,
                                    const Native& native) {
  const auto at = answer_of(evaluate_graph);
  if (!at || losses.size() != 1) return std::nullopt;
  const Type answer = evaluate_graph[*at].type;
  Graph graph = evaluate_graph;
  Node& node = graph.nodes[*at];
  node.op = Op::input, node.operands.clear(), node.attributes = Named{constant_name};
  std::set<std::string> names;
  for (const Output& output : graph.outputs) names.insert(output.name);
  graph = with_outputs(graph, names);

  std::vector<std::string> columns;
  for (const Node& leaf : graph.nodes)
    if (leaf.op == Op::input && std::get<Named>(leaf.attributes).name != constant_name)
      columns.push_back(std::get<Named>(leaf.attributes).name);
  std::vector<Candidate> candidates;
  for (const ColumnSums& sums : sums_of(train, columns, answer.shape)) add_candidates(sums, candidates);
  if (candidates.empty()) return std::nullopt;

  const bool many = shown.streamed || shown.rows * row_count(answer.shape) > most_elements;
  std::unique_ptr<Judge> judge;
  if (many)
    judge = std::make_unique<ManyRows>(graph, answer, shown, fitted, native);
  else
    judge = std::make_unique<FewRows>(graph, answer, shown, fitted);
  std::optional<Baseline> best;
  double best_loss = INFINITY;
  for (const Candidate& candidate : candidates) {
    std::vector<NamedArray> figures = judge->figures(candidate.row);
    const double loss = std::ranges::find(figures, losses[0], &NamedArray::name)->array.at(0);
    if (!(loss < best_loss)) continue;
    best_loss = loss;
    best = Baseline{candidate.always, std::move(figures)};
  }
  return best;
}

}  // namespace nnc::driver

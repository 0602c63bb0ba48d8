#include "runtime/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>

#include "runtime/npy.h"

namespace nnc {

namespace {

constexpr std::string_view optimizer_prefix = "state/";

bool is_average(std::string_view path) { return path.starts_with(average_path("")); }
/// Preprocessing is fitted on the data of each run.
bool is_fitted(std::string_view path) { return path.starts_with("data."); }
/// Optimizer state belongs to a parameter: "adam.m/Dense1.W".
bool is_of_optimizer(std::string_view path) { return path.find('/') != std::string_view::npos && !is_average(path); }

/// Optimizer state stands apart in files; fitted and model state ("data.x.mean") and averages have their plain paths,
/// like parameters.
std::string name_in_file(const nnc_slot& state) {
  std::string path = state.name;
  return is_of_optimizer(path) ? std::string(optimizer_prefix) + path : path;
}

Problem wrong(const std::string& path, std::string message, std::string expected = "", std::string found = "") {
  return {.kind = Problem::Kind::data,
          .message = std::move(message),
          .place = {path, 0, 0},
          .expected = std::move(expected),
          .found = std::move(found),
          .notes = {}};
}

DType element_in_memory(StoredArray::Element element) {
  switch (element) {
    case StoredArray::Element::boolean:
      return DType::boolean;
    case StoredArray::Element::u8:
    case StoredArray::Element::i8:
    case StoredArray::Element::i16:
    case StoredArray::Element::i32:
      return DType::i32;
    case StoredArray::Element::f32:
      return DType::f32;
    case StoredArray::Element::i64:
    case StoredArray::Element::f64:
      return DType::f64;
  }
  return DType::f64;
}

std::string shape_text(DType dtype, std::span<const std::int64_t> dims) {
  return fmt::format("{}[{}]", name_of(dtype), fmt::join(dims, ", "));
}

std::optional<Problem> load_slot(const nnc_slot& slot, const std::string& name, const DenseArray& array,
                                 const std::string& path, std::byte* region) {
  if (!std::equal(array.dims.begin(), array.dims.end(), slot.dims, slot.dims + slot.rank))
    return wrong(path, fmt::format("`{}` has another shape than the program says", name),
                 shape_text(dtype_of(slot), {slot.dims, slot.rank}), shape_text(array.dtype, array.dims));
  pack(slot, array, region);
  return std::nullopt;
}

constexpr const char* checkpoint_format = "nnc.checkpoint.2";

constexpr std::pair<TrainState::Ended, std::string_view> ended_words[] = {{TrainState::Ended::not_yet, "no"},
                                                                          {TrainState::Ended::stop_rule, "stop"},
                                                                          {TrainState::Ended::early_stop, "early_stop"},
                                                                          {TrainState::Ended::diverged, "diverged"}};

std::string_view word_of(TrainState::Ended ended) {
  for (const auto& [value, word] : ended_words)
    if (value == ended) return word;
  return "";
}

/// "0.25 3": value and epoch; empty where there was none.
std::string text_of(const BestFigure& best) { return best.value ? fmt::format("{} {}", *best.value, best.epoch) : ""; }

/// Takes numbers out of the metadata and remembers the first key whose text is something else.
class MetadataReader {
 public:
  explicit MetadataReader(const std::map<std::string, std::string>& metadata) : metadata_(metadata) {}

  std::string text(const std::string& key) {
    auto found = metadata_.find(key);
    if (found == metadata_.end()) wrong(key);
    return found == metadata_.end() ? "" : found->second;
  }
  template <class T>
  T number(const std::string& key) {
    const std::vector<T> values = numbers<T>(key);
    if (values.size() == 1) return values[0];
    wrong(key);
    return 0;
  }
  /// The shortest decimals of fmt read back to the same f64.
  template <class T>
  std::vector<T> numbers(const std::string& key) {
    std::vector<T> values;
    const std::string all = text(key);
    for (const char *at = all.data(), *end = at + all.size(); at != end;) {
      T value{};
      auto [next, fault] = std::from_chars(at, end, value);
      if (fault != std::errc() || (next != end && *next != ' ')) return wrong(key), values;
      values.push_back(value);
      at = next == end ? end : next + 1;
    }
    return values;
  }
  BestFigure best(const std::string& key) {
    const auto values = numbers<double>(key);
    if (values.empty()) return {};
    if (values.size() != 2) return wrong(key), BestFigure{};
    return {values[0], static_cast<std::int64_t>(values[1])};
  }
  TrainState::Ended ended(const std::string& key) {
    const std::string found = text(key);
    for (const auto& [value, word] : ended_words)
      if (word == found) return value;
    wrong(key);
    return {};
  }
  void wrong(const std::string& key) {
    if (wrong_.empty()) wrong_ = key;
  }
  const std::string& first_wrong() const { return wrong_; }

 private:
  const std::map<std::string, std::string>& metadata_;
  std::string wrong_;
};

}  // namespace

TensorFile checkpoint_of(const Weights& weights, const CheckpointRecord& record) {
  TensorFile file;
  for (const nnc_slot& slot : params_of(*weights.layout))
    file.tensors.push_back({slot.name, unpack(slot, weights.params.data())});
  for (const nnc_slot& slot : state_of(*weights.layout))
    file.tensors.push_back({name_in_file(slot), unpack(slot, weights.state.data())});
  const TrainState& state = record.state;
  file.metadata = {{"format", checkpoint_format},
                   {"epoch", fmt::format("{}", state.at.epoch)},
                   {"step", fmt::format("{}", state.at.step)},
                   {"cursor", fmt::format("{}", state.at.batch)},
                   {"epoch_judged", state.judged ? "1" : "0"},
                   {"loss_totals", fmt::format("{}", fmt::join(state.loss_totals, " "))},
                   {"best", text_of(state.best)},
                   {"early_stop", text_of(state.early_stop)},
                   {"waited", fmt::format("{}", state.waited)},
                   {"ended", std::string(word_of(state.ended))},
                   {"seed", fmt::format("{}", record.seed)},
                   {"random", "philox4x32-10"},
                   {"source_sha256", record.source_hash},
                   {"log_bytes", fmt::format("{}", record.log_bytes)}};
  return file;
}

Result<CheckpointRecord> record_of(const TensorFile& file, const std::string& path, const std::string& source_hash) {
  MetadataReader reader(file.metadata);
  const std::string format = reader.text("format");
  if (format != checkpoint_format)
    return wrong(path, "this is not the checkpoint of a run", fmt::format("format {}", checkpoint_format),
                 format.empty() ? "no format" : fmt::format("format {}", format));
  CheckpointRecord record;
  record.state.at = {reader.number<std::int64_t>("epoch"), reader.number<std::int64_t>("step"),
                     reader.number<std::int64_t>("cursor")};
  record.state.judged = reader.number<int>("epoch_judged") != 0;
  record.state.loss_totals = reader.numbers<double>("loss_totals");
  record.state.best = reader.best("best");
  record.state.early_stop = reader.best("early_stop");
  record.state.waited = reader.number<std::int64_t>("waited");
  record.state.ended = reader.ended("ended");
  record.seed = reader.number<std::uint64_t>("seed");
  record.source_hash = reader.text("source_sha256");
  record.log_bytes = reader.number<std::uint64_t>("log_bytes");
  const Cursor& at = record.state.at;
  if (at.epoch < 0 || at.batch < 0 || at.step < at.batch) reader.wrong("step");
  if (!reader.first_wrong().empty())
    return wrong(path, fmt::format("the record of the checkpoint is damaged at `{}`", reader.first_wrong()));
  if (record.source_hash != source_hash)
    return wrong(path, "these are weights of another program", fmt::format("SHA-256 of its text: {}", source_hash),
                 fmt::format("SHA-256: {}", record.source_hash));
  return record;
}

std::optional<Problem> restore(const TensorFile& file, const std::string& path, Weights& weights, Surplus surplus) {
  std::set<std::string> known;
  auto load = [&](const nnc_slot& slot, std::string name, std::byte* region) -> std::optional<Problem> {
    const DenseArray* array = file.find(name);
    if (array == nullptr) return wrong(path, fmt::format("the file has no `{}`, which the program needs", name));
    known.insert(name);
    DType want = dtype_of(slot);
    if (array->dtype != want && !(is_float(array->dtype) && is_float(want)))
      return wrong(path, fmt::format("`{}` has elements of another kind than the program says", name),
                   std::string(name_of(want)), std::string(name_of(array->dtype)));
    return load_slot(slot, name, *array, path, region);
  };
  for (const nnc_slot& slot : params_of(*weights.layout))
    if (auto problem = load(slot, slot.name, weights.params.data())) return problem;
  for (const nnc_slot& slot : state_of(*weights.layout))
    if (auto problem = load(slot, name_in_file(slot), weights.state.data())) return problem;
  if (surplus == Surplus::refused)
    for (const NamedArray& tensor : file.tensors)
      if (!known.contains(tensor.name))
        return wrong(path, fmt::format("the file has `{}`, which the program does not have", tensor.name));
  return std::nullopt;
}

Result<TensorFile> read_tensors(const std::string& path) {
  std::ifstream head(path, std::ios::binary);
  char mark[2] = {};
  if (!head.read(mark, sizeof mark) || mark[0] != 'P' || mark[1] != 'K') return read_safetensors(path);
  auto arrays = read_npz(path);
  if (!arrays) return arrays.problem();
  TensorFile file;
  for (const auto& [name, stored] : *arrays) {
    if (!stored) return stored.problem();
    DenseArray array(element_in_memory(stored->element), stored->dims);
    for (std::int64_t i = 0; i < array.count(); ++i) array.set(i, stored->at(i));
    file.tensors.push_back({name, std::move(array)});
  }
  return file;
}

std::optional<Problem> initialise(const TensorFile& file, const std::string& path, Weights& weights,
                                  std::vector<std::string>& notes) {
  struct Target {
    const nnc_slot* slot;
    std::byte* region;
  };
  const auto params = params_of(*weights.layout), states = state_of(*weights.layout);
  std::vector<Target> targets;
  for (const nnc_slot& slot : params) targets.push_back({&slot, weights.params.data()});
  for (const nnc_slot& slot : states)
    if (!is_of_optimizer(slot.name) && !is_average(slot.name) && !is_fitted(slot.name))
      targets.push_back({&slot, weights.state.data()});
  std::set<std::string> matched;
  for (const auto& [slot, region] : targets) {
    const DenseArray* array = file.find(slot->name);
    if (array == nullptr) {
      notes.push_back(fmt::format("`{}` is not in {}: it keeps its initializer", slot->name, path));
      continue;
    }
    if (auto problem = load_slot(*slot, slot->name, *array, path, region)) return problem;
    matched.insert(slot->name);
  }
  for (const NamedArray& tensor : file.tensors)
    if (!tensor.name.starts_with(optimizer_prefix) && !is_average(tensor.name) && !is_fitted(tensor.name) &&
        !matched.contains(tensor.name))
      notes.push_back(fmt::format("`{}` of {} is no parameter of the program", tensor.name, path));
  for (const nnc_slot& slot : params)
    if (const nnc_slot* average = find_slot(states, average_path(slot.name)))
      pack(*average, unpack(slot, weights.params.data()), weights.state.data());
  if (!matched.empty()) return std::nullopt;
  std::vector<std::string> names, paths;
  for (const NamedArray& tensor : file.tensors) names.push_back(tensor.name);
  for (const nnc_slot& slot : params) paths.push_back(slot.name);
  return wrong(path, "no tensor of the file has the name of a parameter", fmt::format("{}", fmt::join(paths, ", ")),
               fmt::format("{}", fmt::join(names, ", ")));
}

}  // namespace nnc

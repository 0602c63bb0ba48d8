#include "driver/run_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "driver/console.h"
#include "ir/nearest.h"
#include "ir/utf8.h"
#include "runtime/file.h"
#include "runtime/metrics.h"
#include "runtime/run_directory.h"

namespace nnc::driver {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::vector<std::string> stored_paths(const Elaborated& block) {
  std::vector<fs::path> paths;
  for (const SourceFile& source : block.sources) paths.push_back(fs::absolute(source.path).lexically_normal());
  fs::path common = block.imports_from_root ? paths.front().root_path() : paths.front().parent_path();
  const auto inside = [&](const fs::path& path) { return *path.lexically_relative(common).begin() != ".."; };
  while (!std::all_of(paths.begin(), paths.end(), inside)) common = common.parent_path();
  std::vector<std::string> stored;
  for (const fs::path& path : paths) stored.push_back(path.lexically_relative(common).string());
  return stored;
}

std::string data_folder_of(const std::string& file, const std::optional<std::string>& data) {
  return fs::weakly_canonical(data ? fs::path(*data) : fs::absolute(file).parent_path()).string();
}

std::optional<Problem> path_not_utf8(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    const std::size_t at = first_not_utf8(path);
    if (at == path.npos) continue;
    std::string shown;
    for (std::size_t i = 0, length = 0; i < path.size(); i += std::max<std::size_t>(length, 1)) {
      length = utf8_length(path.substr(i, 4));
      shown += length > 0 ? path.substr(i, length) : fmt::format("\\x{:02x}", static_cast<unsigned char>(path[i]));
    }
    return Problem{.kind = Problem::Kind::io,
                   .message = "a path is not UTF-8, and the record of a run keeps it as text",
                   .place = {},
                   .expected = {},
                   .found = fmt::format("the byte 0x{:02X} in `{}`", static_cast<unsigned char>(path[at]), shown),
                   .notes = {"help: rename the file or the folder: `convmv -f latin1 -t utf8` does so for many"}};
  }
  return std::nullopt;
}

std::string fingerprint_text(const SplitColumns& columns) { return fmt::format("{:016x}", columns.fingerprint()); }

std::optional<Problem> lost_best(const std::string& path, const CheckpointRecord& last) {
  if (!last.state.best.value) return std::nullopt;
  return Problem{
      .kind = Problem::Kind::data,
      .message = fmt::format("the run's best weights, of epoch {}, are not there any more", last.state.best.epoch),
      .place = {(fs::path(path).parent_path() / best_weights).string(), 0, 0},
      .expected = {},
      .found = {},
      .notes = {fmt::format("help: put the file back; `--weights {}` takes the last ones, and `nnc train "
                            "PROGRAM --init {}` starts another run from them",
                            path, path)}};
}

std::string part_of(const std::string& folder, int index) { return fmt::format("{}/part-{}", folder, index + 1); }

int parts_of(const std::string& folder) {
  int parts = 0;
  if (!is_run(folder))
    while (is_run(part_of(folder, parts))) ++parts;
  return parts;
}

std::string holder_of(const std::string& run) { return parts_of(run) > 0 ? part_of(run, 0) : run; }

std::string next_run(const std::string& holder, const RunRecord& record) {
  if (record.following.in.empty()) return "";
  std::error_code unknown;
  const fs::path path = fs::path(holder) / record.following.in;
  const std::string near = fs::proximate(path, unknown).string();
  return near.empty() ? path.string() : near;
}

bool waits(const std::string& holder, const RunRecord& record) {
  if (record.following.blocks.empty() || record.following.begun) return false;
  const std::string next = next_run(holder, record);
  return next.empty() || !(is_run(next) || parts_of(next) > 0);
}

std::optional<Problem> hand_on(const std::string& run, const std::string& next, bool begun) {
  const std::string holder = holder_of(run), path = holder + "/run.json";
  if (!is_run(holder)) return std::nullopt;
  auto text = read_file(path);
  if (!text) return text.problem();
  Json json = Json::parse(text->begin(), text->end(), nullptr, false);
  if (!json.is_object() || !json.contains("following") || !json["following"].is_object()) return std::nullopt;
  std::error_code unknown;
  json["following"]["in"] = fs::proximate(next, holder, unknown).string();
  if (begun) json["following"]["begun"] = true;
  return write_file_atomically(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Problem no_run(const std::string& path) {
  Problem problem{.kind = Problem::Kind::io, .message = {}, .place = {}, .expected = {}, .found = {}, .notes = {}};
  std::error_code unknown;
  if (!fs::exists(path, unknown))
    problem.message = fmt::format("there is no run `{}`", path);
  else if (fs::is_directory(path, unknown))
    problem.message = fmt::format("`{}` is no run: there is no run.json in it", path);
  else
    problem.message = fmt::format("`{}` is a file, and a run is a folder", path);
  if (const auto near = fs::exists(path, unknown) ? std::nullopt : nearest_path(path))
    problem.notes.push_back(fmt::format("help: did you mean `{}`?", *near));
  problem.notes.emplace_back("help: `nnc train PROGRAM` makes a run, in runs/NAME-N or where --out says");
  return problem;
}

Problem no_single_run(const std::string& folder, int parts) {
  return {.kind = Problem::Kind::io,
          .message =
              fmt::format("`{}` is a cross-validation: {} runs, each with a part of the rows left out", folder, parts),
          .place = {},
          .expected = {},
          .found = {},
          .notes = {fmt::format("help: `{}` is one of them; a model to be used is trained on all rows, by `nnc train "
                                "PROGRAM` without --cv",
                                part_of(folder, 0))}};
}

std::string describe(TrainOutcome::End end) {
  switch (end) {
    case TrainOutcome::End::epochs_done:
      return "finished";
    case TrainOutcome::End::stop_rule:
      return "stopped by `stop`";
    case TrainOutcome::End::early_stop:
      return "stopped by `early_stop`";
    case TrainOutcome::End::max_steps:
      return "stopped by --max-steps";
    case TrainOutcome::End::interrupted:
      return "interrupted";
    case TrainOutcome::End::diverged:
      return "diverged";
  }
  return "";
}

std::string place_text(const Cursor& at, bool whole_epoch) {
  if (at.step == 0) return "at step 0";
  return whole_epoch ? fmt::format("after epoch {}, step {}", at.epoch, at.step)
                     : fmt::format("in epoch {}, after step {}", at.epoch, at.step);
}

namespace {

Json json_of(const Following& following) {
  Json json;
  json["train"] = following.blocks;
  if (following.seed) json["seed"] = *following.seed;
  if (following.epochs) json["epochs"] = *following.epochs;
  if (following.init) json["init"] = *following.init;
  if (!following.in.empty()) json["in"] = following.in;
  if (following.begun) json["begun"] = true;
  return json;
}

}  // namespace

std::string run_json(const RunRecord& record, const Compilation& compilation, const TrainOutcome* outcome) {
  Json json;
  json["schema"] = "nnc.run.1";
  json["nnc"] = version;
  json["train"] = record.train_block;
  json["model"] = fmt::format("{}", fmt::join(record.models, ", "));
  json["file"] = record.file;
  json["source_sha256"] = record.source_hash;
  json["imports"] = Json::array();
  for (const auto& [path, hash] : record.imports) json["imports"].push_back({path, hash});
  json["data_folder"] = record.data_folder;
  json["set"] = Json::array();
  for (const auto& [name, value] : record.set) json["set"].push_back({name, value});
  json["dtype"] = record.dtype;
  json["seed"] = record.seed;
  json["epochs"] = record.epochs;
  json["best"] = record.best;
  json["log_steps"] = record.log_steps;
  if (record.fold) json["fold"] = {record.fold->index + 1, record.fold->of};
  json["classes"] = Json::object();
  for (const auto& [input, learnt] : record.classes) json["classes"][input] = learnt.names;
  for (const auto& [input, learnt] : record.classes)
    if (!learnt.missing.empty()) json["missing"][input] = learnt.missing;
  for (const auto& [input, learnt] : record.classes)
    if (!learnt.unknown.empty()) json["unknown"][input] = learnt.unknown;
  if (!record.columns.empty()) json["columns"] = record.columns;
  json["rows"] = record.rows;
  if (!record.fingerprints.empty()) json["fingerprints"] = record.fingerprints;
  json["machine"] = {{"cpu", compilation.host.target.cpu},
                     {"features", compilation.host.target.features},
                     {"schedules", compilation.host.machine.name},
                     {"threads", compilation.threads}};
  if (!record.following.blocks.empty()) json["following"] = json_of(record.following);
  json["state"] = outcome ? describe(outcome->end) : "training";
  if (outcome) {
    json["epoch"] = outcome->at.epoch;
    json["step"] = outcome->at.step;
    json["place"] = place_text(outcome->at, outcome->whole_epoch);
    if (record.best) json["best_epoch"] = outcome->best_epoch;
  }
  return json.dump(2) + "\n";
}

namespace {

/// Takes values out of the record and remembers the first key whose value is missing or of another kind.
class RecordReader {
 public:
  explicit RecordReader(const Json& json) : json_(json) {}

  std::string text(const char* key) {
    const Json* value = at(key);
    return value && (value->is_string() || wrong(key, "a string", value)) ? read<std::string>(*value) : "";
  }
  std::uint64_t whole(const char* key) {
    const Json* value = at(key);
    return value && (value->is_number_unsigned() || wrong(key, "a whole number from 0", value))
               ? read<std::uint64_t>(*value)
               : 0;
  }
  bool flag(const char* key) {
    const Json* value = at(key);
    return value && (value->is_boolean() || wrong(key, "true or false", value)) && read<bool>(*value);
  }
  /// Pairs of a name and an expression.
  std::vector<std::pair<std::string, std::string>> settings(const char* key) {
    std::vector<std::pair<std::string, std::string>> pairs;
    const Json* value = at(key);
    const auto is_pair = [](const Json& pair) {
      return pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_string();
    };
    const bool fits = value && value->is_array() && std::all_of(value->begin(), value->end(), is_pair);
    if (value && !fits) wrong(key, "a list of pairs of strings", value);
    if (fits)
      for (const Json& pair : *value) pairs.emplace_back(read<std::string>(pair[0]), read<std::string>(pair[1]));
    return pairs;
  }
  std::map<std::string, std::int64_t> counts(const char* key) {
    std::map<std::string, std::int64_t> counts;
    const Json* value = at(key);
    const auto is_count = [](const Json& count) { return count.is_number_unsigned(); };
    const bool fits = value && value->is_object() && std::all_of(value->begin(), value->end(), is_count);
    if (value && !fits) wrong(key, "whole numbers from 0 by name", value);
    if (fits)
      for (const auto& [name, count] : value->items()) counts[name] = count.get<std::int64_t>();
    return counts;
  }
  std::map<std::string, std::string> texts(const char* key) {
    std::map<std::string, std::string> texts;
    const Json* value = at(key);
    const bool fits = value && value->is_object() &&
                      std::all_of(value->begin(), value->end(), [](const Json& text) { return text.is_string(); });
    if (value && !fits) wrong(key, "strings by name", value);
    if (fits)
      for (const auto& [name, text] : value->items()) texts[name] = text.get<std::string>();
    return texts;
  }
  Following following(const char* key) {
    const Json& value = json_[key];
    const auto is_text = [](const Json& text) { return text.is_string(); };
    const auto fits_or_absent = [&](const char* name, auto fits) { return !value.contains(name) || fits(value[name]); };
    const auto is_whole = [](const Json& number) { return number.is_number_unsigned(); };
    const auto is_flag = [](const Json& flag) { return flag.is_boolean(); };
    const bool fits = value.is_object() && value.contains("train") && value["train"].is_array() &&
                      std::ranges::all_of(value["train"], is_text) && fits_or_absent("seed", is_whole) &&
                      fits_or_absent("epochs", is_whole) && fits_or_absent("init", is_text) &&
                      fits_or_absent("in", is_text) && fits_or_absent("begun", is_flag);
    if (!fits) return wrong(key, "train blocks, and what was said for them", &value), Following{};
    Following following{value["train"].get<std::vector<std::string>>()};
    if (value.contains("seed")) following.seed = value["seed"].get<std::uint64_t>();
    if (value.contains("epochs")) following.epochs = value["epochs"].get<std::int64_t>();
    if (value.contains("init")) following.init = value["init"].get<std::string>();
    if (value.contains("in")) following.in = value["in"].get<std::string>();
    if (value.contains("begun")) following.begun = value["begun"].get<bool>();
    return following;
  }
  /// [I, K], from 1.
  std::optional<CrossPart> fold(const char* key, std::uint64_t seed) {
    const Json* value = at(key);
    const bool fits = value->is_array() && value->size() == 2 && (*value)[0].is_number_unsigned() &&
                      (*value)[1].is_number_unsigned() && (*value)[0] >= 1 && (*value)[0] <= (*value)[1] &&
                      (*value)[1] <= most_folds;
    if (!fits) return wrong(key, "a part and their number", value), std::nullopt;
    return CrossPart{read<int>((*value)[0]) - 1, read<int>((*value)[1]), seed};
  }
  /// Lists of names by input.
  std::map<std::string, std::vector<std::string>> names(const char* key) {
    std::map<std::string, std::vector<std::string>> names;
    const Json* value = at(key);
    const auto is_names = [](const Json& list) {
      return list.is_array() &&
             std::all_of(list.begin(), list.end(), [](const Json& name) { return name.is_string(); });
    };
    const bool fits = value && value->is_object() && std::all_of(value->begin(), value->end(), is_names);
    if (value && !fits) wrong(key, "lists of strings by name", value);
    if (fits)
      for (const auto& [name, list] : value->items()) names[name] = list.get<std::vector<std::string>>();
    return names;
  }
  /// Names by input; in `missing` and `unknown`, which may be absent, those that stand for such values.
  ClassNames classes() {
    ClassNames classes;
    for (auto& [input, list] : names("classes")) classes[input].names = list;
    stand_ins("missing", classes, &LearntClasses::missing);
    stand_ins("unknown", classes, &LearntClasses::unknown);
    return classes;
  }
  /// Always false.
  bool wrong(const char* key, std::string expected, const Json* found) {
    if (!key_.empty()) return false;
    key_ = key, expected_ = std::move(expected), found_ = found ? shown(*found) : "no such key";
    return false;
  }

  /// Completes `problem` where something was wrong.
  bool complete(Problem& problem) const {
    if (key_.empty()) return false;
    problem.message = fmt::format("the record of the run is damaged at `{}`", key_);
    problem.expected = expected_, problem.found = found_;
    return true;
  }

 private:
  /// A class of each input that is named.
  void stand_ins(const char* key, ClassNames& classes, std::string LearntClasses::* of) {
    if (!json_.contains(key)) return;
    const Json& stand_ins = json_[key];
    for (const auto& item : stand_ins.items()) {
      const auto known = classes.find(item.key());
      const bool fits =
          item.value().is_string() && known != classes.end() &&
          std::ranges::find(known->second.names, item.value().get<std::string>()) != known->second.names.end();
      if (fits)
        known->second.*of = item.value().get<std::string>();
      else
        wrong(key, "a class of each name", &stand_ins);
    }
  }

  template <class T>
  static T read(const Json& value) {
    return value.get<T>();
  }
  static std::string shown(const Json& value) {
    constexpr std::size_t most = 60;
    std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    return fmt::format("`{}`", text.size() > most ? text.substr(0, most) + "..." : text);
  }
  const Json* at(const char* key) {
    auto found = json_.find(key);
    if (found != json_.end()) return &*found;
    wrong(key, "a value", nullptr);
    return nullptr;
  }

  const Json& json_;
  std::string key_, expected_, found_;
};

/// A path that does not lead out of the folder that it is looked up in.
bool is_inside(const std::string& path) {
  const fs::path normal = fs::path(path).lexically_normal();
  return !path.empty() && !normal.is_absolute() && normal.has_filename() && *normal.begin() != "..";
}

}  // namespace

Result<RunRecord> read_run(const std::string& folder) {
  std::string path = folder + "/run.json";
  auto text = read_file(path);
  if (!text) return text.problem();
  Problem wrong{.kind = Problem::Kind::data,
                .message = "this is not the record of a run",
                .place = {path, 0, 0},
                .expected = {},
                .found = {},
                .notes = {fmt::format("help: `nnc eval PROGRAM --weights FILE --data DIR` needs no record; the program "
                                      "is in {}, the weights are in {}",
                                      shell_word(folder + "/model"), shell_word(folder))}};
  const Json json = Json::parse(text->begin(), text->end(), nullptr, false);
  if (!json.is_object()) return wrong;
  RecordReader reader(json);
  const std::string schema = reader.text("schema");
  if (schema != "nnc.run.1") reader.wrong("schema", "`nnc.run.1`", json.contains("schema") ? &json["schema"] : nullptr);
  RunRecord record;
  record.train_block = reader.text("train");
  record.models = {reader.text("model")};
  record.file = reader.text("file");
  if (!is_inside(record.file))
    reader.wrong("file", "the path of a file in model/", json.contains("file") ? &json["file"] : nullptr);
  record.source_hash = reader.text("source_sha256");
  if (json.contains("imports")) record.imports = reader.settings("imports");
  for (const auto& [imported, hash] : record.imports)
    if (!is_inside(imported)) reader.wrong("imports", "paths of files in model/", &json["imports"]);
  record.data_folder = reader.text("data_folder");
  record.set = reader.settings("set");
  record.dtype = reader.text("dtype");
  if (record.dtype != "f32" && record.dtype != "f64")
    reader.wrong("dtype", "f32 or f64", json.contains("dtype") ? &json["dtype"] : nullptr);
  record.seed = reader.whole("seed");
  record.epochs = static_cast<std::int64_t>(reader.whole("epochs"));
  record.best = reader.flag("best");
  record.log_steps = reader.flag("log_steps");
  if (json.contains("fold")) record.fold = reader.fold("fold", record.seed);
  record.classes = reader.classes();
  if (json.contains("columns")) record.columns = reader.names("columns");
  record.rows = reader.counts("rows");
  if (json.contains("fingerprints")) record.fingerprints = reader.texts("fingerprints");
  if (json.contains("following")) record.following = reader.following("following");
  if (reader.complete(wrong)) return wrong;
  return record;
}

}  // namespace nnc::driver

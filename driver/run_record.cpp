#include "driver/run_record.h"

#include <fmt/format.h>

#include "runtime/file.h"
#include "runtime/metrics.h"

namespace nnc::driver {

using Json = nlohmann::ordered_json;

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

std::string run_json(const RunRecord& record, const Compilation& compilation, const RawData& data,
                     const TrainOutcome* outcome) {
  Json json;
  json["schema"] = "nnc.run.1";
  json["nnc"] = version;
  json["train"] = record.train_block;
  json["model"] = record.model;
  json["file"] = record.file;
  json["source_sha256"] = record.source_hash;
  json["data_folder"] = record.data_folder;
  json["set"] = Json::array();
  for (const auto& [name, value] : record.set) json["set"].push_back({name, value});
  json["dtype"] = record.dtype;
  json["seed"] = record.seed;
  json["epochs"] = record.epochs;
  json["best"] = record.best;
  json["classes"] = record.classes;
  json["rows"] = Json::object();
  for (const std::string& split : data.splits()) json["rows"][split] = data.rows(split);
  json["machine"] = {{"cpu", compilation.host.target.cpu},
                     {"features", compilation.host.target.features},
                     {"schedules", compilation.host.machine.name},
                     {"threads", compilation.threads}};
  json["state"] = outcome ? describe(outcome->end) : "training";
  if (outcome) {
    json["epoch"] = outcome->at.epoch;
    json["step"] = outcome->at.step;
    if (record.best) json["best_epoch"] = outcome->best_epoch;
  }
  return json.dump(2) + "\n";
}

Result<RunRecord> read_run(const std::string& folder) {
  std::string path = folder + "/run.json";
  auto text = read_file(path);
  if (!text) return text.problem();
  Problem wrong{.kind = Problem::Kind::data,
                .message = "this is not the record of a run",
                .place = {path, 0, 0},
                .expected = {},
                .found = {},
                .notes = {}};
  Json json = Json::parse(text->begin(), text->end(), nullptr, false);
  if (!json.is_object() || json.value("schema", "") != "nnc.run.1") return wrong;
  RunRecord record;
  try {
    record.train_block = json.at("train");
    record.model = json.at("model");
    record.file = json.at("file");
    record.source_hash = json.at("source_sha256");
    record.data_folder = json.at("data_folder");
    for (const Json& pair : json.at("set")) record.set.emplace_back(pair.at(0), pair.at(1));
    record.dtype = json.at("dtype");
    record.seed = json.at("seed");
    record.epochs = json.at("epochs");
    record.best = json.at("best");
    record.classes = json.at("classes").get<ClassNames>();
  } catch (const Json::exception& fault) {
    wrong.found = fault.what();
    return wrong;
  }
  if (record.file.find('/') != std::string::npos) return wrong;
  return record;
}

}  // namespace nnc::driver

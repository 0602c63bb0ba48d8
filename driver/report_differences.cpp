#include "driver/report_differences.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "frontend/diagnostics.h"
#include "frontend/parser.h"
#include "runtime/file.h"
#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

constexpr std::string_view last_figure = "last ";

using Named = std::vector<std::pair<std::string, std::string>>;

/// What a program says: settings by their names, and the lines of each body by the name of what it is the body of.
struct Said {
  Named settings;
  std::vector<std::pair<std::string, std::vector<std::string>>> bodies;
};

std::string value_text(const nlohmann::ordered_json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// "a, b, c" of a list of words or numbers, so many of them that they can be read.
std::string listed(const nlohmann::ordered_json& value) {
  constexpr std::size_t most = 12;
  if (!value.is_array()) return value_text(value);
  std::string text;
  for (std::size_t i = 0; i < std::min(most, value.size()); ++i)
    text += (text.empty() ? "" : ", ") + value_text(value[i]);
  return value.size() > most ? fmt::format("{}, … ({} in all)", text, value.size()) : text;
}

/// Whatever its layout is.
std::string one_line(std::string_view text) {
  std::string line;
  for (char c : text) {
    const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (space && (line.empty() || line.back() == ' ')) continue;
    line += space ? ' ' : c;
  }
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

class Reader {
 public:
  explicit Reader(const RunReport& run) : run_(run) {
    for (const auto& path : files()) read(path);
  }
  Said said() && { return std::move(said_); }

 private:
  std::vector<std::string> files() const {
    std::vector<std::string> paths{run_.record.value("file", "")};
    if (const auto imports = run_.record.find("imports"); imports != run_.record.end() && imports->is_array())
      for (const auto& import : *imports)
        if (import.is_array() && !import.empty() && import[0].is_string()) paths.push_back(import[0]);
    return paths;
  }

  void read(const std::string& path) {
    const auto text = read_file(run_.folder + "/model/" + path);
    if (!text) return;
    Diagnostics diagnostics;
    SourceFile source;
    source.path = path;
    source.text.assign(text->begin(), text->end());
    const std::uint32_t file = diagnostics.add_file(std::move(source));
    const Ast ast = parse(file, diagnostics);
    for (const ast::Declaration& declaration : ast.declarations)
      std::visit([&](const auto& form) { tell(form, diagnostics); }, declaration.form);
  }

  static std::string text_of(const ast::ExprPtr& value, const Diagnostics& diagnostics) {
    return value ? one_line(diagnostics.text(value->span)) : "";
  }

  void tell(const ast::Import&, const Diagnostics&) {}
  void tell(const ast::Test&, const Diagnostics&) {}
  void tell(const ast::Const& form, const Diagnostics& diagnostics) {
    said_.settings.emplace_back("const " + form.name.text, text_of(form.value, diagnostics));
  }
  void tell(const ast::Function& form, const Diagnostics& diagnostics) {
    tell_body("function " + form.name.text, form.body, diagnostics);
  }
  void tell(const ast::Model& form, const Diagnostics& diagnostics) {
    tell_body("model " + form.name.text, form.body, diagnostics);
  }
  void tell(const ast::Layer& form, const Diagnostics& diagnostics) {
    tell_body("layer " + form.name.text, form.body, diagnostics);
  }
  void tell(const ast::Optimizer& form, const Diagnostics& diagnostics) {
    tell_body("optimizer " + form.name.text, form.body, diagnostics);
  }
  void tell_body(std::string name, const ast::Block& body, const Diagnostics& diagnostics) {
    std::vector<std::string> lines;
    for (const ast::Statement& statement : body.statements) lines.push_back(one_line(diagnostics.text(statement.span)));
    said_.bodies.emplace_back(std::move(name), std::move(lines));
  }
  void tell(const ast::Data& form, const Diagnostics& diagnostics) {
    std::vector<std::string> lines;
    for (const ast::Datum& datum : form.data) lines.push_back(one_line(diagnostics.text(datum.span)));
    said_.bodies.emplace_back("data " + form.name.text, std::move(lines));
  }
  /// Of the block that was trained. What the command said instead stands in the record.
  void tell(const ast::Train& form, const Diagnostics& diagnostics) {
    const std::string name = form.as ? form.as->text : form.models.empty() ? "" : form.models[0].text;
    if (name != run_.record.value("train", "")) return;
    for (const ast::Item& item : form.items) {
      if (const auto* setting = std::get_if<ast::Setting>(&item.form)) {
        std::string key;
        for (const ast::Name& one : setting->keys) key += (key.empty() ? "" : ", ") + one.text;
        std::string of;
        for (const ast::Name& one : setting->path) of += (of.empty() ? "" : ".") + one.text;
        if (!of.empty()) key += "(" + of + ")";
        if (!run_.record.contains(key)) said_.settings.emplace_back(key, text_of(setting->value, diagnostics));
      } else if (const auto* measure = std::get_if<ast::Measure>(&item.form)) {
        const char* kind = measure->kind == ast::Measure::Kind::metric ? "metric " : "output ";
        said_.settings.emplace_back(kind + measure->name.text, text_of(measure->value, diagnostics));
      } else if (const auto* let = std::get_if<ast::Let>(&item.form)) {
        for (const ast::Name& one : let->names)
          said_.settings.emplace_back("let " + one.text, text_of(let->value, diagnostics));
      }
    }
  }

  const RunReport& run_;
  Said said_;
};

const std::set<std::string> no_settings{"schema", "machine", "data_folder", "imports", "source_sha256", "set", "place"};
const std::set<std::string> how_it_ended{"state",   "epoch",   "step", "best_epoch",  "classes",
                                         "missing", "unknown", "rows", "fingerprints"};

Named record_of_command(const RunReport& run) {
  Named settings;
  for (const auto& [name, value] : run.record.items())
    if (!no_settings.contains(name) && !how_it_ended.contains(name)) settings.emplace_back(name, value_text(value));
  return settings;
}

/// --set beats what the file says of a constant.
void put_in_place(Named& settings, const RunReport& run) {
  const auto set = run.record.find("set");
  if (set == run.record.end()) return;
  const auto put = [&](const std::string& name, const std::string& value) {
    const auto known = std::ranges::find(settings, "const " + name, &Named::value_type::first);
    if (known == settings.end())
      settings.emplace_back(name, value);
    else
      known->second = value;
  };
  if (set->is_array())
    for (const auto& pair : *set)
      if (pair.is_array() && pair.size() == 2) put(value_text(pair[0]), value_text(pair[1]));
  if (set->is_object())
    for (const auto& [name, value] : set->items()) put(name, value_text(value));
}

/// What is said of each split, or of each column of words, in a line of its own; of fingerprints only where the runs
/// read other data, which their rows do not show.
void add_results(Named& results, const std::string& key, const nlohmann::ordered_json& value) {
  if (!value.is_object()) return results.emplace_back(key, value_text(value)), void();
  for (const auto& [of, one] : value.items()) {
    if (key == "rows")
      results.emplace_back("rows of " + of, value_text(one));
    else if (key == "fingerprints")
      results.emplace_back("data of " + of, value_text(one));
    else
      results.emplace_back(key + " of " + of, listed(one));
  }
}

/// Fingerprints say that data are others, and nothing to a reader.
void tell_data(std::vector<Difference>& rows) {
  for (Difference& row : rows) {
    if (!row.name.starts_with("data of ")) continue;
    const std::string first = row.values[0];
    for (std::string& value : row.values)
      if (!value.empty()) value = value == first ? "its data" : "other data";
  }
}

/// Six digits, or as many as it takes to tell one run from another.
void shorten_figures(std::vector<Difference>& rows) {
  constexpr int least_digits = 6, most_digits = 17;
  for (Difference& row : rows) {
    if (!row.name.starts_with(last_figure)) continue;
    for (int digits = least_digits; digits <= most_digits; ++digits) {
      std::vector<std::string> shown;
      for (const std::string& value : row.values) {
        char* end = nullptr;
        const double number = std::strtod(value.c_str(), &end);
        shown.push_back(value.empty() || *end != '\0' ? value : fmt::format("{:.{}g}", number, digits));
      }
      const auto alike = [](const std::vector<std::string>& values) {
        return std::set<std::string>(values.begin(), values.end()).size();
      };
      if (alike(shown) < alike(row.values) && digits < most_digits) continue;
      row.values = std::move(shown);
      break;
    }
  }
}

Named results_of(const RunReport& run) {
  Named results;
  for (const auto& [name, value] : run.record.items())
    if (how_it_ended.contains(name)) add_results(results, name, value);
  for (const ReportCurve& curve : run.curves)
    if (!curve.points.empty())
      results.emplace_back(std::string(last_figure) + curve.name, number_shown(curve.points.back().second, DType::f64));
  return results;
}

/// By name, in the order in which names come first; what all runs have alike is left out.
std::vector<Difference> compared(const std::vector<Named>& runs) {
  std::vector<Difference> all;
  for (std::size_t run = 0; run < runs.size(); ++run)
    for (const auto& [name, value] : runs[run]) {
      auto row = std::ranges::find(all, name, &Difference::name);
      if (row == all.end()) row = all.insert(all.end(), {name, std::vector<std::string>(runs.size())});
      row->values[run] = value;
    }
  std::erase_if(all, [](const Difference& row) {
    return std::ranges::all_of(row.values, [&](const std::string& value) { return value == row.values[0]; });
  });
  return all;
}

/// Lines of a body that not all runs have, in their order.
Named own_lines(const Said& of, const std::vector<Said>& all) {
  Named lines;
  for (const auto& [name, body] : of.bodies) {
    std::string own;
    for (const std::string& line : body) {
      const bool shared = std::ranges::all_of(all, [&, name = name](const Said& said) {
        const auto other = std::ranges::find(said.bodies, name, [](const auto& x) { return x.first; });
        return other != said.bodies.end() && std::ranges::find(other->second, line) != other->second.end();
      });
      if (!shared) own += (own.empty() ? "" : "\n") + line;
    }
    if (!own.empty()) lines.emplace_back(name, own);
  }
  return lines;
}

}  // namespace

Differences differences_of(const std::vector<RunReport>& runs) {
  std::vector<Said> said;
  for (const RunReport& run : runs) said.push_back(Reader(run).said());
  std::vector<Named> settings, results;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    settings.push_back(record_of_command(runs[i]));
    Named written = said[i].settings;
    put_in_place(written, runs[i]);
    settings.back().insert(settings.back().end(), written.begin(), written.end());
    const Named lines = own_lines(said[i], said);
    settings.back().insert(settings.back().end(), lines.begin(), lines.end());
    results.push_back(results_of(runs[i]));
  }
  Differences all{compared(settings), compared(results)};
  tell_data(all.results);
  shorten_figures(all.results);
  return all;
}

}  // namespace nnc::driver

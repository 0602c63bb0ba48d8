// The page of a run: its numbers are those of eval and metrics.jsonl, and it stands alone. And nnc derive as a command.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "driver/report.h"
#include "driver/report_answers.h"
#include "runtime/programs.h"
#include "tests/support/command.h"
#include "tests/support/html.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using Catch::Matchers::WithinAbs;
using nnc::test::ill_formed;
using nnc::test::leads_nowhere;
using nnc::test::needs;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using Json = nlohmann::ordered_json;

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// A run of one of the templates, and its page.
struct Run {
  std::string name, page;
  std::vector<Json> figures;  ///< of eval, a split each
};

Run run_of(const Scratch& scratch, const std::string& name, const std::string& more = "") {
  REQUIRE(run_nnc("new " + name + " " + name, scratch.path()).status == 0);
  REQUIRE(run_nnc(fmt::format("train {0}/{0}.nn --out run-{0} --epochs 4 {1}", name, more), scratch.path()).status ==
          0);
  Run run{"run-" + name, read_file(scratch.path() / ("run-" + name) / "report.html"), {}};
  const auto eval = run_nnc("eval " + run.name + " --json", scratch.path());
  REQUIRE(eval.status == 0);
  std::istringstream lines(eval.out);
  for (std::string line; std::getline(lines, line);) run.figures.push_back(Json::parse(line));
  return run;
}

void check_page(const Run& run) {
  INFO(run.name);
  CHECK(ill_formed(run.page) == "");
  CHECK(needs(run.page) == "");
  CHECK(leads_nowhere(run.page) == "");
  CHECK(run.page.size() > 3000);
  CHECK(run.page.size() < 500'000);
  CHECK(run.page.find("prefers-color-scheme:dark") != std::string::npos);
  for (const Json& split : run.figures) {
    std::string row =
        fmt::format("<tr><td>{}</td><td>{}</td>", split["split"].get<std::string>(), split["rows"].dump());
    for (const auto& [name, value] : split.items())
      if (name != "schema" && name != "train" && name != "split" && name != "rows")
        row += fmt::format("<td>{}</td>", value.dump());
    INFO(row);
    CHECK(run.page.find(row + "</tr>") != std::string::npos);
  }
}

TEST_CASE("a run has a page with the figures that eval gives, and it stands alone", "[report]") {
  const Scratch scratch;
  const Run regression = run_of(scratch, "linear"), binary = run_of(scratch, "logistic"),
            classes = run_of(scratch, "mlp");
  for (const Run* run : {&regression, &binary, &classes}) check_page(*run);
  for (const Run* run : {&regression, &binary, &classes}) {
    const auto again = run_nnc("report " + run->name + " -o -", scratch.path());
    CHECK(again.status == 0);
    CHECK(again.out == run->page);
  }
}

/// The counts of each split's table of classes on a page, row after row.
std::map<std::string, std::vector<std::int64_t>> confusions(const std::string& page) {
  std::map<std::string, std::vector<std::int64_t>> tables;
  const std::string head = "<h3>Classes of ";
  for (std::size_t at = page.find(head); at != std::string::npos; at = page.find(head, at + 1)) {
    const std::size_t name = at + head.size();
    const std::string table = page.substr(at, page.find("</table>", at) - at);
    const std::regex cell("<td class=\"count[^>]*>(\\d+)</td>");
    for (std::sregex_iterator found(table.begin(), table.end(), cell), end; found != end; ++found)
      tables[page.substr(name, page.find('<', name) - name)].push_back(std::stoll((*found)[1]));
  }
  return tables;
}

/// Each table holds every row of its split, and its diagonal is the accuracy that eval gives.
void check_confusions(const Run& run) {
  const auto tables = confusions(run.page);
  REQUIRE(tables.size() == run.figures.size());
  for (const Json& figures : run.figures) {
    const std::vector<std::int64_t>& table = tables.at(figures["split"].get<std::string>());
    const auto classes = static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(table.size()))));
    REQUIRE(classes * classes == table.size());
    std::int64_t all = 0, right = 0;
    for (std::size_t k = 0; k < table.size(); ++k) {
      all += table[k];
      if (k / classes == k % classes) right += table[k];
    }
    CHECK(all == figures["rows"].get<std::int64_t>());
    const char* metric = figures.contains("acc") ? "acc" : "accuracy";
    REQUIRE(figures.contains(metric));
    CHECK_THAT(static_cast<double>(right) / static_cast<double>(all), WithinAbs(figures[metric].get<double>(), 1e-6));
  }
}

TEST_CASE("the table of classes holds every row, and its diagonal is the accuracy", "[report]") {
  const Scratch scratch;
  for (const char* name : {"logistic", "mlp"}) {
    INFO(name);
    check_confusions(run_of(scratch, name));
  }
}

/// The last line of metrics.jsonl is the last point of each curve.
void check_curves(const std::filesystem::path& folder) {
  const auto report = nnc::driver::read_report(folder.string());
  REQUIRE(report);
  const std::string log = read_file(folder / "metrics.jsonl");
  const Json last = Json::parse(log.substr(log.rfind('\n', log.size() - 2) + 1));
  for (const nnc::driver::ReportCurve& curve : report->curves)
    if (last.contains(curve.name)) CHECK(curve.points.back().second == last[curve.name].get<double>());
  CHECK(!report->curves.empty());
}

TEST_CASE("a page costs little more than the forward passes that it shows", "[report]") {
  const Scratch scratch;
  for (const char* name : {"linear", "logistic", "mlp"}) {
    const Run run = run_of(scratch, name);
    check_curves(scratch.path() / run.name);
    double least = 1e9;
    for (int trial = 0; trial < 3; ++trial)
      least = std::min(least, run_nnc("report " + run.name + " -o page.html", scratch.path()).cpu_seconds -
                                  run_nnc("eval " + run.name, scratch.path()).cpu_seconds);
    INFO(name);
    CHECK(least < 0.3);
  }
}

TEST_CASE("one program answers for all splits where a block divides their rows", "[report]") {
  using Rows = std::vector<std::int64_t>;
  CHECK(nnc::driver::common_block(Rows{60000, 10000}) == 2500);
  CHECK(nnc::driver::common_block(Rows{120, 30}) == 30);
  CHECK(nnc::driver::common_block(Rows{4096}) == 4096);
  CHECK(nnc::driver::common_block(Rows{150, 0}) == 150);
  CHECK(nnc::driver::common_block(Rows{1437, 360}) == nnc::block_rows);  // blocks of three rows
  CHECK(nnc::driver::common_block(Rows{1000000}) == nnc::block_rows);    // many blocks in any case
}

TEST_CASE("the page of a run on handwritten digits shows what is furthest off as images", "[report]") {
  const std::filesystem::path data = nnc::test::shared_data("the page of a run on handwritten digits");
  if (data.empty()) return;
  const Scratch scratch;
  const auto trained = run_nnc(fmt::format("train {}/examples/mnist/mnist.nn --data {} --max-steps 60 --out run",
                                           NNC_SOURCE_DIR, (data / "mnist").string()),
                               scratch.path());
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  Run run{"run", read_file(scratch.path() / "run/report.html"), {}};
  const auto eval = run_nnc("eval run --json", scratch.path());
  std::istringstream lines(eval.out);
  for (std::string line; std::getline(lines, line);) run.figures.push_back(Json::parse(line));
  check_page(run);
  check_confusions(run);
  const auto again = run_nnc("report run -o -", scratch.path());
  CHECK(again.out == run.page);
  CHECK(again.cpu_seconds < 2 * eval.cpu_seconds + 0.3);  // classes take a second pass over the rows
  CHECK(count_of(run.page, "aria-label=\"weights of a unit\"") == 16);
  CHECK(count_of(run.page, ", answered ") == 8);
}

/// The rows of the tables of settings and of results.
std::pair<std::vector<std::vector<std::string>>, std::vector<std::vector<std::string>>> tables_of_differences(
    const std::string& page) {
  std::pair<std::vector<std::vector<std::string>>, std::vector<std::vector<std::string>>> tables;
  const std::regex row("<tr>(.*)</tr>"), cell("<t[dh][^>]*>(.*?)</t[dh]>");
  auto* table = &tables.first;
  for (std::sregex_iterator found(page.begin(), page.end(), row), end; found != end; ++found) {
    const std::string cells = (*found)[1];
    std::vector<std::string> texts;
    for (std::sregex_iterator one(cells.begin(), cells.end(), cell), none; one != none; ++one)
      texts.push_back((*one)[1]);
    if (texts[0] == "result") table = &tables.second;
    table->push_back(std::move(texts));
  }
  return tables;
}

TEST_CASE("an answer is compared with the column that the loss compares it with, or with none", "[report]") {
  const Scratch scratch;
  const auto page_of_run = [&](const std::string& name, const std::string& columns, const std::string& loss) {
    nnc::test::write_file(
        scratch.path() / (name + ".nn"),
        "data rows {\n  samples = 64\n  x: f32[1] = uniform(-1, 1)\n  y: f32[1] = 3 * x + 1\n" + columns +
            "}\nmodel Line(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(1) }\ntrain Line on rows {\n"
            "  let z = Line(x)\n" +
            loss + "  optimizer = sgd(lr = 0.1)\n  batch_size = full\n  epochs = 3\n}\n");
    REQUIRE(run_nnc("train " + name + ".nn --out run-" + name, scratch.path()).status == 0);
    return read_file(scratch.path() / ("run-" + name) / "report.html");
  };
  const auto furthest = [](const std::string& page) {
    const std::size_t at = page.find("Furthest off");
    return at == std::string::npos ? "" : page.substr(at, page.find("</table>", at) - at);
  };
  const std::string plain = page_of_run("plain", "", "  loss = mse(z, y)\n");
  REQUIRE(!furthest(plain).empty());
  // A metric that reads another column first changes nothing.
  const std::string measured = page_of_run("measured", "  other: f32[1] = 1000 * x\n",
                                           "  metric far = mean(abs(z - other))\n  loss = mse(z, y)\n");
  CHECK(furthest(measured) == furthest(plain));
  // A weight is no target, and a mask of 0 and 1 makes no classes: which column is meant is not clear.
  for (const std::string& page :
       {page_of_run("weighted", "  weight: f32[1] = 1 + x * x\n", "  loss = mean(weight * square(z - y))\n"),
        page_of_run("masked", "  seen: f32[1] = f32(x > 0)\n", "  loss = mean(seen * square(z - y))\n")}) {
    CHECK(furthest(page) == "");
    CHECK(page.find("confusion") == std::string::npos);
  }
}

TEST_CASE("a run that is cut short has a page of what it came to", "[report]") {
  const Scratch scratch;
  nnc::test::write_file(
      scratch.path() / "wild.nn",
      "data rows {\n  samples = 64\n  x: f32[1] = uniform(-1, 1)\n  y: f32[1] = 3 * x + 1\n}\n"
      "model Line(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(1) }\n"
      "train Line on rows {\n  loss = mse(Line(x), y)\n  optimizer = sgd(lr = 100)\n  epochs = 400\n}\n");
  REQUIRE(run_nnc("train wild.nn --out wild", scratch.path()).status == 3);
  const std::string page = read_file(scratch.path() / "wild" / "report.html");
  CHECK(ill_formed(page) == "");
  CHECK(page.find("diverged in epoch") != std::string::npos);
}

TEST_CASE("two runs on one page: their curves, and in what they differ", "[report]") {
  const Scratch scratch;
  REQUIRE(run_nnc("new linear a", scratch.path()).status == 0);
  for (const char* run : {"one --seed 1", "two --seed 2 --epochs 3"})
    REQUIRE(run_nnc(fmt::format("train a/linear.nn --out {}", run), scratch.path()).status == 0);
  REQUIRE(run_nnc("report one two", scratch.path()).status == 0);
  const std::string page = read_file(scratch.path() / "report.html");
  CHECK(ill_formed(page) == "");
  CHECK(needs(page) == "");
  using Rows = std::vector<std::vector<std::string>>;
  const auto [settings, results] = tables_of_differences(page);
  CHECK(settings == Rows{{"setting", "one", "two"}, {"seed", "1", "2"}, {"epochs", "50", "3"}});
  REQUIRE(results.size() > 3);
  CHECK(results[0] == std::vector<std::string>{"result", "one", "two"});
  CHECK(page.find("one train.loss") != std::string::npos);
  CHECK(page.find("two train.loss") != std::string::npos);
  const std::string last = read_file(scratch.path() / "two/metrics.jsonl");
  const Json end = Json::parse(last.substr(last.rfind('\n', last.size() - 2) + 1));
  const auto loss = std::ranges::find(results, "last train.loss", [](const auto& row) { return row[0]; });
  REQUIRE(loss != results.end());
  CHECK((*loss)[2] == fmt::format("{:.6g}", end["train.loss"].get<double>()));
  CHECK(count_of(page, "<svg") >= 2);
}

TEST_CASE("a run of one epoch has no curve and shows its figures all the same", "[report]") {
  const Scratch scratch;
  REQUIRE(run_nnc("new linear a", scratch.path()).status == 0);
  REQUIRE(run_nnc("train a/linear.nn --out run --epochs 1", scratch.path()).status == 0);
  const std::string page = read_file(scratch.path() / "run/report.html"),
                    log = read_file(scratch.path() / "run/metrics.jsonl");
  const Json line = Json::parse(log.substr(0, log.find('\n')));
  CHECK(page.find(fmt::format("<td>train.loss</td><td>{}</td>", line["train.loss"].dump())) != std::string::npos);
  CHECK(page.find("<h2 id=\"curves\"") != std::string::npos);
  CHECK(ill_formed(page) == "");
}

TEST_CASE("of runs on other data a page says which data, in words", "[report]") {
  const Scratch scratch;
  const std::string program =
      "data d {\n  train = csv(\"d.csv\")\n  x: f32[1] = col(\"x\")\n"
      "  y: f32[1] = col(\"y\")\n}\nmodel Net(x: f32[batch, 1]) -> f32[batch, 1] {\n  return x |> Dense(1)\n}\n"
      "train Net on d {\n  loss = half_mse(Net(x), y)\n  optimizer = sgd(0.1)\n  epochs = 2\n}\n";
  std::ofstream(scratch.path() / "net.nn") << program;
  for (const char* run : {"one", "two"}) {
    std::ofstream(scratch.path() / "d.csv") << "x,y\n1,2\n2,3\n3,4\n4," << (run[0] == 'o' ? 5 : 6) << "\n";
    const auto trained = run_nnc(fmt::format("train net.nn --out {}", run), scratch.path());
    INFO(trained.err);
    REQUIRE(trained.status == 0);
  }
  const auto [settings, results] = tables_of_differences(run_nnc("report one two -o -", scratch.path()).out);
  CHECK(std::ranges::any_of(results, [](const auto& row) {
    return row[0].starts_with("data of ") && row[1] == "its data" && row[2] == "other data";
  }));
  for (const auto& row : results)
    for (const std::string& cell : row) CHECK(cell.find('{') == std::string::npos);
}

TEST_CASE("settings that are written in the programs are compared as well, layers and data line by line", "[report]") {
  const Scratch scratch;
  const auto program = [](const std::string& layer, const std::string& optimizer, const std::string& samples) {
    return "const hidden = 3\ndata d {\n  samples = " + samples +
           "\n  x: f32[2] = uniform(0, 1)\n  y: f32[1] = uniform(0, 1)\n}\n"
           "model Net(x: f32[batch, 2]) -> f32[batch, 1] {\n  let h = x |> Dense(hidden) |> " +
           layer +
           "\n  return h |> Dense(1)\n}\ntrain Net on d {\n  let z = Net(x)\n  loss = half_mse(z, y)\n  optimizer = " +
           optimizer + "\n  epochs = 2\n}\n";
  };
  std::ofstream(scratch.path() / "net.nn") << program("tanh", "sgd(lr = 0.1)", "8");
  REQUIRE(run_nnc("train net.nn --out a", scratch.path()).status == 0);
  REQUIRE(run_nnc("train net.nn --out same", scratch.path()).status == 0);
  REQUIRE(run_nnc("train net.nn --out wide --set hidden=5", scratch.path()).status == 0);
  std::ofstream(scratch.path() / "net.nn") << "# another text\n" + program("relu", "adam(lr = 0.01)", "12");
  REQUIRE(run_nnc("train net.nn --out b", scratch.path()).status == 0);
  using Rows = std::vector<std::vector<std::string>>;
  const auto settings = [&](const std::string& runs) {
    const auto made = run_nnc("report " + runs + " -o -", scratch.path());
    INFO(made.err);
    REQUIRE(made.status == 0);
    return tables_of_differences(made.out).first;
  };
  CHECK(settings("a b") ==
        Rows{{"setting", "a", "b"},
             {"optimizer", "sgd(lr = 0.1)", "adam(lr = 0.01)"},
             {"data d", "samples = 8", "samples = 12"},
             {"model Net", "let h = x |&gt; Dense(hidden) |&gt; tanh", "let h = x |&gt; Dense(hidden) |&gt; relu"}});
  CHECK(settings("a wide") == Rows{{"setting", "a", "wide"}, {"const hidden", "3", "5"}});
  CHECK(settings("a same").empty());
  const std::string page = run_nnc("report a same -o -", scratch.path()).out;
  CHECK(page.find("In no setting") != std::string::npos);
  CHECK(page.find("They ended alike") != std::string::npos);
}

TEST_CASE("the work of a net in one piece holds its contractions: two FLOPs for each weight and row, there and back",
          "[report]") {
  const Scratch scratch;
  REQUIRE(run_nnc("new linear a", scratch.path()).status == 0);
  REQUIRE(run_nnc("train a/linear.nn --out run --epochs 1", scratch.path()).status == 0);
  const Json profile = Json::parse(read_file(scratch.path() / "run/profile.json"));
  REQUIRE(profile["kernels"].size() == 1);
  constexpr std::int64_t weights = 2, passes = 2;  // x W and xᵀ δ
  const std::int64_t rows = profile["rows"].get<std::int64_t>();
  CHECK(profile["kernels"][0]["contraction_flops"].get<std::int64_t>() == 2 * passes * weights * rows);
  // All else: of each row z + b, z − y, its square and its sum, δ and ∂loss/∂b; of the step the update of each weight.
  const std::int64_t more = profile["kernels"][0]["flops"].get<std::int64_t>() - 2 * passes * weights * rows;
  CHECK(more >= 5 * rows);
  CHECK(more <= 7 * rows + 16);
}

TEST_CASE("figures from within an epoch stand between two epochs", "[report]") {
  const Scratch scratch;
  REQUIRE(run_nnc("new linear a", scratch.path()).status == 0);
  REQUIRE(run_nnc("train a/linear.nn --out run --epochs 2", scratch.path()).status == 0);
  std::ofstream(scratch.path() / "run/metrics.jsonl")
      << R"({"schema": "nnc.epoch.1", "epoch": 1, "step": 3, "train.loss": 5}
{"schema": "nnc.epoch.1", "epoch": 1, "step": 4, "train.loss": 4}
{"schema": "nnc.epoch.1", "epoch": 2, "step": 6, "train.loss": 3}
{"schema": "nnc.epoch.1", "epoch": 2, "step": 8, "train.loss": 2}
)";
  const auto report = nnc::driver::read_report((scratch.path() / "run").string());
  REQUIRE(report);
  REQUIRE(report->curves.size() == 1);
  CHECK(report->curves[0].points == std::vector<std::pair<double, double>>{{0.75, 5}, {1, 4}, {1.5, 3}, {2, 2}});
}

TEST_CASE("the axes of a picture have round numbers within the range of its values", "[report]") {
  nnc::driver::RunReport run;
  run.title = "axes";
  run.record = Json::object();
  run.curves = {{"train.loss", {{1, 0.9}, {2, 0.5}, {3, 0.1}}}};
  const std::string page = nnc::driver::page_of({run});
  for (const char* label :
       {">0.2</text>", ">0.4</text>", ">0.6</text>", ">0.8</text>", ">1</text>", ">2</text>", ">3</text>"})
    CHECK(page.find(label) != std::string::npos);
  const std::regex text("<text [^>]*>([-+0-9.e]+)</text>");
  for (std::sregex_iterator found(page.begin(), page.end(), text), end; found != end; ++found)
    CHECK(std::stod((*found)[1]) <= 3);
  CHECK(count_of(page, "<svg") == 2);  // linear and logarithmic
}

TEST_CASE("a logarithmic axis has numbers, also where its values hold no power of ten", "[report]") {
  for (const auto& [low, high] :
       {std::pair(0.21, 0.24), std::pair(0.3, 0.7), std::pair(2.0, 300.0), std::pair(1.0, 1e9)}) {
    nnc::driver::RunReport run;
    run.title = "axes";
    run.record = Json::object();
    run.curves = {{"train.loss", {{1, high}, {2, (low + high) / 2}, {3, low}}}};
    const std::string page = nnc::driver::page_of({run});
    const std::string log = page.substr(page.find("plots log"));
    INFO(low << " to " << high);
    CHECK(count_of(log, "text-anchor=\"end\">") >= 4);  // three numbers beside, "epoch" below
  }
}

TEST_CASE("a curve in one line goes from its least to its greatest value", "[report]") {
  using nnc::driver::spark_of;
  CHECK(spark_of({"loss", {{1, 8}, {2, 4}, {3, 2}, {4, 1}}}, 40) == "█▄▂▁");
  CHECK(spark_of({"loss", {{1, 3}, {2, 1}, {3, 0}, {4, 0}}}, 2) == "█▁");
  CHECK(spark_of({"loss", {{1, 1}, {2, 1}}}, 8) == "▁▁");
  CHECK(spark_of({"loss", {{1, 1}}}, 8).empty());
  CHECK(spark_of({"loss", {{1, 1}, {2, INFINITY}}}, 8).empty());
}

TEST_CASE("what is no run has no page", "[report]") {
  const Scratch scratch;
  const auto none = run_nnc("report nowhere", scratch.path());
  CHECK(none.status == 2);
  CHECK(none.out.empty());
  CHECK(none.err.find("there is no run `nowhere`") != std::string::npos);
}

TEST_CASE("derive writes to a file in each of its formats, and says which parameters there are", "[derive]") {
  const Scratch scratch;
  REQUIRE(run_nnc("new mlp m", scratch.path()).status == 0);
  const auto text = run_nnc("derive m/mlp.nn --param Dense2.W --check", scratch.path());
  CHECK(text.status == 0);
  CHECK(text.out.find("∂loss/∂W² = a¹ᵀ δ²") != std::string::npos);
  CHECK(text.err.find(" lines hold in f64") != std::string::npos);
  REQUIRE(run_nnc("derive m/mlp.nn --format html -o page.html", scratch.path()).status == 0);
  const std::string page = read_file(scratch.path() / "page.html");
  CHECK(ill_formed(page) == "");
  CHECK(needs(page) == "");
  const auto latex = run_nnc("derive m/mlp.nn --format latex", scratch.path());
  CHECK(latex.out.find("\\begin{align*}") != std::string::npos);
  const auto wrong = run_nnc("derive m/mlp.nn --param Dense3.W", scratch.path());
  CHECK(wrong.status == 2);
  CHECK(wrong.err.find("`Dense2.W`") != std::string::npos);
}

}  // namespace

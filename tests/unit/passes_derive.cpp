// Derivations: how they read (tests/golden/derive), that every line is true, and that a line that is not is found and
// named. NNC_BLESS=1 writes the goldens that come out now.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "frontend/elaborate.h"
#include "ir/op.h"
#include "passes/derive/derivation.h"
#include "passes/derive/glossary.h"
#include "tests/support/html.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

namespace fs = std::filesystem;

struct Program {
  fs::path path;
  std::string text, expected;
  Graph step;
};

Graph step_of(const fs::path& path) {
  Diagnostics diagnostics;
  const auto blocks = elaborate_file(path.string(), {}, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(blocks.size() == 1);
  return blocks[0].step;
}

Program program(const std::string& name) {
  Program result;
  result.path = fs::path(NNC_SOURCE_DIR) / "tests/golden/derive" / (name + ".nn");
  std::ifstream in(result.path, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#|"))
      result.expected += line.substr(line.size() > 2 ? 3 : 2) + "\n";
    else
      result.text += line + "\n";
  }
  result.step = step_of(result.path);
  return result;
}

std::vector<std::string> names() {
  std::vector<std::string> result;
  for (const auto& entry : fs::directory_iterator(fs::path(NNC_SOURCE_DIR) / "tests/golden/derive"))
    if (entry.path().extension() == ".nn") result.push_back(entry.path().stem().string());
  std::ranges::sort(result);
  return result;
}

std::string as_comment(const std::string& text) {
  std::string result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) result += line.empty() ? "#|\n" : "#| " + line + "\n";
  return result;
}

const std::vector<DerivationLine>& gradients(const Derivation& derivation) { return derivation.parts.at(1).lines; }

/// The right sides that follow a left side, that line's own first.
std::vector<std::string> forms_of(const Derivation& derivation, const std::string& left) {
  std::vector<std::string> forms;
  for (const DerivationLine& line : gradients(derivation)) {
    if (line.left && !forms.empty()) break;
    if (!forms.empty() || (line.left && as_text(*line.left).starts_with(left))) forms.push_back(as_text(line.right));
  }
  return forms;
}

bool says(const std::vector<std::string>& forms, const std::string& wanted) {
  return std::ranges::find(forms, wanted) != forms.end();
}

TEST_CASE("derivations read as they are taught") {
  const bool bless = std::getenv("NNC_BLESS") != nullptr;
  for (const std::string& name : names()) {
    INFO(name);
    const Program test = program(name);
    Derivation derivation = derive(test.step);
    derivation.title = name;
    const std::string text = print(derivation, DerivationFormat::text);
    if (bless) {
      std::ofstream(test.path, std::ios::binary) << test.text << as_comment(text);
      continue;
    }
    CHECK(text == test.expected);
  }
}

TEST_CASE("every line of a derivation holds in f64, each use of a law included") {
  for (const std::string& name : names()) {
    INFO(name);
    const DerivationReport report = check(derive(program(name).step, {.every_law = true}));
    for (const DerivationFailure& failure : report.failures)
      UNSCOPED_INFO(fmt::format("{} ({}): {} and {}", failure.line, fmt::join(failure.reasons, ", "), failure.left,
                                failure.right));
    CHECK(report.failures.empty());
    CHECK(report.on_kinks == std::vector<std::string>{});
    CHECK(report.checked > 8);
  }
}

TEST_CASE("softmax regression goes from the loss to its gradient in a dozen lines of one line each") {
  const Derivation derivation = derive(program("softmax").step, {.parameter = "Dense1.W"});
  CHECK(gradients(derivation).size() <= 12);
  for (const DerivationLine& line : gradients(derivation)) CHECK(as_text(line.right).size() <= 120);
  CHECK(says(forms_of(derivation, "δ = "), "(A − Y) / n"));
  CHECK(forms_of(derivation, "∂loss/∂W").back() == "xᵀ (A − Y) / n");
  CHECK(forms_of(derivation, "∂loss/∂b").empty());
}

TEST_CASE("A - Y is derived: it is not there where the law that gives it is left out") {
  const auto last = [](std::vector<std::string> without) {
    return forms_of(derive(program("softmax").step, {.parameter = "Dense1.W", .disabled_laws = std::move(without)}),
                    "δ")
        .back();
  };
  CHECK(last({}) == "(A − Y) / n");
  CHECK(last({"one-hot"}) != "(A − Y) / n");
  CHECK(last({"normalised-quotient", "pull-out"}) != "(A − Y) / n");
}

TEST_CASE("a net of two layers shows its deltas with the derivative of its activation") {
  const Derivation derivation = derive(program("two_layers").step);
  CHECK(says(forms_of(derivation, "δ² = ∂loss/∂z²"), "(a − y) ⊙ σ′(z²) / (3n)"));
  CHECK(says(forms_of(derivation, "δ¹ = ∂loss/∂z¹"), "δ² W²ᵀ ⊙ σ′(z¹)"));
  CHECK(says(forms_of(derivation, "δ¹ = ∂loss/∂z¹"), "δ² W²ᵀ ⊙ a¹ ⊙ (1 − a¹)"));
  CHECK(forms_of(derivation, "∂loss/∂W²").front() == "a¹ᵀ δ²");
  CHECK(forms_of(derivation, "∂loss/∂W¹").front() == "xᵀ δ¹");
  CHECK(forms_of(derivation, "∂loss/∂b¹").front() == "Σᵢ δ¹");
}

/// Reasons of the lines that do not hold.
std::vector<std::string> broken(const Derivation& derivation) {
  std::vector<std::string> reasons;
  for (const DerivationFailure& failure : check(derivation).failures)
    reasons.insert(reasons.end(), failure.reasons.begin(), failure.reasons.end());
  return reasons;
}

TEST_CASE("a wrong rule of differentiation is found, and the line names it") {
  const Graph step = program("two_layers").step;
  const auto spoilt = [&](Op op) {
    DeriveOptions options;
    options.hook = [op](const GradientQuery& query, Gradients& gradients) {
      if (query.builder[query.y].op == op) gradients[0] = *gradients[0] * 1.000001;
    };
    return broken(derive(step, options));
  };
  // σ′ is written where the rule of the logistic function was used; it is wrong where it is written out.
  for (const auto& [op, name] : {std::pair(Op::dot, "dot"), std::pair(Op::pow, "pow"), std::pair(Op::logistic, "f′")}) {
    INFO(name);
    const std::vector<std::string> reasons = spoilt(op);
    CHECK(std::ranges::find(reasons, name) != reasons.end());
  }
  CHECK(broken(derive(step)).empty());
}

/// Every formula in it, the whole included.
void visit(Formula& formula, const std::function<void(Formula&)>& see) {
  see(formula);
  for (Formula& part : formula.parts) visit(part, see);
}

TEST_CASE("what is checked is what is printed: a slip in a formula is found wherever it stands") {
  const std::vector<std::function<void(Formula&)>> slips{[](Formula& x) {  // another number
                                                           if (x.kind == Formula::Kind::number) x.value *= 1.00001;
                                                         },
                                                         [](Formula& x) {  // a sign the other way
                                                           if (x.kind == Formula::Kind::sum && x.minus.size() > 1)
                                                             x.minus.back() = !x.minus.back();
                                                         },
                                                         [](Formula& x) {  // another function
                                                           if (x.kind == Formula::Kind::call && x.text == "σ")
                                                             x.text = "tanh";
                                                         },
                                                         [](Formula& x) {  // a name that no line has
                                                           if (x.kind == Formula::Kind::symbol && x.text == "a")
                                                             x.super = "7";
                                                         },
                                                         [](Formula& x) {  // a transposition left out
                                                           if (x.kind == Formula::Kind::transpose)
                                                             x = Formula(x.parts[0]);
                                                         }};
  const Derivation whole = derive(program("two_layers").step);
  for (std::size_t slip = 0; slip < slips.size(); ++slip) {
    std::size_t tried = 0;
    for (std::size_t part = 0; part < whole.parts.size(); ++part)
      for (std::size_t line = 0; line < whole.parts[part].lines.size(); ++line) {
        Derivation wrong = whole;
        Formula& right = wrong.parts[part].lines[line].right;
        visit(right, slips[slip]);
        if (right == whole.parts[part].lines[line].right) continue;
        INFO(slip << ": " << as_text(right));
        ++tried;
        CHECK(!check(wrong).failures.empty());
      }
    CHECK(tried >= 2);
  }
}

TEST_CASE("a law whose condition does not hold is found, and the line names it") {
  // That a one-hot row sums to 1 rests on labels within their range; without the promise they are drawn outside.
  Derivation derivation = derive(program("softmax").step, {.every_law = true});
  CHECK(broken(derivation).empty());
  for (Obligation& obligation : derivation.values.obligations)
    std::tie(obligation.low, obligation.high) = std::pair{3, 9};
  const std::vector<std::string> reasons = broken(derivation);
  CHECK(std::ranges::find(reasons, "one-hot") != reasons.end());
  CHECK(std::ranges::find(reasons, "maximum-out") == reasons.end());
  CHECK(std::ranges::find(reasons, "dot") == reasons.end());
}

TEST_CASE("a loop's steps back name the rule of each line, and a slip in any line of them is found") {
  const Derivation whole = derive(program("recurrent").step);
  CHECK(broken(whole).empty());
  const std::string text = print(whole, DerivationFormat::text);
  CHECK(text.find("δₜ = ∂loss/∂z₂,ₜ = ∂loss/∂rₜ ⊙ (1 − rₜ²)") != std::string::npos);
  CHECK(text.find("∂loss/∂W = Σₜ xₜᵀ δₜ") != std::string::npos);
  CHECK(text.find("∂loss/∂U = Σₜ rₜ₋₁ᵀ δₜ") != std::string::npos);
  std::size_t tried = 0, back = 0;
  for (std::size_t part = 2; part < whole.parts.size(); ++part)
    for (std::size_t line = 0; line < whole.parts[part].lines.size(); ++line) {
      const DerivationLine& right = whole.parts[part].lines[line];
      INFO(as_text(*right.left) << " = " << as_text(right.right));
      back += !right.reasons.empty();
      if (right.right.kind == Formula::Kind::number || right.right.kind == Formula::Kind::stretch) continue;
      Derivation wrong = whole;
      Formula& slip = wrong.parts[part].lines[line].right;
      slip = product_of({number_formula("1.00001"), slip});
      for (DerivationLoop& loop : wrong.loops)  // a carry's value is its line
        for (DerivationLoop::Carry& carry : loop.carries)
          if (carry.after == *right.left && carry.next == right.right) carry.next = slip;
      ++tried;
      CHECK(!check(wrong).failures.empty());
    }
  CHECK(tried >= 8);
  CHECK(back >= 4);
}

TEST_CASE("a wrong rule inside of a loop is found") {
  for (Op op : {Op::tanh, Op::dot}) {
    DeriveOptions options;
    options.hook = [op](const GradientQuery& query, Gradients& gradients) {
      const bool in_step = query.builder.graph().name == "back";
      if (in_step && query.builder[query.y].op == op) gradients[0] = *gradients[0] * 1.000001;
    };
    CHECK(!broken(derive(program("recurrent").step, options)).empty());
  }
}

TEST_CASE("only what is asked for is derived") {
  const Graph step = program("two_layers").step;
  CHECK(derive(step, {.parameter = "Dense9.W"}).parts.empty());
  const Derivation derivation = derive(step, {.parameter = "Dense2.b"});
  CHECK(forms_of(derivation, "∂loss/∂b²").front() == "Σᵢ δ²");
  for (const DerivationLine& line : gradients(derivation))
    if (line.left) CHECK(as_text(*line.left).find("W") == std::string::npos);
}

TEST_CASE("the page is well formed and needs nothing else") {
  for (const std::string& name : names()) {
    INFO(name);
    Derivation derivation = derive(program(name).step, {.every_law = true});
    derivation.title = "a < b & c";
    const std::string page = print(derivation, DerivationFormat::html);
    CHECK(test::ill_formed(page) == "");
    CHECK(test::needs(page) == "");
    CHECK(page.find("a &lt; b &amp; c") != std::string::npos);
    CHECK(std::ranges::count(page, '<') > 100);
    for (std::size_t at = page.find('&'); at != std::string::npos; at = page.find('&', at + 1)) {
      const std::string entity = page.substr(at, page.find(';', at) - at);
      CHECK((entity == "&lt" || entity == "&gt" || entity == "&amp"));
    }
  }
}

TEST_CASE("LaTeX has balanced braces and one equation a line") {
  for (const std::string& name : names()) {
    INFO(name);
    const Derivation derivation = derive(program(name).step);
    const std::string text = print(derivation, DerivationFormat::latex);
    int depth = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (i > 0 && text[i - 1] == '\\') continue;
      depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
      REQUIRE(depth >= 0);
    }
    CHECK(depth == 0);
    std::size_t lines = 0, equations = 0;
    for (const DerivationPart& part : derivation.parts)
      lines += static_cast<std::size_t>(std::ranges::count(part.lines, false, &DerivationLine::alike));
    for (std::size_t at = text.find(" &= "); at != std::string::npos; at = text.find(" &= ", at + 1)) ++equations;
    CHECK(equations == lines);
    CHECK(std::ranges::all_of(text, [](char c) { return (c & 0x80) == 0; }));
  }
}

TEST_CASE("what is told of several layers at once is checked for each") {
  const Graph step = program("deep").step;
  const Derivation told = derive(step), all = derive(step, {.every_law = true});
  std::size_t lines = 0, alike = 0;
  for (const DerivationPart& part : told.parts) {
    lines += part.lines.size();
    for (std::size_t i = 0; i < part.lines.size(); ++i) {
      alike += part.lines[i].alike;
      if (!part.lines[i].likewise.empty()) CHECK(part.lines.at(i + 1).alike);
    }
  }
  CHECK(alike == 24);  // three layers: W, b, z, a of each, and δ in two forms, and both derivatives
  CHECK(check(told).checked == static_cast<std::int64_t>(lines));
  CHECK(check(told).failures.empty());
  for (const DerivationPart& part : all.parts)
    CHECK(std::ranges::none_of(part.lines, [](const DerivationLine& line) { return line.alike; }));
}

TEST_CASE("a page explains each rule and each law that it names") {
  for (const std::string& name : names()) {
    INFO(name);
    const Derivation derivation = derive(program(name).step);
    const Glossary glossary = glossary_of(derivation);
    std::set<std::string> explained;
    for (const auto* entries : {&glossary.rules, &glossary.laws})
      for (const GlossaryEntry& entry : *entries) {
        CHECK(explained.insert(entry.word).second);
        CHECK(entry.meaning.size() > 4);
      }
    std::set<std::string> named;
    for (const DerivationPart& part : derivation.parts)
      for (const DerivationLine& line : part.lines) named.insert(line.reasons.begin(), line.reasons.end());
    CHECK(explained == named);
  }
}

TEST_CASE("numbers that are multiplied are one in what a line ends in") {
  const Formula x = symbol_formula("W"), n = [] {
    Formula rows = symbol_formula("n");
    rows.scalar = true;
    return rows;
  }();
  const auto number = [](const char* digits) { return number_formula(digits); };
  CHECK(as_text(with_one_number(product_of({number("0.01"), number("2"), x}))) == "0.02W");
  CHECK(as_text(with_one_number(product_of({quotient_of(number("1"), n), number("2"), x}))) == "(2 / n) W");
  CHECK(as_text(with_one_number(quotient_of(product_of({number("3"), x}), number("4")))) == "0.75W");
  CHECK(as_text(with_one_number(quotient_of(x, number("4")))) == "W / 4");
  CHECK(as_text(with_one_number(product_of({number("0"), number("2"), x}))) == "0 · 2W");
}

// Examples and templates

/// Programs of the project by the paths of their goldens, without ".txt".
std::map<std::string, fs::path> shipped_programs() {
  const fs::path root(NNC_SOURCE_DIR);
  std::map<std::string, fs::path> programs;
  for (const auto& entry : fs::recursive_directory_iterator(root / "examples"))
    if (entry.path().extension() == ".nn")
      programs[fs::relative(entry.path(), root).replace_extension().string()] = entry.path();
  for (const auto& entry : fs::directory_iterator(root / "driver/templates"))
    if (entry.path().extension() == ".nn") programs["templates/" + entry.path().stem().string()] = entry.path();
  return programs;
}

/// The derivations of all train blocks; what one says that another has said is named.
std::string derivations_of(const fs::path& path) {
  Diagnostics diagnostics;
  const auto blocks = elaborate_file(path.string(), {}, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(!blocks.empty());
  std::string text;
  std::map<std::string, std::string> said;
  for (const Elaborated& block : blocks) {
    Derivation derivation = derive(block.step);
    const std::string lines = print(derivation, DerivationFormat::text);
    const auto [first, fresh] = said.try_emplace(lines, block.train.name);
    text += (text.empty() ? "" : "\n") + block.train.name + (fresh ? lines : ": as " + first->second + "\n");
  }
  return text;
}

TEST_CASE("the derivations of every example and every template read as they are kept") {
  const fs::path goldens = fs::path(NNC_SOURCE_DIR) / "tests/golden/derivations";
  const bool bless = std::getenv("NNC_BLESS") != nullptr;
  std::set<fs::path> kept;
  for (const auto& [name, path] : shipped_programs()) {
    INFO(name);
    const fs::path golden = goldens / (name + ".txt");
    kept.insert(golden);
    const std::string text = derivations_of(path);
    if (bless) {
      fs::create_directories(golden.parent_path());
      std::ofstream(golden, std::ios::binary) << text;
    }
    std::ifstream in(golden, std::ios::binary);
    CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == text);
  }
  for (const auto& entry : fs::recursive_directory_iterator(goldens))
    if (entry.is_regular_file()) CHECK(kept.contains(entry.path()));
}

TEST_CASE("every folder of the examples has a program whose derivation is kept") {
  std::set<std::string> folders;
  for (const auto& [name, path] : shipped_programs()) folders.insert(path.parent_path().filename().string());
  for (const auto& entry : fs::directory_iterator(fs::path(NNC_SOURCE_DIR) / "examples")) {
    INFO(entry.path());
    const bool in_c = entry.path().filename() == "embedding";  // C programs that call a compiled model
    if (entry.is_directory() && !in_c) CHECK(folders.contains(entry.path().filename().string()));
  }
}

/// Of every train block of the programs; what says the same as another once.
void check_all(const std::map<std::string, fs::path>& programs) {
  std::set<std::string> seen;
  for (const auto& [name, path] : programs) {
    Diagnostics diagnostics;
    for (const Elaborated& block : elaborate_file(path.string(), {}, diagnostics)) {
      INFO(name << " " << block.train.name);
      const Derivation derivation = derive(block.step);
      if (!seen.insert(print(derivation, DerivationFormat::text)).second) continue;
      const DerivationReport report = check(derivation);
      for (const DerivationFailure& failure : report.failures)
        UNSCOPED_INFO(fmt::format("{} ({}): {} and {} {}", failure.line, fmt::join(failure.reasons, ", "), failure.left,
                                  failure.right, failure.unreadable));
      CHECK(report.failures.empty());
      CHECK(report.on_kinks == std::vector<std::string>{});
      CHECK(report.checked >= 8);
    }
  }
}

TEST_CASE("every line of every example and template holds") { check_all(shipped_programs()); }

TEST_CASE("every line of the programs that nets are tested with holds") {
  std::map<std::string, fs::path> programs;
  for (const auto& entry : fs::directory_iterator(fs::path(NNC_SOURCE_DIR) / "tests/programs"))
    if (entry.path().extension() == ".nn") programs[entry.path().stem().string()] = entry.path();
  REQUIRE(programs.size() > 10);
  check_all(programs);
}

TEST_CASE("a column of ones in a product of matrices is written as one, with its shape") {
  const Derivation derivation = derive(step_of(fs::path(NNC_SOURCE_DIR) / "tests/programs/pinn.nn"));
  CHECK(print(derivation, DerivationFormat::text).find("ones(n×1)ᵀ") != std::string::npos);
}

TEST_CASE("where axes are counted none comes or goes unsaid") {
  Derivation derivation = derive(step_of(fs::path(NNC_SOURCE_DIR) / "driver/templates/rnn.nn"));
  std::size_t said = 0;
  for (DerivationPart& part : derivation.parts)
    for (DerivationLine& line : part.lines)
      visit(line.right, [&](Formula& x) {
        if (x.kind != Formula::Kind::operation || x.text != "pad") return;
        Formula& padded = x.parts[0];
        if (padded.text != "reshape") return;
        ++said;
        Formula inner = padded.parts[0];
        inner.seen.push_back({padded.shape, {0, 2}});
        padded = std::move(inner);
      });
  CHECK(said == 1);
  for (DerivationLoop& loop : derivation.loops)
    for (DerivationLoop::Sequence& sequence : loop.sequences)
      visit(sequence.of, [&](Formula& x) {
        if (x.text != "pad" || x.parts[0].text != "reshape") return;
        Formula inner = x.parts[0].parts[0];
        inner.seen.push_back({x.parts[0].shape, {0, 2}});
        x.parts[0] = std::move(inner);
      });
  const DerivationReport report = check(derivation);
  CHECK(std::ranges::any_of(report.failures, [](const DerivationFailure& failure) {
    return failure.unreadable.find("has other axes where axes are counted") != std::string::npos;
  }));
}

}  // namespace
}  // namespace nnc

// What makes ./dev seeds fail: a figure out of its bounds, a row or a piece that is gone, a test block that fails.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "tests/seeds/order.h"
#include "tests/seeds/pieces.h"
#include "tests/seeds/table.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc::seeds;
using Catch::Matchers::Contains;
using nlohmann::json;

/// What `nnc test` would say of all files, were every expectation met to the last digit that the material prints.
std::vector<TestedFile> all_met() {
  std::vector<TestedFile> files;
  for (const KnownPiece& piece : known_pieces()) {
    auto file = std::ranges::find(files, piece.file, &TestedFile::file);
    if (file == files.end()) file = files.insert(files.end(), {piece.file, 0, {}});
    auto block = std::ranges::find_if(file->blocks, [&](const json& one) { return one.at("test") == piece.test; });
    if (block == file->blocks.end())
      block = file->blocks.insert(block, json{{"test", piece.test}, {"passed", true}, {"expected", json::array()}});
    const std::vector<double> numbers = numbers_of(piece.published);
    (*block)["expected"].push_back(
        {{"condition", piece.condition}, {"left", numbers.empty() ? json(0.5) : json(numbers)}, {"within", 0.0}});
  }
  return files;
}

std::vector<std::string> faults_of(const std::vector<TestedFile>& files) {
  Table table;
  add_pieces(table, known_pieces(), files);
  return table.faults();
}

Table two_rows() {
  Table table;
  table.near("line", "w", 2.5, 2.5000001, 1e-3);
  table.within("line", "updates", "304", 296, 200, 400);
  return table;
}

}  // namespace

TEST_CASE("every piece that is met is a row without a fault") {
  Table table;
  add_pieces(table, known_pieces(), all_met());
  CHECK(table.faults().empty());
  CHECK(table.pieces.size() == known_pieces().size());
}

TEST_CASE("a test block that is removed is a fault for each of its pieces, and so is one expectation") {
  for (const KnownPiece& piece : known_pieces()) {
    INFO(piece.test << ": " << piece.condition);
    std::vector<TestedFile> files = all_met();
    const auto file = std::ranges::find(files, piece.file, &TestedFile::file);
    const auto block =
        std::ranges::find_if(file->blocks, [&](const json& one) { return one.at("test") == piece.test; });
    std::vector<TestedFile> without_one = files;
    json& expected = without_one[static_cast<std::size_t>(file - files.begin())]
                         .blocks[static_cast<std::size_t>(block - file->blocks.begin())]["expected"];
    expected.erase(static_cast<std::size_t>(
        std::ranges::find_if(expected, [&](const json& one) { return one.at("condition") == piece.condition; }) -
        expected.begin()));
    const auto one = faults_of(without_one);
    REQUIRE(one.size() == 1);
    CHECK_THAT(one[0], Contains(piece.file) && Contains("`expect " + piece.condition + "` is gone"));

    const std::size_t count = block->at("expected").size();
    file->blocks.erase(block);
    CHECK(faults_of(files).size() == count);
    CHECK_THAT(faults_of(files).at(0), Contains(piece.test) && Contains("is gone"));
  }
}

TEST_CASE(
    "a block that fails, a status, a number that is not reached and an expectation that is not listed are faults") {
  std::vector<TestedFile> files = all_met();
  files[0].status = 1;
  CHECK_THAT(faults_of(files).at(0), Contains("nnc test examples/" + files[0].file + " ended with status 1"));

  files = all_met();
  files[0].blocks.push_back({{"test", "of gradients alone"}, {"passed", false}});
  CHECK_THAT(faults_of(files).at(0), Contains("of gradients alone") && Contains("failed"));

  files = all_met();
  json& left = files[0].blocks[0]["expected"][0]["left"];
  left[1] = left[1].get<double>() + 1e-6;  // published to six decimals
  CHECK(faults_of(files).size() == 1);
  left[1] = left[1].get<double>() - 0.6e-6;
  CHECK(faults_of(files).empty());

  files = all_met();
  files[0].blocks[0]["expected"].push_back({{"condition", "1 == 1"}, {"left", 1}, {"within", 0}});
  CHECK_THAT(faults_of(files).at(0), Contains("tests/seeds/pieces.cpp lacks `expect 1 == 1`"));
}

TEST_CASE("a row of the document that is not made any more is told, unless this run leaves it out") {
  const std::string document = two_rows().markdown();
  CHECK(two_rows().lost_from(document).empty());
  CHECK(two_rows().not_in(document).empty());
  Table one = two_rows();
  one.cells.pop_back();
  REQUIRE(one.lost_from(document).size() == 1);
  CHECK_THAT(one.lost_from(document)[0], Contains("| line | updates | 304 |"));
  one.skipped.push_back("| line | updates |");
  CHECK(one.lost_from(document).empty());
  Table more = two_rows();
  more.near("line", "b", 3, 3, 1);
  CHECK(more.lost_from(document).empty());
  CHECK(more.not_in(document).size() == 1);
}

TEST_CASE("a figure out of its bounds is a fault, and so is a published number outside that nobody explains") {
  CHECK(two_rows().faults().empty());
  Table out = two_rows();
  out.near("line", "b", 3, 3.2, 0.1);
  REQUIRE(out.faults().size() == 1);
  CHECK_THAT(out.faults()[0], Contains("line, b: published 3, reached 3.2"));
  Table apart = two_rows();
  apart.within("line", "epochs", "4237", 4253, 4251, 4255);
  REQUIRE(apart.faults().size() == 1);
  CHECK_THAT(apart.faults()[0], Contains("the published number is outside, and nothing says why"));
  apart.cells.back().why = "its run ended early";
  CHECK(apart.faults().empty());
  CHECK_THAT(apart.markdown(), Contains("| 4253 | 4251 .. 4255 | its run ended early |"));
  apart.within("line", "order", "diverges", 3, 3, 3);
  CHECK(apart.faults().empty());
}

TEST_CASE("rows come in the order in which NumPy's generator permutes them, epoch after epoch") {
  // First, second and last of 100 rows: numpy.random.RandomState, as tests/reference/find_order.py uses it.
  using Epoch = std::vector<std::size_t>;
  const std::map<std::uint32_t, std::vector<Epoch>> expected = {{0, {{26, 86, 44}, {7, 98, 68}, {1, 69, 16}}},
                                                                {2, {{83, 30, 40}, {28, 88, 59}, {76, 57, 15}}},
                                                                {35, {{40, 71, 73}, {68, 72, 24}, {83, 91, 55}}}};
  for (const auto& [drawn, epochs] : expected) {
    MaterialOrder order(drawn, 100);
    for (const Epoch& epoch : epochs) {
      const auto& rows = order.next();
      CHECK(Epoch{rows[0], rows[1], rows[99]} == epoch);
    }
  }
}

TEST_CASE("rows of a system stand together in the document, where its first one stands") {
  Table table;
  table.within("line", "w", "-", 1, 0, 2);
  table.within("border", "w", "-", 1, 0, 2);
  table.within("line", "b", "-", 1, 0, 2);
  const std::string text = table.markdown();
  CHECK(text.find("| line | b |") < text.find("| border | w |"));
}

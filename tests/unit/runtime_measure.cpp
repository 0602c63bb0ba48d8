// What a figure is taken from: the quarter of moments that took least, the middle of its times and of its peaks.
#include "runtime/measure.h"

#include "tests/unit/catch.h"

using namespace nnc;

TEST_CASE("of moments the quarter that took least counts, with the peaks that stood beside it") {
  std::vector<Moment> moments;
  for (int i = 1; i <= 40; ++i) moments.push_back({static_cast<double>((7 * i) % 41), 0});  // 1 to 40, in any order
  for (Moment& moment : moments) moment.peak = moment.seconds <= 10 ? 100 + moment.seconds : 1000;
  const Moment quiet = undisturbed(moments);
  CHECK(quiet.seconds == 6);  // of 1 to 10
  CHECK(quiet.peak == 106);   // a greater peak of another moment is none of theirs
}

TEST_CASE("a single moment is its own figure, and none is none") {
  const Moment only = undisturbed({{3, 5}});
  CHECK(only.seconds == 3);
  CHECK(only.peak == 5);
  CHECK(undisturbed({}).seconds == 0);
}

#!/usr/bin/env bash
# An elementwise op costs one line in ops.def and one block: the patch of docs/ touches nothing else, and with it the tests
# that walk the registry (shapes, text, gradients, native code against the evaluator) pass and have seen the new op.
set -euo pipefail
source_dir=$1
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

for part in CMakeLists.txt frontend ir passes codegen runtime driver tests; do
  cp -r "$source_dir/$part" "$copy/"
done
cd "$copy"
touched=$(sed -n 's/^+++ b\///p' "$source_dir/docs/adding-an-op.patch" | sort | tr '\n' ' ')
[ "$touched" = "ir/ops.def ir/ops/elementwise.cpp " ] || { echo "the patch touches $touched"; exit 1; }
patch -s -p1 <"$source_dir/docs/adding-an-op.patch"

cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build build -j "${NNC_JOBS:-$(nproc)}" --target test_ir test_passes test_codegen -- --quiet
for room in ir passes codegen; do
  echo "-- $room"
  "build/tests/test_$room" '[registry]' | tee "$room.log"
  grep -q 'All tests passed' "$room.log"
done
# Each of the three was really asked about the op: differentiated, compiled, checked.
build/tests/test_passes '[registry]' -s | grep -q softsign
build/tests/test_codegen '[registry]' -s | grep -q softsign

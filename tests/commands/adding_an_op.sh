#!/usr/bin/env bash
# An elementwise op costs one line in ops.def and one block: the patch of docs/ touches nothing else, and with it the tests
# that walk the registry (shapes, text, gradients, native code against the evaluator) pass and have seen the new op.
set -euo pipefail
source_dir=$1
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

for part in CMakeLists.txt cmake bench frontend ir passes codegen runtime driver tests; do
  cp -r "$source_dir/$part" "$copy/"
done
cd "$copy"
touched=$(sed -n 's/^+++ b\///p' "$source_dir/docs/adding-an-op.patch" | sort | tr '\n' ' ')
[ "$touched" = "ir/ops.def ir/ops/elementwise.cpp " ] || { echo "the patch touches $touched"; exit 1; }
patch -s -p1 <"$source_dir/docs/adding-an-op.patch"

# -Werror=switch: no list of ops elsewhere waits for the new one. -O1 is enough and compiles faster.
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Dev -DCMAKE_CXX_FLAGS=-Werror=switch \
  -DCMAKE_CXX_FLAGS_DEV=-O1 >/dev/null
cmake --build build -j "${NNC_JOBS:-$(nproc)}" --target test_registry -- --quiet
build/tests/test_registry '[registry]' -s >log || { grep -A12 FAILED log; tail -3 log; exit 1; }
tail -3 log
# It was really asked about the op: its type, its gradient against differences, its code in vectors.
for shown in 'softsign$' 'softsign, operand 0, element' 'softsign broken, softsign checked' 'softsign of f64 in 8 lanes'; do
  grep -q "^  $shown" log || { echo "no test has shown: $shown"; exit 1; }
done

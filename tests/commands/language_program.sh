#!/usr/bin/env bash
# docs/language.md tells the truth: the program at its head trains, and its table of what is not built is the compiler's.
#   language_program.sh NNC SOURCE_DIR
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
awk '/^    const/ {inside = 1} inside && /^[^ ]/ {exit} inside' "$2/docs/language.md" | sed 's/^    //' >"$scratch/program.nn"
grep -q '^train Net on points' "$scratch/program.nn"
cd "$scratch"
"$1" train program.nn --epochs 1 --out run

# What is not built yet stands in its table, every line of it.
sed -n 's/^NNC_NOT_BUILT([a-z_]*, "\(.*\)", ".*")$/\1/p' "$2/frontend/not_built.def" >"$scratch/not_built"
[ "$(wc -l <"$scratch/not_built")" -gt 0 ]
while IFS= read -r what; do
  grep -qF "| $what |" "$2/docs/language.md" || { echo "docs/language.md does not list as not built: $what"; exit 1; }
done <"$scratch/not_built"

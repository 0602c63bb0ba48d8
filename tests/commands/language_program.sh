#!/usr/bin/env bash
# The program at the head of docs/language.md is a program: it trains.
#   language_program.sh NNC SOURCE_DIR
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
awk '/^    const/ {inside = 1} inside && /^[^ ]/ {exit} inside' "$2/docs/language.md" | sed 's/^    //' >"$scratch/program.nn"
grep -q '^train Net on points' "$scratch/program.nn"
cd "$scratch"
"$1" train program.nn --epochs 1 --out run

#!/usr/bin/env bash
# What the compiler refuses as not built yet stands in the table of docs/language.md, every line of it.
#   not_built.sh SOURCE_DIR
set -euo pipefail
list=$1/frontend/not_built.def
sed -n 's/^NNC_NOT_BUILT([a-z0-9_]*, "\(.*\)", ".*")$/\1/p' "$list" | {
  found=0
  while IFS= read -r what; do
    found=$((found + 1))
    grep -qF "| $what |" "$1/docs/language.md" || { echo "docs/language.md does not list as not built: $what"; exit 1; }
  done
  [ "$found" -eq "$(grep -c '^NNC_NOT_BUILT' "$list")" ] || { echo "$list has a line that this test cannot read"; exit 1; }
}

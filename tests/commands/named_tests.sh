#!/usr/bin/env bash
# The tests and golden cases that a document's table names (`| what | `file` | name |`) are there.
#   named_tests.sh SOURCE_DIR DOCUMENT
set -euo pipefail
cd "$1"
status=0 rows=0
while IFS='|' read -r _ _ file name _; do
  file=$(tr -d '` ' <<<"$file")
  name=$(sed 's/^ *//; s/ *$//' <<<"$name")
  [[ $file == tests/* ]] || continue
  rows=$((rows + 1))
  [ -f "$file" ] || { echo "$2 names $file, which is not there"; status=1; continue; }
  # A name in a C++ file may be written as several literals, one behind the other.
  tr -d '\n' <"$file" | sed 's/" *"//g' | grep -qF -- "$name" || { echo "$file has no \"$name\""; status=1; }
done <"$2"
[ $rows -gt 0 ] || { echo "$2 names no test"; exit 1; }
exit $status

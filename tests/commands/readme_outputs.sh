#!/usr/bin/env bash
# What README.md and docs/ show as output is what the commands print: each block `    $ nnc ...` is run again and compared.
# With NNC_BLESS=1 the blocks are rewritten. A line `    ...` stands for any lines; speeds (rows/s) are not compared.
#   readme_outputs.sh NNC SOURCE_DIR DOCUMENT...
set -euo pipefail
nnc=$(realpath "$1") source_dir=$(realpath "$2")
shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$source_dir/examples" "$scratch/"
mkdir "$scratch/bin"
ln -s "$nnc" "$scratch/bin/nnc"
export PATH="$scratch/bin:$PATH" NNC_THREADS=1 NO_COLOR=1

status=0
for document in "$@"; do
  cd "$scratch/examples"
  out=$scratch/document
  : >"$out"
  command=''
  # The file is copied; after a command line its old output is skipped and the new one put there.
  while IFS= read -r line || [ -n "$line" ]; do
    if [[ $line == '    $ '* ]]; then
      command=${line#'    $ '}
      printf '%s\n' "$line" >>"$out"
      { eval "$command" 2>&1 || true; } | sed -E 's/ +\([0-9.]+[kMGT]? rows\/s\)//; s/^/    /; s/ +$//' >>"$out"
    elif [ -n "$command" ] && { [[ $line == '    '* ]] || [ -z "$line" ]; }; then
      # Inside the old output; a blank line ends it only where the next line is not indented, which the blank keeps.
      [ -n "$line" ] || { command=''; printf '\n' >>"$out"; }
    else
      command=''
      printf '%s\n' "$line" >>"$out"
    fi
  done <"$source_dir/$document"
  if [ -n "${NNC_BLESS:-}" ]; then
    cp "$out" "$source_dir/$document"
  elif ! diff -u "$source_dir/$document" "$out"; then
    echo "$document shows what the commands do not print; ./dev bless rewrites it"
    status=1
  fi
done
exit $status

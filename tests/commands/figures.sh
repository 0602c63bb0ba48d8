#!/usr/bin/env bash
# Writes the tables of docs/figures.md: deep networks on MNIST and Fashion-MNIST with three seeds each, and eight data sets
# beside scikit-learn, and fails where one is below its bound. Takes a quarter of an hour of one core; the latter alone, half a minute.
#   figures.sh NNC SOURCE_DIR DATA TEST_DRIVER [deep|sets]
set -euo pipefail
nnc=$(realpath "$1") source_dir=$(realpath "$2") data=$(realpath "$3") test_driver=$(realpath "$4") which=${5:-both}
document=$source_dir/docs/figures.md
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Puts lines in place of those of the table that stands behind the mark `<!-- table NAME -->`, but for its two of the head.
put_table() {
  awk -v mark="<!-- table $1 -->" -v rows="$2" '
    index($0, mark) { inside = 1; line = 0 }
    inside && /^\|/ { if (++line > 2) next; print; if (line == 2) { while ((getline row < rows) > 0) print row } next }
    inside && line > 0 && !/^\|/ { inside = 0 }
    { print }' "$document" >"$scratch/document"
  cp "$scratch/document" "$document"
}

# The accuracy on the rows for testing, in percent, of the seeds 1, 2 and 3, and the least that their median may be.
deep() {
  local name=$1 network=$2 epochs=$3 folder=$4 program=$5 bound=$6 seed median figures=()
  for seed in 1 2 3; do
    "$nnc" train "$source_dir/$program" --data "$data/$folder" --seed $seed --threads 1 --out "$scratch/$folder-$seed" >/dev/null 2>&1
    figures+=("$("$nnc" eval "$scratch/$folder-$seed" --split test --json --threads 1 |
      sed 's/.*"acc": *\([0-9.e-]*\).*/\1/' | awk '{ printf "%.2f", 100 * $1 }')")
    printf '%s, seed %s: %s%%\n' "$name" $seed "${figures[-1]}" >&2
  done
  median=$(printf '%s\n' "${figures[@]}" | sort -n | sed -n 2p)
  printf '%s|%s|%s\n' "$name" "$median" "$bound" >>"$scratch/bounds"
  printf '| %s | %s | %s | %s%% (%s, %s, %s) | at least %s%% | `nnc train %s --data DIR --seed N` |\n' "$name" "$network" \
    "$epochs" "$median" "${figures[@]}" "$bound" "$program"
}

if [ "$which" != sets ]; then
  {
    deep MNIST '784-256, two residual blocks, batch normalisation, dropout, cosine with warmup' 20 mnist examples/mnist/deep.nn 98.3
    deep Fashion-MNIST 'the same with less dropout' 10 fashion-mnist examples/fashion/fashion.nn 89.0
  } >"$scratch/deep"
  put_table deep "$scratch/deep"
  "$source_dir/tests/commands/bounds.sh" <"$scratch/bounds"
fi
[ "$which" != deep ] || exit 0

# NAME MEDIAN REFERENCE CHANCE, one set a line, from the test that holds them to scikit-learn's.
NNC_SHOW=1 NNC_SHARED=$(dirname "$data") "$test_driver" 'on eight real data sets*' >"$scratch/shown" ||
  { cat "$scratch/shown"; exit 1; }
reference() { # NAME KEY of tests/reference/sklearn.json
  tr -d '\n' <"$source_dir/tests/reference/sklearn.json" | grep -o "{[^{}]*\"name\": *\"$1\"[^{}]*}" |
    sed "s/.*\"$2\": *\"\{0,1\}\([^,\"} ]*\).*/\1/"
}
sed -n 's/^\([a-z ]*\) \([-0-9.]*\) [-0-9.]* [-0-9.]*$/\1|\2/p' "$scratch/shown" |
  while IFS='|' read -r name median; do
    figure=accuracy
    [ "$(reference "$name" kind)" = classes ] || figure='R²'
    printf '| %s | %s | %s, %s epochs | %.4f ± %.4f | %.4f |\n' "$name" "$figure" "$(reference "$name" hidden)" \
      "$(reference "$name" epochs)" "$(reference "$name" median)" "$(reference "$name" deviation)" "$median"
  done >"$scratch/sets"
[ "$(wc -l <"$scratch/sets")" -eq 8 ] || { cat "$scratch/shown"; exit 1; }
put_table sets "$scratch/sets"

#!/usr/bin/env bash
# A document's commands as a newcomer types them: one after the other in an empty folder, with the nnc on the PATH. Prints what
# the screen shows. Ends with status 1 where that is not what the document shows (but for speeds).
#   tour.sh DOCUMENT > TRANSCRIPT
set -euo pipefail
document=$(realpath "$1")
export NO_COLOR=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/empty"
cd "$scratch/empty"
commands=0 showing='' started=$SECONDS
shown=$scratch/shown said=$scratch/said
while IFS= read -r line || [ -n "$line" ]; do
  if [[ $line == '    $ '* ]]; then
    commands=$((commands + 1)) showing=yes
    printf '$ %s\n' "${line#'    $ '}" | tee -a "$shown" "$said"
    { eval "${line#'    $ '}" 2>&1 || true; } | tee -a "$said"
    echo
  elif [[ $showing && $line == '    '* ]]; then
    printf '%s\n' "${line#'    '}" >>"$shown"
  elif [ -n "$line" ]; then
    showing=''
  fi
done <"$document"
printf '%s commands, %s s\n' $commands $((SECONDS - started))
for side in shown said; do sed -E 's/ +\([0-9.]+[kMGT]? rows\/s\)//; s/ +$//; /^$/d' "$scratch/$side" >"$scratch/$side.plain"; done
diff -u "$scratch/shown.plain" "$scratch/said.plain" >&2 || { echo "$1 shows what the commands do not print" >&2; exit 1; }

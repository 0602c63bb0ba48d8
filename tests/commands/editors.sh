#!/usr/bin/env bash
# The syntax files of editors/ are those that editors/syntax.sh makes of the compiler's own tables now.
#   editors.sh SOURCE_DIR
set -euo pipefail
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$1/editors/syntax.sh" "$made"
diff -r -x syntax.sh "$1/editors" "$made" || { echo "editors/ is not what editors/syntax.sh makes: run it"; exit 1; }
for word in let carry model optimizer batch_size Dense softmax standardize exp true; do
  grep -qw "$word" "$made/vim/syntax/nn.vim" || { echo "vim does not know $word"; exit 1; }
  grep -qw "$word" "$made/vscode/syntaxes/nn.tmLanguage.json" || { echo "the grammar does not know $word"; exit 1; }
done

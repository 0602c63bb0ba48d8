#!/usr/bin/env bash
# The syntax files of editors, made from what the compiler itself reads by: the lexer's table of reserved words, the parser's
# lists of words that begin declarations and lines, the table of train settings, and the names that the library declares.
#   editors/syntax.sh [FOLDER]    writes them below FOLDER (here, unless given); the test `editors` compares
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source=$(dirname "$here")
to=${1:-$here}
mkdir -p "$to/vim/syntax" "$to/vim/ftdetect" "$to/vscode/syntaxes"

# All quoted words of a piece of a file, from a line that matches to the end of the statement.
words() { sed -n "/$2/,/;/p" "$source/$1" | grep -o '"[a-z_0-9]*"' | tr -d '"' | sort -u | grep . || true; }
# What the library declares by a word.
declared() { sed -n "s/^$1 \([A-Za-z_0-9]*\)(.*/\1/p" "$source"/frontend/std/*.nn | sort -u; }
line() { tr '\n' ' ' | sed 's/ *$//'; }
either() { paste -sd '|' -; }

reserved=$(words frontend/lexer.cpp 'constexpr Spelling reserved\[\]')
constants=$(grep -x 'true\|false' <<<"$reserved")
keywords=$(grep -vx 'true\|false' <<<"$reserved")
declarations=$(words frontend/parser.cpp 'words{"import"')
checks=$(words frontend/parser.cpp 'words{"let", "set"' | grep -vx let)
settings=$( (words frontend/train_settings.cpp 'constexpr KeyName keys\[\]'; words frontend/elaborate_data.cpp 'words{"train", "valid"') |
  grep -vxF "$declarations" | sort -u)
types=$(printf '%s\n' bool f32 f64 float i32 int string)
layers=$(declared layer)
built_in=$(sed -n '/^ *{"[a-z_0-9]*", /s/^ *{"\([a-z_0-9]*\)".*/\1/p' "$source/frontend/primitives.cpp")
data=$(sed -n 's/^ *host("\([a-z_0-9]*\)".*/\1/p' "$source/frontend/elaborate_data.cpp")
functions=$( (declared fn; declared optimizer; echo "$built_in"; echo "$data") | grep -vxF "$(echo "$types"; echo "$settings")" | sort -u)
for list in "$reserved" "$built_in" "$data" "$declarations" "$checks" "$settings" "$layers" "$functions"; do
  [ -n "$list" ] || { echo "a table of words was not found in the compiler's source" >&2; exit 1; }
done

cat >"$to/vim/ftdetect/nn.vim" <<'VIM'
autocmd BufRead,BufNewFile *.nn setfiletype nn
VIM

cat >"$to/vim/syntax/nn.vim" <<VIM
" Syntax of nnc's .nn files. Made by editors/syntax.sh; do not edit.
if exists("b:current_syntax")
  finish
endif
syntax keyword nnKeyword $(line <<<"$keywords") $(line <<<"$checks")
syntax keyword nnDeclaration $(line <<<"$declarations") metric output as on
syntax keyword nnConstant $(line <<<"$constants")
syntax keyword nnType $(line <<<"$types")
syntax keyword nnSetting $(line <<<"$settings")
syntax keyword nnLayer $(line <<<"$layers")
syntax keyword nnFunction $(line <<<"$functions")
syntax match nnNumber "\<\d[0-9_]*\(\.\d\+\)\?\([eE][-+]\?\d\+\)\?\>"
syntax match nnOperator "|>\|->\|//\|[-+*/@^=<>!]"
syntax region nnString start=+"+ skip=+\\\\.+ end=+"+ oneline
syntax match nnComment "#.*$"
syntax match nnDocument "^\s*##.*$"
highlight default link nnKeyword Keyword
highlight default link nnDeclaration Structure
highlight default link nnConstant Boolean
highlight default link nnType Type
highlight default link nnSetting Identifier
highlight default link nnLayer Special
highlight default link nnFunction Function
highlight default link nnNumber Number
highlight default link nnOperator Operator
highlight default link nnString String
highlight default link nnComment Comment
highlight default link nnDocument SpecialComment
let b:current_syntax = "nn"
VIM

cat >"$to/vscode/syntaxes/nn.tmLanguage.json" <<JSON
{
  "\$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
  "name": "nn",
  "scopeName": "source.nn",
  "patterns": [
    {"name": "comment.line.documentation.nn", "match": "^\\\\s*##.*$"},
    {"name": "comment.line.number-sign.nn", "match": "#.*$"},
    {"name": "string.quoted.double.nn", "begin": "\"", "end": "\"|$", "patterns": [{"name": "constant.character.escape.nn", "match": "\\\\\\\\."}]},
    {"name": "keyword.control.nn", "match": "\\\\b($( (echo "$keywords"; echo "$checks") | either))\\\\b"},
    {"name": "storage.type.nn", "match": "\\\\b($( (echo "$declarations"; printf '%s\n' metric output as on) | either))\\\\b"},
    {"name": "constant.language.nn", "match": "\\\\b($(either <<<"$constants"))\\\\b"},
    {"name": "support.type.nn", "match": "\\\\b($(either <<<"$types"))\\\\b"},
    {"name": "support.class.nn", "match": "\\\\b($(either <<<"$layers"))\\\\b"},
    {"name": "support.function.nn", "match": "\\\\b($(either <<<"$functions"))\\\\b(?=\\\\s*\\\\()"},
    {"name": "variable.parameter.nn", "match": "\\\\b($(either <<<"$settings"))\\\\b(?=\\\\s*=)"},
    {"name": "constant.numeric.nn", "match": "\\\\b\\\\d[0-9_]*(\\\\.\\\\d+)?([eE][-+]?\\\\d+)?\\\\b"},
    {"name": "keyword.operator.nn", "match": "\\\\|>|->|//|[-+*/@^=<>!]"}
  ]
}
JSON

cat >"$to/vscode/package.json" <<'JSON'
{
  "name": "nnc",
  "displayName": "nnc",
  "description": "Syntax of .nn files",
  "version": "0.1.0",
  "engines": {"vscode": "^1.60.0"},
  "categories": ["Programming Languages"],
  "contributes": {
    "languages": [{"id": "nn", "extensions": [".nn"], "configuration": "./language-configuration.json"}],
    "grammars": [{"language": "nn", "scopeName": "source.nn", "path": "./syntaxes/nn.tmLanguage.json"}]
  }
}
JSON

cat >"$to/vscode/language-configuration.json" <<'JSON'
{
  "comments": {"lineComment": "#"},
  "brackets": [["{", "}"], ["[", "]"], ["(", ")"]],
  "autoClosingPairs": [["{", "}"], ["[", "]"], ["(", ")"], ["\"", "\""]]
}
JSON

#!/bin/sh
# format.sh ROOT: every C file reads as .clang-format says.
set -eu
. "$(dirname "$0")/common.sh"
cd "$1"
need clang-format
sources | xargs clang-format --dry-run --Werror -style=file

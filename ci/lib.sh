# What each script of this folder begins with: it stops at the first error, in the project's folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Says that something was not checked, where nobody overlooks it.
not_run() { printf '\n!!!! NOT RUN: %s !!!!\n' "$*"; }

# Succeeds if a toolchain is installed; `.ci/run` installs none but what ci/msrv names.
has_toolchain() { rustup run "$1" rustc --version >/dev/null 2>&1; }

# Release builds of what is not measured: quicker to build, as quick to run.
quick_builds() { export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16; }

# The host's triple: the sanitizers need it named.
host() { rustc -vV | sed -n 's/^host: //p'; }

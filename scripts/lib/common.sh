# shellcheck shell=bash
# What scripts/setup, scripts/run and scripts/test have in common. Sourced, never run.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export checkout
export lib="$checkout/scripts/lib"
export cache="${XDG_CACHE_HOME:-$HOME/.cache}/blockflow"
export tools="$cache/tools"

say() { printf '%s\n' "$*" >&2; }

# Ends the script with one sentence.
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Finds cargo where rustup puts it, also in shells that do not read its profile.
find_cargo() {
    have cargo || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    have cargo || fail "cargo is missing: install Rust from https://rustup.rs, then run this again."
}

# Keeps a second setup waiting while this one writes to the cache; what a killed one left half-done is removed.
lock_cache() {
    [[ -z ${lock:-} ]] || return 0
    mkdir -p "$cache"
    exec {lock}>"$cache/lock"
    if ! flock --nonblock "$lock"; then
        say "waiting for another setup to finish"
        flock "$lock"
    fi
    rm -rf "$cache"/tmp.*
    trap 'rm -rf "$cache"/tmp.*' EXIT
}

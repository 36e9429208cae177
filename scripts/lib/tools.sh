# shellcheck shell=bash disable=SC2154 # the variables of common.sh and scripts/setup
# What scripts/test needs beside the build: cargo's helpers and a Python environment. Sourced by scripts/setup.

test_tools() {
    local part
    for part in fmt clippy; do
        cargo "$part" --version >/dev/null 2>&1 ||
            fail "cargo $part is missing: run 'rustup component add rustfmt clippy', then run this again."
    done
    cargo_tool cargo-nextest 0.9.143 --no-default-features --features default-no-update
    cargo_tool cargo-deny 0.20.2
    cargo_tool cargo-machete 0.9.2
    test_venv
}

# cargo_tool NAME VERSION [OPTION...]: takes the one on PATH, else builds that version into the cache.
# Built for a short build, not for speed; an interrupted build goes on where it stopped.
cargo_tool() {
    local name=$1 version=$2
    shift 2
    have "$name" && return
    if [[ ! -x $tools/$name-$version/bin/$name ]]; then
        lock_cache
        say "building $name $version (once; this takes a few minutes)"
        CARGO_TARGET_DIR="$tools/build" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=64 CARGO_PROFILE_RELEASE_DEBUG=false \
            cargo install --locked --version "$version" --root "$tools/$name-$version" "$@" "$name" >&2 ||
            fail "$name $version could not be built (cargo's message is above): check the network, or put $name on PATH, then run this again."
        rm -rf "$tools/build"
    fi
    mkdir -p "$tools/bin"
    ln -sfn "../$name-$version/bin/$name" "$tools/bin/$name"
}

# The Python environment of the tests, linked as .venv-test; a changed list of requirements makes a new one.
test_venv() {
    local requirements="$lib/test-requirements.txt" version key venv
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "the tests need Python 3.11 or newer and python3 is $version: put a newer python3 first on PATH, then run this again."
    key=$(sha256sum <"$requirements" | cut -c1-12)
    venv="$cache/venv-test-python$version-$key"
    if [[ ! -e $venv/complete || ! -x $venv/bin/python ]]; then
        lock_cache
        say "creating the Python environment of the tests"
        create_venv "$venv"
        "$venv/bin/python" -m pip install --no-cache-dir --disable-pip-version-check --progress-bar on \
            --only-binary=:all: --no-deps --requirement "$requirements" >&2 ||
            fail "pip could not install what the tests need (its message is above): check the network and pip's index settings, then run this again."
        touch "$venv/complete"
    fi
    ln -sfn "$venv" "$checkout/.venv-test"
}

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

# The Python environment of the tests.
test_venv() {
    python_venv test "the tests" "$lib/test-requirements.txt"
    # Where .cargo/config.toml says that tests find ONNX Runtime.
    (cd "$checkout/.venv-test/lib" &&
        ln -sf python*/site-packages/onnxruntime/capi/libonnxruntime.so.* libonnxruntime.so)
}

# The one that scripts/make-zoo runs in. PyTorch's Python half loads its CUDA half, and so those libraries, on any machine.
zoo_venv() {
    python_venv zoo "the model zoo" "$lib/libtorch-cuda-$arch.txt" "$lib/zoo-requirements.txt"
}

# python_venv NAME WHAT LIST...: a Python environment, linked as .venv-NAME; changed lists of requirements make a new one.
python_venv() {
    local name=$1 what=$2 version key venv list
    shift 2
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "for $what Python 3.11 or newer is needed, and python3 is $version: put a newer python3 first on PATH, then run this again."
    key=$(cat "$@" | sha256sum | cut -c1-12)
    venv="$cache/venv-$name-python$version-$key"
    if [[ ! -e $venv/complete || ! -x $venv/bin/python ]]; then
        lock_cache
        say "creating the Python environment of $what"
        create_venv "$venv"
        for list in "$@"; do
            "$venv/bin/python" -m pip install --no-cache-dir --disable-pip-version-check --progress-bar on \
                --only-binary=:all: --no-deps --requirement "$list" >&2 ||
                fail "pip could not install the packages for $what (its message is above): check the network and pip's index settings, then run this again."
        done
        touch "$venv/complete"
    fi
    ln -sfn "$venv" "$checkout/.venv-$name"
}

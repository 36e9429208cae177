# shellcheck shell=bash disable=SC2154 # the variables of common.sh and scripts/setup
# System packages: what is missing, and how it is brought. Sourced by scripts/setup.

# Prints the Debian package names of what is missing, one per line.
missing_packages() {
    have python3 || echo python3
    have "${CXX:-c++}" || echo g++
    if have pkg-config && pkg-config --exists libzmq; then
        return
    fi
    have pkg-config || echo pkg-config
    echo libzmq3-dev
}

install_packages() {
    local names="$*" as_root=()
    have apt-get ||
        fail "system packages are missing: install what Debian calls '$names' with this system's package manager, then run this again."
    if [[ $(id -u) != 0 ]]; then
        if ! sudo -n true 2>/dev/null; then
            fail "system packages are missing and only root can install them: run 'sudo apt-get install -y $names', then run this again."
        fi
        as_root=(sudo -n)
    fi
    say "installing system packages: $names"
    {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
    } >&2 || fail "apt-get could not install '$names' (its message is above): make 'apt-get install $names' work, then run this again."
}

system_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    if ((${#missing[@]})); then
        install_packages "${missing[@]}"
        mapfile -t missing < <(missing_packages)
        ((${#missing[@]} == 0)) ||
            fail "'${missing[*]}' is installed but not found: check PATH, CXX and PKG_CONFIG_PATH, then run this again."
    fi
    python3 -c 'import ctypes, sys; sys.exit(not ctypes.CDLL("libzmq.so.5").zmq_has(b"curve"))' 2>/dev/null ||
        fail "this system's libzmq is built without CURVE: install the distribution's package ('sudo apt-get install -y libzmq3-dev') in its place, then run this again."
}

# Creates a Python virtual environment, with Debian's extra package for it where that is missing.
create_venv() {
    rm -rf "$1"
    python3 -m venv "$1" >/dev/null 2>&1 && return
    install_packages python3-venv
    rm -rf "$1"
    python3 -m venv "$1" >&2 ||
        fail "python3 cannot create a virtual environment: run 'sudo apt-get install -y python3-venv', then run this again."
}

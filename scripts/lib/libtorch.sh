# shellcheck shell=bash disable=SC2154 # the variables of common.sh and scripts/setup
# libtorch out of the torch wheel, unpacked once per user and linked as .libtorch. Sourced by scripts/setup.
#
#   cpu:  <cache>/libtorch-<version>-cpu-<arch>/{include,lib,cuda}: just what a CPU program loads, and in cuda/include the
#         headers that CUDA graphs are built with, so that the same program has them where there is a device
#   cuda: <cache>/libtorch-<version>-cuda-<arch>/{torch,nvidia}: everything, laid out as the libraries' run paths expect

torch_version=2.11.0

# The directory that .libtorch points to for a form.
libtorch_home() {
    local home="$cache/libtorch-$torch_version-$1-$arch"
    [[ $1 == cpu ]] || home+=/torch
    echo "$home"
}

# The form that the checkout uses now; fails where there is none that is complete.
libtorch_linked() {
    local form
    for form in cpu cuda; do
        if [[ -e $checkout/.libtorch/build-version &&
            $(readlink "$checkout/.libtorch") == "$(libtorch_home "$form")" ]]; then
            echo $form
            return
        fi
    done
    return 1
}

# libtorch FORM: makes .libtorch point to that form, and brings it first where the cache lacks it.
libtorch() {
    local form=$1 home
    home=$(libtorch_home "$form")
    [[ -L $checkout/.libtorch || ! -e $checkout/.libtorch ]] ||
        fail "'.libtorch' is in the way: move it, then run this again."
    if [[ ! -e $home/build-version ]]; then
        lock_cache
        [[ -e $home/build-version ]] || libtorch_unpack "$form"
    fi
    ln -sfn "$home" "$checkout/.libtorch"
    say "libtorch $torch_version ($form) is linked as .libtorch"
}

libtorch_unpack() {
    local form=$1 lists=("$lib/libtorch-$arch.txt") wanted stage target
    local downloads="$cache/downloads-$arch"
    if [[ $form == cuda ]]; then
        lists+=("$lib/libtorch-cuda-$arch.txt")
        wanted=('torch/lib/*' 'torch/include/*' 'nvidia/*/include/*' 'nvidia/*/lib/*.so*')
    else
        wanted=('torch/include/*' 'torch/lib/libtorch_cpu.so' 'torch/lib/libc10.so' 'torch/lib/libgomp*'
            'torch/lib/libarm_compute*' 'torch/lib/libgfortran*' 'torch/lib/libnvpl*' # on aarch64 only
            'nvidia/*/lib/libcudart.so.*' 'nvidia/*/lib/libcupti.so.*')
    fi
    download_wheels "$downloads" "${lists[@]}"

    say "unpacking libtorch into $cache"
    stage=$(mktemp -d "$cache/tmp.XXXXXX")
    chmod 755 "$stage"
    python3 "$lib/unpack.py" "$stage" "$downloads" "${wanted[@]}" ||
        fail "the downloaded wheels could not be unpacked (the message is above): free some space in $cache, then run this again."
    if [[ $form == cpu ]]; then
        mv "$stage"/nvidia/*/lib/* "$stage/torch/lib/"
        ln -s libtorch_cpu.so "$stage/torch/lib/libtorch.so"
    else
        ln -s ../nvidia/cu13 "$stage/torch/cuda"
    fi
    echo "$torch_version" >"$stage/torch/build-version"
    target="$cache/libtorch-$torch_version-$form-$arch"
    rm -rf "$target"
    if [[ $form == cpu ]]; then
        mv -T "$stage/torch" "$target"
    else
        mv -T "$stage" "$target"
    fi
    rm -rf "$stage" "$downloads"
}

# Brings the headers of CUDA to a libtorch for the CPU, which had them not before; the other one has more than these.
cuda_headers() {
    local home downloads="$cache/downloads-headers-$arch" stage
    home=$(readlink "$checkout/.libtorch")
    [[ -e $home/cuda/include/cuda_runtime.h ]] && return
    lock_cache
    [[ -e $home/cuda/include/cuda_runtime.h ]] && return
    stage=$(mktemp -d "$cache/tmp.XXXXXX")
    chmod 755 "$stage"
    grep -hE '^nvidia-cuda-(runtime|crt)==' "$lib/libtorch-$arch.txt" "$lib/libtorch-cuda-$arch.txt" >"$stage/list.txt"
    download_wheels "$downloads" "$stage/list.txt"
    python3 "$lib/unpack.py" "$stage" "$downloads" 'nvidia/*/include/*' ||
        fail "the downloaded wheels could not be unpacked (the message is above): free some space in $cache, then run this again."
    rm -rf "$home/cuda"
    mv -T "$stage"/nvidia/cu* "$home/cuda"
    touch "$home/build-version" # which builds watch
    rm -rf "$stage" "$downloads"
}

# download_wheels DIR LIST...: one directory per wheel, which appears only when its checksum has been verified.
download_wheels() {
    local downloads=$1 requirement name stage
    shift
    find_pip
    while read -r requirement; do
        name=${requirement%% *}
        [[ -d $downloads/$name ]] && continue
        say "downloading $name"
        stage=$(mktemp -d "$cache/tmp.XXXXXX")
        echo "$requirement" >"$stage/requirement.txt"
        "${pip[@]}" download --no-cache-dir --disable-pip-version-check --progress-bar on \
            --require-hashes --no-deps --only-binary=:all: \
            --implementation cp --python-version 3.10 --abi cp310 --abi none "${platforms[@]}" \
            --dest "$stage/wheel" --requirement "$stage/requirement.txt" >&2 ||
            fail "pip could not download $name (its message is above): check the network and pip's index settings, then run this again."
        mkdir -p "$downloads"
        mv -T "$stage/wheel" "$downloads/$name"
        rm -rf "$stage"
    done < <(grep -hv '^#' "$@")
}

# Sets `pip` to a command that works: the host's, else one in a virtual environment of ours.
find_pip() {
    local n
    platforms=(--platform "manylinux2014_$arch")
    for n in {17..28}; do platforms+=(--platform "manylinux_2_${n}_$arch"); done
    pip=(python3 -m pip)
    "${pip[@]}" --version >/dev/null 2>&1 && return
    [[ -x $cache/pip/bin/pip ]] || create_venv "$cache/pip"
    pip=("$cache/pip/bin/python" -m pip)
}

#!/bin/sh
# run.sh [STAGE...]: everything there is to test, from a fresh clone on a machine that has only a shell and apt.
# Stages, all of them by default, in this order:
#   dev    build with warnings as errors; lint, unit, simulated and end-to-end tests, the seeded simulations
#   asan   the same tests, without the longest, under the address and undefined-behaviour sanitizers
#   tsan   whatever has threads, under the thread sanitizer
#   fuzz   every fuzzer for FUZZ_SECONDS (default 30)
# Also from the environment: SIM_SEEDS (default 200) and SIM_MINUTES (default 2, simulated) of the simulations, and
# JOBS (default: the processors). The last line is "N passed, N failed"; the exit status says whether any failed.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$(pwd)
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
logs=$root/build/logs
passed=0
failed=0
export LC_ALL=C

packages='gcc libc6-dev binutils cmake ninja-build pkg-config clang clang-format clang-tidy llvm
    libsodium-dev libuv1-dev liblmdb-dev libisal-dev libcbor-dev libbsd-dev uthash-dev libcmocka-dev jq iproute2'

say() {
    printf '%s\n' "$*"
}

fatal() {
    say "run.sh: $*" >&2
    say "$passed passed, $((failed + 1)) failed"
    exit 1
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# need_root WHY: everything that needs root asks here first, and says what for.
need_root() {
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
        fatal "$1, and there is neither root nor sudo to mend it"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

install_missing() {
    missing=
    for package; do
        installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    need_root "these packages are missing:$missing"
    say "== installing$missing"
    # The package lists of a bare system are empty or old; one that can install is not made to update.
    # shellcheck disable=SC2086 # a list of words
    { apt_install $missing || { as_root apt-get update -q && apt_install $missing; }; } >"$logs/apt.log" 2>&1 ||
        { tail -n 20 "$logs/apt.log"; fatal "apt-get could not install:$missing"; }
}

# Where clang comes without its sanitizers' runtime, that is a package of its own, named after the version.
install_clang_runtime() {
    echo 'int LLVMFuzzerTestOneInput(const char *d, long n); int LLVMFuzzerTestOneInput(const char *d, long n) {
        return d && n < 0; }' >"$logs/probe.c"
    if ! clang -fsanitize=address,undefined,fuzzer -o "$logs/probe" "$logs/probe.c" 2>/dev/null; then
        install_missing "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
    fi
}

install_everything() {
    if ! command -v apt-get >/dev/null 2>&1; then
        say "== no apt-get here: the packages are taken to be installed"
        return 0
    fi
    # shellcheck disable=SC2086 # a list of words
    install_missing $packages
    install_clang_runtime
}

# A fresh chroot lacks /proc, which the sanitizers read, and the name localhost. What is mounted is taken away again.
furnish_chroot() {
    if [ ! -e /etc/hosts ]; then
        need_root "/etc/hosts is missing (the tests need the name localhost)"
        say "== writing /etc/hosts"
        printf '127.0.0.1 localhost\n::1 localhost\n' | as_root tee /etc/hosts >/dev/null ||
            fatal "cannot write /etc/hosts"
    fi
    if [ ! -r /proc/self/maps ]; then
        need_root "/proc is not mounted"
        say "== mounting /proc"
        as_root mount -t proc proc /proc || fatal "the sanitizers need /proc: mount -t proc proc /proc"
        trap 'as_root umount /proc' EXIT
        trap 'exit 129' HUP
        trap 'exit 130' INT
        trap 'exit 143' TERM
    fi
}

seconds() {
    date +%s
}

count() { # PASSED FAILED
    passed=$((passed + $1))
    failed=$((failed + $2))
}

# build STAGE TARGET: 0 when it could be built. A tree that was copied or moved starts from nothing.
build() {
    home=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "build/$1/CMakeCache.txt" 2>/dev/null)
    [ "$home" = "$root" ] || rm -rf "build/$1"
    began=$(seconds)
    log=$logs/$1-build.log
    if cmake --preset "$1" >"$logs/$1-configure.log" 2>&1; then
        cmake --build "build/$1" --target "$2" -j "$jobs" >"$log" 2>&1
    else
        mv "$logs/$1-configure.log" "$log"
        false
    fi
    if [ $? -eq 0 ]; then
        count 1 0
        say "== $1: built in $(($(seconds) - began)) s"
    else
        count 0 1
        say "== $1: BUILD FAILED"
        grep -vE '^\[[0-9]+/[0-9]+\] |^-- ' "$log" | tail -n 60
        return 1
    fi
}

# The sanitizers of older compilers do not find their shadow memory under full address randomisation.
steady() {
    if setarch "$(uname -m)" -R true 2>/dev/null; then
        setarch "$(uname -m)" -R "$@"
    else
        "$@"
    fi
}

# run_ctest STAGE [CTEST-ARGUMENTS]
run_ctest() {
    stage=$1
    log=$logs/$stage-tests.log
    shift
    began=$(seconds)
    steady ctest --test-dir "build/$stage" -j "$jobs" --output-on-failure --no-tests=ignore --no-label-summary "$@" >"$log" 2>&1
    status=$?
    # "97% tests passed, 1 tests failed out of 34"
    all=$(sed -n 's/.* tests failed out of \([0-9]*\)$/\1/p' "$log")
    bad=$(sed -n 's/.*, \([0-9]*\) tests failed out of .*/\1/p' "$log")
    all=${all:-0}
    bad=${bad:-0}
    [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1 all=$((all + 1)) # ctest itself failed
    count $((all - bad)) "$bad"
    say "== $stage: $((all - bad)) passed, $bad failed in $(($(seconds) - began)) s"
    grep -E '\*\*\*(Skipped|Not Run)' "$log"
    [ "$bad" -eq 0 ] || grep -vE '^ *[0-9]+/[0-9]+ Test .* Passed |^ *Start +[0-9]+:|^Internal ctest|^Test project|^Errors while' "$log"
}

stage_dev() {
    build dev all && run_ctest dev
}

# Under a sanitizer a few seeds do: what they find depends on the code they reach, not on their number.
stage_asan() {
    build asan all && SIM_SEEDS=8 run_ctest asan -LE slow
}

stage_tsan() {
    build tsan threaded && run_ctest tsan -L 'threads|e2e' -LE slow
}

stage_fuzz() {
    build fuzz fuzzers || return
    began=$(seconds)
    names=$(for source in tests/fuzz/fuzz_*.c; do basename "$source" .c; done)
    rm -rf build/fuzz/results && mkdir -p build/fuzz/results
    # shellcheck disable=SC2016 # expanded by the inner shell
    printf '%s\n' $names | steady xargs -P "$jobs" -I NAME sh -c '
        sh tests/fuzz/run.sh "$PWD/build/fuzz" NAME >"build/fuzz/results/NAME.log" 2>&1 &&
            : >"build/fuzz/results/NAME.passed"'
    for name in $names; do
        if [ -e "build/fuzz/results/$name.passed" ]; then
            count 1 0
            say "   $name: $(sed -n 's/^stat::number_of_executed_units: *\([0-9]*\)/\1 runs/p' "build/fuzz/results/$name.log")"
        else
            count 0 1
            say "   $name: FAILED"
            tail -n 60 "build/fuzz/results/$name.log"
        fi
    done
    say "== fuzz: took $(($(seconds) - began)) s"
}

main() {
    { mkdir -p "$logs" && [ -w "$logs" ]; } || fatal "cannot write to $logs"
    for stage; do
        case $stage in
        dev | asan | tsan | fuzz) ;;
        *) fatal "no stage is called $stage (dev, asan, tsan, fuzz)" ;;
        esac
    done
    install_everything
    furnish_chroot
    for stage; do
        "stage_$stage"
    done
    say "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}

[ $# -gt 0 ] || set -- dev asan tsan fuzz
main "$@"

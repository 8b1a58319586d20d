#!/bin/sh
# mutate.sh [options] BUILD: breaks one rule of the node at a time and shows that the simulator notices. Reads
# mutations.txt beside this script; writes below BUILD/mutants and nowhere else.
#
#   --only NAME,...   these mutations, not all; "none" for the tree as it is
#   --seeds N         bound: so many seeds of each of the runs below (40)
#   --limit N         bound: so many seconds for one mutation (240)
#   --jobs N          so many mutations at once (1)
#   --check           only see whether every mutation still applies
#   --list            the mutations and the rules they break
#
# BUILD is a tree of Ninja with shoal-simnet in it, as it is in the sources now. The one file that a mutation changes is
# compiled again, and linked in front of the libraries. Then every scenario is played, up to the first that fails, and
# seeds are run up to the first that fails, short runs before long ones. Of each mutation one line says
#
#   scenario  the first scenario that fails, or -
#   seeds     how many seeds it took, or > and how many have passed
#   by        who noticed at the last: "outside", a checker of the simulator; "inside", the node's own CHECKs; "death", a
#             crash; "hang", a run without end
#
# Exit status: how many mutations nobody noticed, at most 100; 120 when something else is wrong.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
list=$here/mutations.txt
only= seeds=40 limit=240 jobs=1 build= one= check=
tab=$(printf '\t')

trouble() {
    echo "mutate.sh: $*" >&2
    exit 120
}

while [ $# -gt 0 ]; do
    case $1 in
    --only) only=$2 && shift ;;
    --seeds) seeds=$2 && shift ;;
    --limit) limit=$2 && shift ;;
    --jobs) jobs=$2 && shift ;;
    --check) check=1 ;;
    --one) one=$2 && shift ;; # for this script itself: in a process of its own
    --list) exec awk '/^= / { name = substr($0, 3) } /^rule: / { printf "%-28s %s\n", name, substr($0, 7) }' "$list" ;;
    -*) trouble "what is $1?" ;;
    *) build=$1 ;;
    esac
    shift
done
[ -x "$build/shoal-simnet" ] || trouble "no shoal-simnet in '$build': cmake --preset dev && cmake --build --preset dev"
build=$(cd "$build" && pwd)
[ -f "$build/build.ninja" ] || trouble "'$build' is not a tree of Ninja"
export CCACHE_DISABLE=1 # what is compiled here is not compiled again

field() { # NAME FIELD
    awk -v name="= $1" -v field="$2: " '
        /^= / { found = $0 == name }
        found && index($0, field) == 1 { print substr($0, length(field) + 1); exit }' "$list"
}

# The file with each hunk of the mutation exchanged: whole lines, which must be there exactly once.
mutated() { # NAME FILE
    awk -v name="= $1" '
        function exchange(   at) {
            if (old == "") return
            at = index(text, "\n" old)
            if (at == 0 || index(substr(text, at + 1), "\n" old) != 0) { wrong = 1; exit 1 }
            text = substr(text, 1, at) new substr(text, at + length(old) + 1)
            hunks++
            old = new = ""
        }
        FNR == NR { text = text $0 "\n"; next }
        FNR == 1 { text = "\n" text }
        /^= / { if (found) exchange(); found = $0 == name }
        found && /^-/ { if (new != "" || added) exchange(); added = 0; old = old substr($0, 2) "\n" }
        found && /^\+/ { added = 1; new = new substr($0, 2) "\n" }
        END {
            if (!wrong && found) exchange()
            if (wrong || hunks == 0) exit 1
            printf "%s", substr(text, 2)
        }' "$root/$2" "$list"
}

# How a command of the build compiles or links, with another output.
compile() { # NAME FILE DIRECTORY
    object=$(ninja -C "$build" -t targets all | sed -n "s|^\(CMakeFiles/shoal_[a-z]*\.dir/$2\.o\): .*|\1|p")
    command=$(ninja -C "$build" -t commands "$object" 2>/dev/null | tail -n 1 |
        sed -e 's| -MD -MT [^ ]* -MF [^ ]*||' -e "s| -o .*| -w -o $3/mutant.o -c $3/${2##*/}|")
    (cd "$build" && eval "$command") || trouble "mutation $1 does not compile"
    command=$(ninja -C "$build" -t commands shoal-simnet | tail -n 1 | sed "s| -o shoal-simnet | -o $3/simnet $3/mutant.o |")
    (cd "$build" && eval "$command") || trouble "mutation $1 cannot be linked"
}

# A mutant is linked to what was built: of other sources it would be a chimera.
up_to_date() {
    newer=$(find "$root/crypto" "$root/dht" "$root/node" "$root/simnet" -name uv -prune -o -name '*.[ch]' \
        -newer "$build/shoal-simnet" -print | head -n 1)
    [ -z "$newer" ] || trouble "$newer is newer than shoal-simnet: build it first"
}

build_mutant() { # NAME DIRECTORY
    mkdir -p "$2"
    if [ "$1" = none ]; then
        cp "$build/shoal-simnet" "$2/simnet" || trouble "cannot copy shoal-simnet"
        return
    fi
    file=$(field "$1" file)
    [ -n "$file" ] || trouble "no mutation is named $1"
    mutated "$1" "$file" >"$2/${file##*/}" || trouble "mutation $1 no longer applies to $file"
    compile "$1" "$file" "$2"
}

# What the tree itself fails says nothing about a mutation.
sound() { # ARGUMENTS of shoal-simnet
    [ "${dir##*/}" = none ] || "$build/shoal-simnet" "$@" >"$dir/sound" 2>&1 ||
        trouble "the tree itself fails: shoal-simnet $*"
}

# Whether a run of the mutant passes; what is wrong otherwise goes to $dir/what, as "by<TAB>message".
passes() { # ARGUMENTS of shoal-simnet
    timeout 120 "$dir/simnet" "$@" >"$dir/output" 2>&1
    status=$?
    case $status in
    0) return 0 ;;
    124) printf 'hang\tno end within two minutes' >"$dir/what" ;;
    *)
        said=$(sed -n 's/.*check failed: //p' "$dir/output" | head -n 1)
        where=$(sed -n 's/^shoal: \([^ ]*\): check failed.*/\1/p' "$dir/output" | head -n 1)
        verdict=$(sed -n 's/.* result=FAIL(\(.*\)) hash=.*/\1/p' "$dir/output" | head -n 1)
        case ${where:-$verdict} in
        "the situation did not arise"*) return 0 ;; # that is no verdict
        */simnet/*) printf 'outside\t%s: %s' "${where##*/}" "$said" ;;
        '') printf 'death\texit status %s' "$status" ;;
        "$verdict") printf 'outside\t%s' "$verdict" ;;
        *) printf 'inside\t%s: %s' "${where##*/}" "$said" ;;
        esac >"$dir/what"
        ;;
    esac
    sound "$@"
    return 1
}

try_scenarios() {
    scenario=-
    for name in $("$dir/simnet" --list | cut -d' ' -f1); do
        if ! passes "$name"; then
            scenario=$name
            return
        fi
    done
}

# Short runs and long ones, of many groups and of one; whatever is rare in one kind of run is common in another.
try_seeds() {
    tried=0 found=
    for kind in "--seconds 40" "--seconds 150" "--seconds 60 --arcs 1 --nodes 4" "--minutes 8"; do
        seed=0
        while [ "$seed" -lt "$seeds" ]; do
            seed=$((seed + 1))
            [ "$(($(date +%s) - began))" -lt "$limit" ] || return
            tried=$((tried + 1))
            # shellcheck disable=SC2086
            if ! passes --seed "$seed" $kind; then
                found="--seed $seed $kind"
                return
            fi
        done
    done
}

judge() { # NAME
    dir=$build/mutants/$1
    rm -rf "$dir"
    up_to_date
    build_mutant "$1" "$dir"
    began=$(date +%s)
    : >"$dir/what"
    try_scenarios
    cp "$dir/what" "$dir/what.scenario"
    try_seeds
    took=$(($(date +%s) - began))
    what=$(cut -f2 "$dir/what")
    by=$(cut -f1 "$dir/what")
    count=$tried
    [ -n "$found" ] || count=">$tried"
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$scenario" "$count" "$took" "${by:--}" "$what" "$found" >"$dir/row"
    printf '%-26s %-22s %5s %4ss  %-7s %s\n' "$1" "$scenario" "$count" "$took" "${by:-nobody}" "$what"
    rm -f "$dir/mutant.o"
}

if [ -n "$one" ]; then
    judge "$one"
    exit 0
fi

all=$(sed -n 's/^= //p' "$list")
for name in $all; do
    file=$(field "$name" file)
    mutated "$name" "$file" >/dev/null || trouble "mutation $name no longer applies to $file"
done
if [ -n "$check" ]; then
    echo "$(printf '%s\n' "$all" | wc -l) mutations apply"
    exit 0
fi

if [ -n "$only" ]; then
    names=$(printf '%s\n' "$only" | tr ',' '\n')
else
    names="none
$all"
fi
printf '%-26s %-22s %5s %5s  %-7s %s\n' mutation scenario seeds time by "what was noticed"
printf '%s\n' "$names" | xargs -P "$jobs" -I NAME sh "$0" --seeds "$seeds" --limit "$limit" --one NAME "$build" ||
    trouble "some mutations could not be tried"

rows=
for name in $names; do
    rows="$rows $build/mutants/$name/row"
done
# shellcheck disable=SC2086
awk -F"$tab" '
    $1 == "none" { sound = $5 == "-"; tree = 1; next }
    { count++ }
    $5 == "-" { missed = missed " " $1; next }
    { by[$5]++ }
    $2 != "-" { scenarios++ }
    $3 !~ />/ { seeds++ }
    END {
        caught = by["outside"] + by["inside"] + by["death"] + by["hang"]
        printf "%d mutations, %d caught", count, caught
        printf " (%d by seeds, %d by scenarios; at the last by checkers of the simulator: %d, by the node itself: %d)\n",
            seeds, scenarios, by["outside"], caught - by["outside"]
        if (missed != "") print "nobody noticed:" missed
        if (tree && !sound) print "the tree itself fails: nothing of this means anything"
        exit tree && !sound ? 120 : count - caught > 100 ? 100 : count - caught
    }' $rows

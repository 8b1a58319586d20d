#!/bin/sh
# Every command as a user meets it: exit codes, names, listings, JSON, standard input and output, interruption.
. "$(dirname "$0")/lib.sh"

swarm 3 --arcs 64
random_file "$work/file" 100000
random_file "$work/other" 2000
random_file "$work/large" 20000000
: >"$work/empty"

# --- wrong usage ----------------------------------------------------------------------------------------------------

refused 2 "no command" "an unknown command" "$SHOAL" frobnicate
refused 2 "options come after the command" "an option before the command" "$SHOAL" -d "$work/1" status
refused 2 "too few" "put of nothing" "$SHOAL" put -d "$work/1"
refused 2 "unknown option" "an unknown option" "$SHOAL" ls -d "$work/1" --frobnicate
refused 2 "cannot be a name" "a name with a control character" put 1 "$work/file" "$(printf 'a\tb')"
refused 2 "cannot be a name" "a name that is not UTF-8" put 1 "$work/file" "$(printf 'a\377b')"
refused 2 "cannot be a name.*no capitals" "a bucket in capitals" put 1 "$work/file" Bucket/key
refused 2 "no version" "a version that is none" put 1 "$work/file" x --if-version 12
refused 2 "once" "both conditions" put 1 "$work/file" x --if-absent --if-version 00000000000000000000000000000000
refused 2 "NAME" "standard input without a name" "$SHOAL" put -d "$work/1" -
refused 2 "replicas" "no replicas" "$SHOAL" node -d "$work/x" --replicas 0
refused 2 "power of two" "seven arcs" "$SHOAL" node -d "$work/x" --arcs 7
[ ! -e "$work/x" ] || fail "wrong usage made a directory"

# --- names ----------------------------------------------------------------------------------------------------------

# stored_as NAME: the file is stored, found, listed and removed under it.
stored_as() {
    put 1 "$work/file" "$1" || fail "cannot store under: $1"
    must_be_same 2 "$1" "$work/file"
    [ "$("$SHOAL" ls -d "$work/3" --json "$1" | jq -r '.[0].name')" = "$1" ] || fail "not listed: $1"
    [ "$(stat_json 3 "$1" .name)" = "$1" ] || fail "stat calls it something else: $1"
    "$SHOAL" rm -d "$work/2" "$1" || fail "cannot remove: $1"
    run get 3 "$1" "$work/got"
    [ "$status" -eq 3 ] || fail "still there: $1"
}

long=$(printf '%01024d' 7)
stored_as "plain"
stored_as "with spaces and 'quotes' \"of\" both kinds"
stored_as "bucket.with-dots/a/path/of/many/parts"
stored_as "utf-8/smörgåsbord 日本語 🐚.txt"
stored_as "-"
stored_as "b/..//."
stored_as "$long"
stored_as "b/$(printf '%01022d' 7)é"
ok "names: spaces, quotes, UTF-8, dots, 1024 bytes"
refused 2 "too long" "a key of 1025 bytes" put 1 "$work/file" "${long}8"

# --- what is stored -------------------------------------------------------------------------------------------------

cd "$work" || exit 1
put 1 "$work/empty" empty && must_be_same 3 empty "$work/empty"
[ "$(stat_json 2 empty '.size == 0 and .inline and .chunks == 0')" = true ] || fail "stat of an empty file"
ok "an empty file"

expect 0 "the name defaults to the file's" "$SHOAL" put -d "$work/1" "$work/file"
must_be_same 2 file "$work/file"
mkdir "$work/out"
expect 0 "get into a directory" get 2 file "$work/out"
cmp "$work/file" "$work/out/file" || fail "the file in the directory is another"
(cd "$work/out" && rm file && "$SHOAL" get -d "$work/3" file) && cmp "$work/file" "$work/out/file" ||
    fail "get without a file name"
ok "get without a file name"

cat "$work/large" | "$SHOAL" put -d "$work/1" - piped/large || fail "put from a pipe"
"$SHOAL" get -d "$work/2" piped/large - | cmp - "$work/large" || fail "get to a pipe"
"$SHOAL" put -d "$work/1" - piped/file <"$work/file" || fail "put from standard input"
must_be_same 2 piped/file "$work/file"
echo -n | "$SHOAL" put -d "$work/1" - piped/empty || fail "put of an empty pipe"
must_be_same 2 piped/empty "$work/empty"
ok "standard input and output"
SHOAL_DATA=$work/2 "$SHOAL" get file - | cmp - "$work/file" || fail "SHOAL_DATA is not heeded"
ok "SHOAL_DATA names the node"

refused 3 "no such file" "get of a missing name" get 1 missing "$work/out/missing"
[ -z "$(find "$work/out" ! -type d ! -name file)" ] || fail "it left something behind: $(ls -A "$work/out")"
refused 3 "no such file" "stat of a missing name" "$SHOAL" stat -d "$work/1" missing
refused 3 "no such file" "rm of a missing name" "$SHOAL" rm -d "$work/1" missing
refused 1 "no such file" "put of a missing file" put 1 "$work/no-such-file" x
refused 1 "directory" "put of a directory" put 1 "$work/out" x
refused 1 "no such file" "get into a missing directory" get 1 file "$work/no/where"

# --- conditions -----------------------------------------------------------------------------------------------------

expect 0 "--if-absent when there is nothing" put 1 "$work/file" cond/a --if-absent
refused 4 "." "--if-absent when there is something" put 2 "$work/other" cond/a --if-absent
version=$(stat_json 3 cond/a .version)
expect 0 "--if-version with the stored one" put 3 "$work/other" cond/a --if-version "$version"
refused 4 "." "--if-version with an old one" put 1 "$work/file" cond/a --if-version "$version"
refused 4 "." "--if-version when there is nothing" put 1 "$work/file" cond/b --if-version "$version"
must_be_same 2 cond/a "$work/other"
[ "$(stat_json 3 cond/a .version)" != "$version" ] || fail "the version stayed the same"

# --- JSON -----------------------------------------------------------------------------------------------------------

keys() { # JSON on standard input has at least these keys, and there is one value
    jq -e --arg keys "$1" '($keys | split(" ")) - keys == []' >/dev/null || fail "JSON lacks one of: $1"
}
"$SHOAL" stat -d "$work/1" --json file | keys "name size version chunks inline arc leader replicas"
"$SHOAL" status -d "$work/1" --json | keys "swarm epoch replicas arcs members"
"$SHOAL" status -d "$work/1" --json | jq .arcs | keys "total healthy under_replicated leaderless"
"$SHOAL" status -d "$work/1" --json | jq '.members[2]' | keys "id addr zone state alive capacity used leaders"
[ "$(stat_json 1 file '.size == 100000 and .chunks == 1 and (.inline | not) and (.replicas | length) == 3')" = true ] ||
    fail "stat of a file of one chunk"
[ "$(stat_json 1 piped/large '.chunks == 20 and .chunk_replicas_min == 3')" = true ] || fail "stat of 20 chunks"
[ "$(stat_json 1 cond/a '.inline and .chunks == 0')" = true ] || fail "stat of an inline file"
[ "$(status_json 2 '[.members[].leaders] | add')" -eq 64 ] || fail "the members' leaders are not 64 in all"
put 1 "$work/file" 'json/a "quoted" \ name'
"$SHOAL" ls -d "$work/1" --json json/ | jq -e '.[0].name == "json/a \"quoted\" \\ name"' >/dev/null ||
    fail "a name with quotes in JSON"
[ "$("$SHOAL" ls -d "$work/1" --json nothing/)" = '[]' ] || fail "an empty listing is no empty array"
for command in "stat file" status ls "ls -l"; do
    # shellcheck disable=SC2086 # words
    [ -n "$("$SHOAL" ${command%% *} -d "$work/2" ${command#"${command%% *}"})" ] || fail "$command prints nothing"
done
ok "JSON of stat, status and ls has what the manual says"

# --- listings -------------------------------------------------------------------------------------------------------

seq -f 'many/%05.0f' 1 1100 >"$work/names"
: >"$work/in"
# Eight at a time, a hundred each.
xargs -P 8 -n 100 sh -c 'dir=$1 shift=$2
    shift 2
    for name; do "$SHOAL" put -d "$dir" "$shift" "$name" || exit 255; done' - "$work/1" "$work/other" \
    <"$work/names" || fail "cannot store many names"
ok "1100 files stored"
for n in 1 3; do
    "$SHOAL" ls -d "$work/$n" many/ | cmp - "$work/names" || fail "a long listing through node $n is not complete and in order"
done
"$SHOAL" ls -d "$work/1" many/005 | cmp - - <<END || fail "a listing with a prefix"
$(grep many/005 "$work/names")
END
[ "$("$SHOAL" ls -d "$work/2" --json many/ | jq 'length == 1100 and ([.[].size] | unique) == [2000]')" = true ] ||
    fail "a long listing in JSON"
[ "$("$SHOAL" ls -d "$work/2" -l many/ | awk '$1 == 2000' | wc -l)" -eq 1100 ] || fail "a long listing with details"
"$SHOAL" ls -d "$work/2" | grep -qx file || fail "the default bucket is not listed"
! "$SHOAL" ls -d "$work/2" | grep -q many || fail "another bucket is listed with the default one"
ok "listings: 1100 names in order, with prefix, details, as JSON"

xargs -n 300 "$SHOAL" rm -d "$work/2" <"$work/names" || fail "cannot remove many names"
[ -z "$("$SHOAL" ls -d "$work/1" many/)" ] || fail "not all are removed"
put 1 "$work/other" several/a && put 1 "$work/other" several/c
refused 3 "several/b" "rm goes on after one that is missing" "$SHOAL" rm -d "$work/3" several/a several/b several/c
[ -z "$("$SHOAL" ls -d "$work/1" several/)" ] || fail "rm of several left one"

# --- interruption ---------------------------------------------------------------------------------------------------

# A put whose input never ends, in the middle.
mkfifo "$work/fifo"
env --default-signal=INT "$SHOAL" put -d "$work/1" "$work/fifo" cut/short 2>"$work/put.err" &
interrupted=$!
exec 3>"$work/fifo"
cat "$work/large" >&3
kill -INT "$interrupted"
wait "$interrupted"
status=$?
exec 3>&-
[ "$status" -ne 0 ] || fail "an interrupted put says that it is done"
refused 3 "no such file" "an interrupted put stores nothing" get 2 cut/short -

# A get whose output has no reader, so that it stays in the middle; then one that is told to stop.
chunked=$work/out/whole
echo "what was here before" >"$chunked"
tries=0 caught=0
while [ "$caught" -lt 3 ] && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    case $((caught % 3)) in 0) signal=KILL ;; 1) signal=TERM ;; 2) signal=INT ;; esac
    env --default-signal=INT "$SHOAL" get -d "$work/3" piped/large "$chunked" 2>/dev/null &
    getting=$!
    until [ -n "$(find "$work/out" -name '.shoal-*' -size +0)" ] || gone "$getting"; do :; done
    kill -$signal "$getting" 2>/dev/null
    wait "$getting" 2>/dev/null && echo "what was here before" >"$chunked" && continue
    [ "$(cat "$chunked" | head -c 100)" = "what was here before" ] || fail "a get ended by SIG$signal left a part of the file"
    left=$(find "$work/out" -name '.shoal-*')
    [ -z "$left" ] || [ $signal = KILL ] || fail "a get ended by SIG$signal left $left"
    rm -f "$work"/out/.shoal-*
    caught=$((caught + 1))
done
[ "$caught" -eq 3 ] || fail "never caught a get in the middle, in $tries tries"
ok "a get that is killed leaves the file that was there as it was"
expect 0 "and the next one replaces it" get 3 piped/large "$chunked"
cmp "$work/large" "$chunked" || fail "it replaced it with something else"

# --- stopping -------------------------------------------------------------------------------------------------------

for n in 3 2 1; do
    stop_node "$n"
    [ "$status" -eq 0 ] || fail "node $n ends with status $status after SIGTERM"
    [ "$took" -le $((200 * patience)) ] || fail "node $n took ${took}0 ms to stop"
done
ok "SIGTERM stops a node within 2 s"
refused 5 "no node is running" "a command without a node" "$SHOAL" status -d "$work/1"
for n in 1 2 3; do
    launch $n
done
await 1 2 3
must_be_same 2 piped/large "$work/large"
ok "stopped and started again, everything is there"

#!/bin/sh
# Who may join: tickets that are wrong, forged, expired, used up or of another swarm are refused with a clear line.
. "$(dirname "$0")/lib.sh"

# try_join CODE PHRASE WHAT TICKET: in a fresh directory, and nobody new is in the swarm afterwards.
try_join() {
    rm -rf "$work/guest"
    before=$(members)
    refused "$1" "$2" "$3" timeout 60 "$SHOAL" node -d "$work/guest" --listen 127.0.0.1:0 --join "$4"
    ! grep -q '^ready:' "$work/stdout" || fail "$3: it says that it serves"
    [ "$(members)" = "$before" ] || fail "$3: it is a member now"
}

members() {
    status_json 1 '[.members[].id] | join(" ")'
}

invite() { # [OPTION...]
    "$SHOAL" invite -d "$work/1" "$@" || fail "no ticket"
}

forged() { # FIELD, of a good ticket
    invite | "$TOOLS/forge_ticket" "$1"
}

start 1 --arcs 64
good=$(invite)
[ "$(printf '%s\n' "$good" | wc -l)" -eq 1 ] || fail "invite prints more than the ticket"

try_join 2 damaged "not a ticket at all" "hello"
try_join 2 damaged "a ticket with one character changed" "$(printf %s "$good" | sed 's/^\(.\{30\}\)Y/\1z/; t
    s/./Y/31')"
try_join 2 damaged "half a ticket" "$(printf %s "$good" | cut -c 1-60)"
try_join 1 "not from this swarm" "a ticket with another secret" "$(forged secret)"
try_join 1 "not from this swarm" "a ticket with an unknown number" "$(forged id)"
try_join 1 "not from this swarm" "a ticket of another swarm at this address" "$(forged swarm)"
try_join 1 "not from this swarm" "a ticket that names another inviter" "$(forged inviter)"

brief=$(invite --expires 1s)
sleep 1.1 # it is time itself that is tested here
try_join 1 expired "an expired ticket" "$brief"
# The swarm's own opinion counts, not what the text says.
try_join 1 expired "an expired ticket made to look fresh" "$(printf '%s\n' "$brief" | "$TOOLS/forge_ticket" expires)"

start 2 --join "$good"
ok "a good ticket lets a node in"
try_join 1 "used already" "the same ticket once more" "$good"

# One that was refused comes in with a good ticket, into the same directory.
twice=$(invite --uses 2)
mv "$work/guest" "$work/3"
start 3 --join "$twice"
start 4 --join "$twice"
ok "a ticket for two lets two in"
try_join 1 "used already" "but not a third" "$twice"

number=$(member_number 3)
kill_nodes 3
start 3
[ "$(member_number 3)" = "$number" ] || fail "node 3 came back as another member"
stop_node 4
[ "$status" -eq 0 ] || fail "node 4 ends with status $status"
start 4 --join "$twice"
ok "a member comes back without a ticket, and with its old one"

mkdir "$work/elsewhere"
start 5 --arcs 64
other=$("$SHOAL" invite -d "$work/5") || fail "no ticket from the other swarm"
stop_node 4
refused 1 "another swarm" "a member of this swarm with a ticket of another" \
    timeout 60 "$SHOAL" node -d "$work/4" --listen "127.0.0.1:$(cat "$work/4.port")" --join "$other"
stop_node 5
try_join 1 "reach|timed out" "a ticket of a node that is gone" "$other"

[ "$(status_json 1 '.members | length')" -eq 4 ] || fail "there should be four members"
ok "the swarm has exactly the members that were let in"

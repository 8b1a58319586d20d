. "$(dirname "$0")/lib.sh"
start 1; join 2 1; join 3 1
HEALTHY_LIMIT=25
until_true 25 healthy 1 3 && { ok "healthy"; exit 0; }
for n in 1 2 3; do "$SHOAL" status -d "$work/$n"; cat "$work/$n.log"; done
for n in 1 2 3; do top -b -n 1 -p $(pid_of $n) | tail -1; done
gdb -batch -p $(pid_of 1) -ex 'thread apply all bt 12' 2>/dev/null | tail -80
fail stuck

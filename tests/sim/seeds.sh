#!/bin/sh
# seeds.sh SIMNET PART PARTS: runs whole simulated swarms from the seeds PART, PART + PARTS, ... up to $SIM_SEEDS, each
# for $SIM_MINUTES of simulated time. The first one is run twice: one seed is one run, to the byte.
set -u
simnet=$1
part=$2
parts=$3
minutes=${SIM_MINUTES:-2}
last=${SIM_SEEDS:-200}
failed=0

# The part of a result line that the same seed must repeat: everything but the time it took.
run() {
    "$simnet" --seed "$1" --minutes "$minutes" 2>&1
}

hash_of() {
    printf '%s\n' "$1" | sed -n 's/.* hash=\([^ ]*\).*/\1/p' | tail -n 1
}

seed=$part
while [ "$seed" -le "$last" ]; do
    output=$(run "$seed")
    status=$?
    case $status:$output in
    0:*"seed=$seed result=pass hash="*) ;;
    *)
        echo "seed $seed failed (exit $status); to see it again: shoal-simnet --seed $seed --minutes $minutes"
        printf '%s\n' "$output" | tail -n 40
        failed=1
        ;;
    esac
    if [ "$seed" -eq "$part" ] && [ "$(hash_of "$output")" != "$(hash_of "$(run "$seed")")" ]; then
        echo "seed $seed: two runs differ"
        failed=1
    fi
    seed=$((seed + parts))
done
exit "$failed"

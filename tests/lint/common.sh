# Sourced by every lint script: which files there are, and how a finding is told.

SOURCE_FOLDERS='crypto dht node cli simnet tests'

# All C files, one a line, of the current folder. Paths have no spaces: .c and .h names never do here.
sources() {
    for folder in $SOURCE_FOLDERS; do
        [ ! -d "$folder" ] || find "$folder" -name '*.[ch]' -type f
    done | sort
}

need() {
    command -v "$1" >/dev/null 2>&1 || { echo "lint: $1 is missing (Debian: apt-get install $1)" >&2; exit 1; }
}

# Prints what it reads; fails when that is anything.
fail_if_any() {
    awk '{ print } END { exit NR > 0 }'
}

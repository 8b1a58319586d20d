# Reads "file PATH" for every C file, then "include PATH LINE <-or-quote NAME" for every include; prints violations.

function folder_of(path) {
    sub(/\/[^\/]*$/, "", path)
    return path
}

function allow(folder, below,   list, count, i, inner) {
    count = split(below, list)
    for (i = 1; i <= count; i++) {
        may[folder, list[i]] = 1
        for (inner in known)
            if ((list[i], inner) in may) may[folder, inner] = 1
    }
    known[folder] = 1
}

# A foreign header and the folders that may include it.
function foreign(pattern, folders) {
    foreign_folders[pattern] = " " folders " "
}

BEGIN {
    # The architecture: each folder and what stands right below it. In order, so that what is below is known.
    allow("crypto", "")
    allow("dht", "crypto")
    allow("node/base", "crypto")
    allow("node/port", "")
    allow("node/store", "node/base")
    allow("node/raft", "node/base")
    allow("node/wire", "node/base node/raft dht")
    allow("node/machine", "node/wire node/store")
    allow("node/peers", "node/wire node/port")
    allow("node/groups", "node/peers node/machine")
    allow("node/files", "node/groups")
    allow("node", "node/files")
    allow("node/uv", "node node/store node/port")
    allow("simnet", "node node/store node/port")
    allow("cli", "node/uv")
    allow("tests/unit", "node node/uv simnet cli")
    allow("tests/sim", "simnet")
    allow("tests/fuzz", "node")
    allow("tests/e2e", "cli node/uv simnet")
    allow("tests/bench", "node/uv simnet")

    foreign("^uv\\.h$", "node/uv tests/unit tests/e2e tests/bench")
    foreign("^lmdb\\.h$", "node/store tests/unit")
    foreign("^sodium(\\.h|/)", "crypto node/uv tests/unit tests/fuzz")
    foreign("^cbor(\\.h|/)", "node/base")
    # The world outside: only through a port. (bsd/sys/queue.h is a set of macros.)
    world = "node/uv node/store cli simnet tests/unit tests/sim tests/fuzz tests/e2e tests/bench"
    foreign("^(unistd|fcntl|signal|poll|pthread|threads|dirent|netdb|time|dlfcn|syslog)\\.h$", world)
    foreign("^(sys|net|netinet|arpa|linux)/", world)
}

$1 == "file" {
    slash = $2
    sub(/.*\//, "", slash)
    holders[slash] = holders[slash] " " folder_of($2)
    exists[$2] = 1
    next
}

{
    path = $2; line = $3; quote = $4; name = $5
    folder = folder_of(path)
    if (!(folder in known)) {
        if (folder !~ /^tests\/.*\/data/) print path ":" line ": the folder " folder " is not in includes.awk"
        next
    }
    if (quote == "<") {
        for (pattern in foreign_folders)
            if (name ~ pattern && index(foreign_folders[pattern], " " folder " ") == 0)
                print path ":" line ": <" name "> may not be included in " folder
        next
    }
    if ((folder "/" name) in exists) next # a neighbour, or test data beside its test
    if (name ~ /\//) {
        # Tests of several kinds share helpers.
        if (folder ~ /^tests\// && name ~ /^\.\.\/[a-z]*\/[^\/]*$/ && ("tests" substr(name, 3)) in exists) next
        # And a test may compile a folder into itself, to fail its allocations.
        if (folder == "tests/unit" && name ~ /^\.\.\/\.\.\/.*\.c$/ && substr(name, 7) in exists) next
        print path ":" line ": \"" name "\" has a path in it: include the bare name"
        next
    }
    count = split(holders[name], list)
    visible = 0
    for (i = 1; i <= count; i++)
        if ((folder, list[i]) in may) visible++
    if (count == 0) print path ":" line ": \"" name "\" is no header of this project"
    else if (visible == 0) print path ":" line ": " folder " may not include \"" name "\" of" holders[name]
    else if (visible > 1) print path ":" line ": \"" name "\" means several headers: of" holders[name]
}

# The code of C files without comments and without the insides of string and character literals, one line for one,
# each as FILE:LINE:CODE.
FNR == 1 { in_comment = 0 }
{
    rest = $0
    code = ""
    while (rest != "") {
        if (in_comment) {
            end = index(rest, "*/")
            if (end == 0) { rest = ""; break }
            rest = substr(rest, end + 2)
            in_comment = 0
            code = code " "
        } else if (match(rest, /\/\*|\/\/|"|'/)) {
            mark = substr(rest, RSTART, RLENGTH)
            code = code substr(rest, 1, RSTART - 1)
            rest = substr(rest, RSTART + RLENGTH)
            if (mark == "//") { rest = "" }
            else if (mark == "/*") { in_comment = 1 }
            else if (mark == "\"" && code ~ /^#[ ]*include/) { code = code mark rest; rest = "" }
            else {
                while (rest != "" && substr(rest, 1, 1) != mark)
                    rest = substr(rest, substr(rest, 1, 1) == "\\" ? 3 : 2)
                rest = substr(rest, 2)
                code = code mark mark
            }
        } else { code = code rest; rest = "" }
    }
    printf "%s:%d:%s\n", FILENAME, FNR, code
}

# Prints each import between the files of `src`, all given as arguments: `from to file:line`. See
# ci/imports. Modules are named by their paths, `crate::ring::lane`.

function module(file) {
    sub(/^src\//, "crate/", file)
    sub(/(\/mod|\/lib)?\.rs$/, "", file)
    gsub(/\//, "::", file)
    return file
}

# Takes one tree of a `use` apart: `a::{b, c as d}`.
function take(prefix, tree, handed_on,    depth, i, c, from, path, name) {
    gsub(/^ +| +$/, "", tree)
    if (tree == "") return
    if (match(tree, /\{/)) {
        prefix = prefix substr(tree, 1, RSTART - 1)
        tree = substr(tree, RSTART + 1, length(tree) - RSTART - 1) ","
        depth = 0
        from = 1
        for (i = 1; i <= length(tree); i++) {
            c = substr(tree, i, 1)
            depth += (c == "{") - (c == "}")
            if (c != "," || depth > 0) continue
            take(prefix, substr(tree, from, i - from), handed_on)
            from = i + 1
        }
        return
    }
    path = prefix tree
    name = ""
    if (match(path, / as /)) {
        name = substr(path, RSTART + 4)
        path = substr(path, 1, RSTART - 1)
    }
    sub(/::self$/, "", path)
    if (name == "") {
        name = path
        sub(/^.*::/, "", name)
    }
    path = absolute(path)
    if (path == "") return
    leads[here, name] = path
    if (name == "*" && handed_on) globs[here] = globs[here] " " path
    note(path, handed_on ? name : "")
}

# Notes an import; one that hands a name on counts only if the file uses that name itself.
function note(path, only_if_used) {
    if (path == "") return
    imports++
    by[imports] = here
    to[imports] = path
    if_used[imports] = only_if_used
    place[imports] = FILENAME ":" line
}

# The path from the crate on; nothing for one that leads into another crate.
function absolute(path,    base, first) {
    if (path ~ /^crate(::|$)/) return path
    base = here
    if (inline && path ~ /^super(::|$)/) sub(/^super/, "self", path)
    if (path ~ /^self(::|$)/) {
        sub(/^self(::)?/, "", path)
    } else if (path ~ /^super(::|$)/) {
        while (sub(/^super(::|$)/, "", path)) sub(/::[^:]*$/, "", base)
    } else {
        first = path
        sub(/::.*/, "", first)
        if (!((here, first) in children)) return ""
    }
    return path == "" ? base : base "::" path
}

# The file that defines what a path leads to. Names that are handed on are looked through.
function target(path, depth,    at, name, i, count, list, found) {
    if (depth > 8) return ""
    at = "crate"
    sub(/^crate(::)?/, "", path)
    while (path != "") {
        name = path
        sub(/::.*/, "", name)
        if ((at "::" name) in files) at = at "::" name
        else if (name == "*" || (at, name) in defines) return at
        else if ((at, name) in leads) {
            return target(leads[at, name] substr(path, length(name) + 1), depth + 1)
        } else {
            count = split(globs[at], list, " ")
            for (i = 1; i <= count; i++) {
                found = target(list[i] "::" path, depth + 1)
                if (found != "") return found
            }
            return depth ? "" : at
        }
        if (!sub(/^[^:]*::/, "", path)) path = ""
    }
    return at
}

FNR == 1 {
    here = module(FILENAME)
    files[here] = 1
    statement = ""
    inline = test = test_next = 0
}

{
    text = $0
    gsub(/"([^"\\]|\\.)*"/, "\"\"", text)
    sub(/\/\/.*/, "", text)
    visible = "^ *(pub(\\([^)]*\\))? )?"
}

text ~ /^ *#\[cfg\((all\()?test/ { test_next = 1; next }
text ~ /^ *#!?\[/ { next }

# Modules: in files of their own, or inline.
text ~ (visible "mod [a-z_0-9]+;") {
    name = text
    gsub(/^.*mod |;.*$/, "", name)
    if (test_next) tests[here "::" name] = 1
    else children[here, name] = 1
    test_next = 0
    next
}
text ~ (visible "mod [a-z_0-9]+ [{]") {
    inline = 1
    test = test_next
}
text ~ /^}/ { inline = test = 0 }
text ~ /[^ ]/ && test_next { test_next = 0; next }
test { next }

statement != "" || text ~ (visible "use ") {
    if (statement == "") line = FNR
    statement = statement " " text
    if (text !~ /;/) next
    handed_on = statement ~ /^ *pub/
    sub(visible "use +", "", statement)
    sub(/;.*/, "", statement)
    gsub(/ +/, " ", statement)
    gsub(/ *:: */, "::", statement)
    take("", statement, handed_on)
    statement = ""
    next
}

# Code: what it defines, the paths in it, the names in it.
{
    name = text
    if (sub(/^(pub(\([^)]*\))? )?((unsafe|const|async|extern "") )*/, "", name) || text ~ /^[a-z]/)
        if (name ~ /^(struct|enum|trait|fn|type|const|static|union|macro_rules!|[A-Z]) ?/) {
            sub(/^[a-z_!]+ /, "", name)
            sub(/[^A-Za-z_0-9].*/, "", name)
            defines[here, name] = 1
        }
    line = FNR
    code = text
    while (match(code, /(crate|super|self)(::[A-Za-z_0-9]+)+/)) {
        before = RSTART > 1 ? substr(code, RSTART - 1, 1) : " "
        path = substr(code, RSTART, RLENGTH)
        code = substr(code, RSTART + RLENGTH)
        if (before !~ /[A-Za-z_0-9:]/) note(absolute(path), "")
    }
    count = split(text, words, /[^A-Za-z_0-9]+/)
    for (i = 1; i <= count; i++) used[here, words[i]] = 1
}

END {
    for (i = 1; i <= imports; i++) {
        from = by[i]
        skip = if_used[i] != "" && !((from, if_used[i]) in used)
        for (module_of_tests in tests)
            if (index(from "::", module_of_tests "::") == 1) skip = 1
        it = skip ? from : target(to[i], 0)
        if (it == "" || it == from) continue
        print from, it, place[i]
        # The same import between what lies below one folder.
        froms = split(from, a, "::")
        its = split(it, b, "::")
        common = ""
        for (k = 1; k <= froms && k <= its && a[k] == b[k]; k++) common = common a[k] "::"
        if (k <= froms && k <= its) print common a[k] "::..", common b[k] "::..", place[i]
    }
}

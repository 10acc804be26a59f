#compdef builder
# Completion of builder for zsh: source this after compinit, or install it as _builder in a directory of $fpath.

_builder() {
    local found code line
    local -a whole whole_shown open open_shown
    found=$(builder complete zsh -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    code=$?
    # An option's value that stands behind a `=` is a path of its own.
    if (( code == 10 || code == 11 )) && [[ $PREFIX = --*=* ]]; then
        compset -P '*='
    fi
    case $code in
        0) ;;
        10) _files; return ;;
        11) _files -/; return ;;
        *) return 1 ;;
    esac
    for line in "${(@f)found}"; do
        [[ -n $line ]] || continue
        if [[ ${line%%$'\t'*} = *[/=] ]]; then
            open+=("${line%%$'\t'*}")
            open_shown+=("${line/$'\t'/  -- }")
        else
            whole+=("${line%%$'\t'*}")
            whole_shown+=("${line/$'\t'/  -- }")
        fi
    done
    # In the order in which they come: the newest builds first.
    compadd -l -V builder -d whole_shown -a -- whole
    code=$?
    # What goes on needs no blank behind it.
    compadd -l -V builder -S '' -d open_shown -a -- open || return $code
}

if [[ ${funcstack[1]} = _builder ]]; then
    _builder "$@"
else
    compdef _builder builder
fi

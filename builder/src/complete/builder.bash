# Completion of builder for bash: source this, or install it as /usr/share/bash-completion/completions/builder.
# shellcheck shell=bash

_builder() {
    local found status=0
    COMPREPLY=()
    found=$(builder complete bash -- "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null) || status=$?
    case $status in
        0) [[ -z $found ]] || mapfile -t COMPREPLY <<<"$found" ;;
        10) compopt -o default ;;
        11) compopt -o dirnames ;;
    esac
    # What goes on needs no blank behind it.
    if [[ ${#COMPREPLY[@]} = 1 && ${COMPREPLY[0]} = *[/=] ]]; then
        compopt -o nospace
    fi
}

complete -o nosort -F _builder builder

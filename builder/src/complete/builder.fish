# Completion of builder for fish: source this, or install it as ~/.config/fish/completions/builder.fish.

function __builder_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l plain (string unescape -- "$word"; or echo "$word")
    set -l found (builder complete fish -- $words "$plain" 2>/dev/null)
    set -l code $status
    # An option's value that stands behind a `=` is a path of its own.
    set -l option (string match -r -- '^--[^=]+=' "$word")
    set -l path (string replace -r -- '^--[^=]+=' '' "$word")
    switch $code
        case 0
            string join -- \n $found
        case 10
            __fish_complete_path "$path" | string replace -r -- '^' "$option"
        case 11
            __fish_complete_directories "$path" '' | string replace -r -- '^' "$option"
    end
end

complete -c builder -f -k -a '(__builder_complete)'

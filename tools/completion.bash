# Completion of nandu-img and nandu-io for bash. What there is to complete is asked of the programs themselves.

_nandu_options()
{
    "$@" --help 2>/dev/null | sed -n 's/^  *\(-[a-zA-Z], \)\{0,1\}\(--[a-z-]*\).*/\2/p'
}

_nandu_formats()
{
    "$1" --help 2>/dev/null | sed '1,/^Supported image formats:/d'
}

# Of -o: what images of the format that was named have, or are of.
_nandu_image_options()
{
    local program=${COMP_WORDS[0]} i format=raw

    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i - 1]} in
        -f | --format) [[ ${COMP_WORDS[1]} == @(convert|dd|measure) ]] || format=${COMP_WORDS[i]} ;;
        -O | --target-format | --output-format) format=${COMP_WORDS[i]} ;;
        esac
    done
    "$program" create -f "$format" -o help 2>/dev/null | sed -n 's/^  \([a-z][a-z0-9_.-]*=\).*/\1/p'
}

_nandu_img()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]}

    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z]*\) - .*/\1/p')" -- "$cur")
        return
    fi
    case $prev in
    -f | -F | -O | --format | --source-format | --target-format | --backing-format | --a-format | --b-format | --output-format)
        mapfile -t COMPREPLY < <(compgen -W "$(_nandu_formats "$program")" -- "$cur")
        return ;;
    -t | -T | --cache | --source-cache | --target-cache | --backing-cache)
        mapfile -t COMPREPLY < <(compgen -W 'writeback writethrough none directsync unsafe' -- "$cur")
        return ;;
    --output)
        mapfile -t COMPREPLY < <(compgen -W 'human json' -- "$cur")
        return ;;
    -o | --options | --target-options)
        compopt -o nospace 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -W "$(_nandu_image_options)" -- "$cur")
        return ;;
    --repair)
        mapfile -t COMPREPLY < <(compgen -W 'leaks all' -- "$cur")
        return ;;
    --preallocation)
        mapfile -t COMPREPLY < <(compgen -W 'off metadata falloc full' -- "$cur")
        return ;;
    -i | --aio)
        mapfile -t COMPREPLY < <(compgen -W 'threads native io_uring' -- "$cur")
        return ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_nandu_options "$program" "${COMP_WORDS[1]}")" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}

_nandu_io()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]}

    COMPREPLY=()
    case $prev in
    -f | --format)
        mapfile -t COMPREPLY < <(compgen -W "$(_nandu_formats "${program%io}img")" -- "$cur")
        return ;;
    -t | --cache)
        mapfile -t COMPREPLY < <(compgen -W 'writeback writethrough none directsync unsafe' -- "$cur")
        return ;;
    -i | --aio)
        mapfile -t COMPREPLY < <(compgen -W 'threads native io_uring' -- "$cur")
        return ;;
    -d | --discard)
        mapfile -t COMPREPLY < <(compgen -W 'unmap ignore' -- "$cur")
        return ;;
    -c | --cmd)
        mapfile -t COMPREPLY < <(compgen -W "$("$program" -c help 2>/dev/null | sed -n 's/^\([a-z_]*\) .*-- .*/\1/p')" -- "$cur")
        return ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_nandu_options "$program")" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}

complete -o filenames -F _nandu_img nandu-img
complete -o filenames -F _nandu_io nandu-io

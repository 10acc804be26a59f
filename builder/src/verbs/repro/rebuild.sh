
# From here on the same for every build. What is not assigned here is so above.
# shellcheck shell=sh disable=SC2154

usage() {
    cat <<'END'
Rebuilds it in a fresh directory and compares the SHA-256 of what comes out.
  --dir DIR    the directory, which must not be there; by default a new one in $TMPDIR, which goes when the same came out
  --secrets D  the directory with the secrets that the script reads
  --install    first install the packages of the worker's system, in their recorded versions
  --strict     stop when the system or its packages are not those that were recorded
  --list       print what went in, and build nothing
Exit status 0 when the same came out, 1 when something else did, 2 when that could not be found out.
END
}

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "rebuild: $*"
    exit 2
}

sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum <"$1" | cut -d ' ' -f 1
    else
        sha256 -q <"$1"
    fi
}

# The packages of this system, as the worker listed its own.
installed() {
    case $kind in
    dpkg) dpkg-query -W -f='${Package} ${Version} ${Architecture}\n' ;;
    pkg) pkg query '%n %v %q' ;;
    apk) apk list --installed --quiet ;;
    rpm) rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE} %{ARCH}\n' ;;
    esac 2>/dev/null | LC_ALL=C sort
}

find_kind() {
    kind=none
    if [ -e /var/lib/dpkg/status ]; then
        kind=dpkg
    elif [ -e /var/db/pkg/local.sqlite ]; then
        kind=pkg
    elif [ -e /lib/apk/db/installed ]; then
        kind=apk
    elif [ -e /var/lib/rpm ]; then
        kind=rpm
    fi
}

install_packages() {
    case $kind in
    dpkg)
        # Versions that the archive has no more come from its past: the source list is the caller's affair, such as
        # one of snapshot.debian.org.
        packages | while read -r name version architecture; do
            case $architecture in
            all) printf '%s=%s\n' "$name" "$version" ;;
            *) printf '%s:%s=%s\n' "$name" "$architecture" "$version" ;;
            esac
        done | xargs env DEBIAN_FRONTEND=noninteractive apt-get install --yes --allow-downgrades --no-install-recommends
        ;;
    pkg) packages | while read -r name version _; do printf '%s-%s\n' "$name" "$version"; done | xargs pkg install --yes ;;
    apk) packages | sed 's/-\([0-9][^-]*-r[0-9]*\)$/=\1/' | xargs apk add ;;
    rpm) packages | while read -r name version architecture; do printf '%s-%s.%s\n' "$name" "$version" "$architecture"; done | xargs dnf install --assumeyes ;;
    *) fail "this system has no packages that could be installed" ;;
    esac
}

compare_system() {
    here=$(uname -m)
    [ -z "$arch" ] || [ "$here" = "$arch" ] || odd "it was built on $arch, and this is $here"
    if [ -r /etc/os-release ] && [ -n "$os" ]; then
        # shellcheck disable=SC1091
        here=$(. /etc/os-release && printf '%s' "${PRETTY_NAME:-}")
        [ "$here" = "$os" ] || odd "it was built on $os, and this is $here"
    fi
    packages >"$dir/packages"
    if [ -s "$dir/packages" ] && [ $kind != none ]; then
        installed >"$dir/installed"
        differ=$(LC_ALL=C comm -3 "$dir/packages" "$dir/installed" | wc -l)
        [ "$differ" -eq 0 ] || odd "its packages differ in $((differ)) lines: compare $dir/packages and $dir/installed"
    fi
}

odd() {
    say "rebuild: $*"
    [ -z "$strict" ] || exit 2
}

# What the script sees, and nothing else; each line of the record is a variable.
run_script() {
    set --
    while IFS= read -r line; do
        [ -z "$line" ] || set -- "$@" "$line"
    done <"$dir/environment"
    [ -z "$secrets" ] || set -- "$@" "BUILDER_SECRETS=$secrets"
    set -- "$@" "HOME=$dir/home" "TMPDIR=$dir/tmp" "BUILDER_BUILD=$build"
    case $(head -c 2 "$dir/script") in
    '#!') set -- "$@" "$dir/script" ;;
    *) set -- "$@" /bin/sh "$dir/script" ;;
    esac
    (cd "$dir/output" && umask 022 && exec env -i "$@" </dev/null)
}

# A line of the manifest with a backslash in its path starts with one, and the path has it doubled.
compare_output() {
    bad=0
    manifest >"$dir/manifest"
    while IFS= read -r line; do
        case $line in
        \\*) line=$(printf '%s' "${line#?}" | sed 's/\\\\/\\/g') ;;
        esac
        want=${line%%  *}
        path=${line#*  artifacts/}
        if ! [ -f "$dir/output/$path" ] || [ -L "$dir/output/$path" ]; then
            say "missing: $path"
            bad=1
        elif [ "$(sha256 "$dir/output/$path")" != "$want" ]; then
            say "different: $path"
            bad=1
        fi
        printf '%s\n' "$path" >>"$dir/expected"
    done <"$dir/manifest"
    inputs >>"$dir/expected"
    LC_ALL=C sort -u -o "$dir/expected" "$dir/expected"
    (cd "$dir/output" && find . -type f) | sed 's,^\./,,' | LC_ALL=C sort >"$dir/left"
    LC_ALL=C comm -13 "$dir/expected" "$dir/left" >"$dir/more"
    while IFS= read -r path; do
        say "not there before: $path"
        bad=1
    done <"$dir/more"
    return $bad
}

dir='' keep='' secrets='' install='' strict='' list=''
while [ $# -gt 0 ]; do
    case $1 in
    --dir | --secrets)
        [ $# -gt 1 ] || fail "$1 needs a directory"
        [ "$1" = --dir ] && dir=$2 || secrets=$2
        shift
        ;;
    --install) install=yes ;;
    --strict) strict=yes ;;
    --list) list=yes ;;
    --help | -h)
        usage
        exit 0
        ;;
    *) fail "what is $1? --help shows what there is" ;;
    esac
    shift
done

if [ -n "$list" ]; then
    printf 'build %s\nplatform %s\nsystem %s %s\n' "$build" "$platform" "$os" "$arch"
    environment
    packages
    exit 0
fi
[ -z "$needs_secrets" ] || [ -n "$secrets" ] || fail "the script reads the secrets $needs_secrets: give --secrets DIR"
[ -z "$secrets" ] || secrets=$(cd "$secrets" && pwd) || fail "there is no directory $secrets"
find_kind
[ -z "$install" ] || install_packages
if [ -n "$dir" ]; then
    mkdir "$dir" || fail "$dir can't be made"
    keep=yes
else
    dir=$(mktemp -d "${TMPDIR:-/tmp}/rebuild.XXXXXX") || fail "no directory can be made"
fi
dir=$(cd "$dir" && pwd)
mkdir "$dir/output" "$dir/home" "$dir/tmp"
the_script >"$dir/script"
chmod 755 "$dir/script"
environment >"$dir/environment"
[ "$(sha256 "$dir/script")" = "$script_sha256" ] || fail "this file was damaged: the script in it is not the one that was built"
compare_system
say "rebuild: $build in $dir"
code=0
run_script || code=$?
[ $code -eq 0 ] || fail "the script exited $code"
if compare_output; then
    say "rebuild: the same came out as in $build"
    [ -n "$keep" ] || rm -rf "$dir"
    exit 0
fi
say "rebuild: something else came out than in $build; it is in $dir/output"
exit 1

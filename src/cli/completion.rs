//! Completion scripts of shells, from the tables of commands and flags.
//!
//! What fits where is decided once, by `fits` and `after`. bash and zsh have one function that finds the position of the
//! cursor among the words, in what the two languages have in common; fish has conditions.

use super::args::{MountsAction, PoolAction, Shell};
use super::flags::{self, Flag, FlagValue};
use super::put::Word;
use super::verbs::{Arity, Positional, VERBS, Verb, VerbRow};
use crate::container::signal;
use crate::plan::process::caps;

/// What may be typed in a position.
enum Fits {
    Words(Vec<String>),
    Ids,
    Pools,
    /// And these words.
    Files(&'static str),
    /// And these words.
    Dirs(&'static str),
    Anything,
}

fn words(list: &[&str]) -> Fits {
    Fits::Words(list.iter().map(|word| (*word).to_owned()).collect())
}

/// What a value of this name may be, of a flag or an argument; `None` for a name that is not here, which no test lets pass.
fn of_name(name: &str) -> Option<Fits> {
    Some(match name {
        "ACTION" => words(MountsAction::WORDS),
        "CAP" => Fits::Words(caps::names()),
        "SHELL" => words(Shell::WORDS),
        "SIGNAL" => Fits::Words(signal::names().map(str::to_owned).collect()),
        "ID" => Fits::Ids,
        "BUNDLE" | "DIR" => Fits::Dirs(""),
        "tmpfs[:SIZE]|DIR" => Fits::Dirs("tmpfs"),
        "COMMAND" | "DEST" | "FILE" | "FILE|fd:N" | "OPTIONS" | "OTHER" | "SOCKET" => Fits::Files(""),
        "FILE|docker|unconfined" => Fits::Files("docker unconfined"),
        "PATH|nss|gconv" => Fits::Files("nss gconv"),
        "inherit|null|IN,OUT,ERR" => words(&["inherit", "null"]),
        "none|host|ns:PATH" => words(&["none", "host", "ns:"]),
        "ADDRESS:PORT"
        | "BYTES"
        | "CONTEXT"
        | "DST[:SIZE]"
        | "DURATION"
        | "GID"
        | "LABEL"
        | "LIST"
        | "FIELD=VALUE"
        | "N"
        | "NAME"
        | "NAME=VALUE"
        | "NAMESPACE"
        | "PROFILE"
        | "SRC:DST[:ro]"
        | "TYPE:NAME"
        | "UID[:GID]"
        | "VALUE"
        | "[CONTROLLERS:]PATH"
        | "memory=BYTES,cpus=N,pids=N" => Fits::Anything,
        _ => return None,
    })
}

/// What may follow a flag; `None` where nothing does.
fn after(flag: &Flag) -> Option<Fits> {
    match flag.value {
        FlagValue::Switch | FlagValue::Maybe(_) => None,
        FlagValue::Word(_, list) => Some(words(list)),
        FlagValue::One("NAME") if flag.long == "pool" => Some(Fits::Pools),
        FlagValue::One(name) | FlagValue::Many(name) => Some(of_name(name).unwrap_or(Fits::Anything)),
    }
}

/// What an argument may be.
fn fits(row: &VerbRow, positional: &Positional) -> Fits {
    match positional.name {
        "ACTION" if row.verb == Verb::Pool => words(PoolAction::WORDS),
        "NAME" if row.verb == Verb::Pool => Fits::Pools,
        // The name of a container that is yet to be made.
        "ID" if matches!(row.verb, Verb::Create | Verb::Run | Verb::Restore | Verb::Record) => Fits::Anything,
        name => of_name(name).unwrap_or(Fits::Anything),
    }
}

/// The script of a shell.
pub fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => format!("{}{BASH}", finder()),
        Shell::Zsh => format!("#compdef brisk\n{}{ZSH}", finder()),
        Shell::Fish => fish(),
    }
}

fn listed() -> impl Iterator<Item = &'static VerbRow> {
    VERBS.iter().filter(|row| row.listed())
}

fn listed_flags(scope: Option<Verb>) -> impl Iterator<Item = &'static Flag> {
    flags::of(scope).filter(|flag| flag.listed)
}

/// Before a command, and after each.
fn scopes() -> impl Iterator<Item = (&'static str, Option<Verb>)> {
    std::iter::once(("", None)).chain(listed().map(|row| (row.name, Some(row.verb))))
}

/// `--flag` and `-f`.
fn spellings(flag: &Flag) -> impl Iterator<Item = String> + '_ {
    std::iter::once(format!("--{}", flag.long)).chain(flag.short.map(|letter| format!("-{letter}")))
}

/// A branch that says what fits.
fn branch(pattern: &str, fits: &Fits) -> String {
    let does = match fits {
        Fits::Words(list) => format!("kind=words list='{}'", list.join(" ")),
        Fits::Ids => "kind=ids".to_owned(),
        Fits::Pools => "kind=pools".to_owned(),
        Fits::Files("") => "kind=files".to_owned(),
        Fits::Files(list) => format!("kind=files list='{list}'"),
        Fits::Dirs("") => "kind=dirs".to_owned(),
        Fits::Dirs(list) => format!("kind=dirs list='{list}'"),
        Fits::Anything => "kind=none".to_owned(),
    };
    format!("        {pattern}) {does} ;;\n")
}

/// `__brisk_find WORD...`: the words after `brisk` up to the cursor, of which the last is to be completed. Sets `kind`, `list`,
/// `current` and `root`.
fn finder() -> String {
    let (mut valued, mut values, mut all, mut positions) = (Vec::new(), String::new(), String::new(), String::new());
    for (verb, scope) in scopes() {
        for flag in listed_flags(scope) {
            let Some(fits) = after(flag) else { continue };
            let patterns: Vec<String> = spellings(flag).map(|flag| format!("'{verb} {flag}'")).collect();
            values += &branch(&patterns.join("|"), &fits);
            valued.extend(patterns);
        }
        let names: Vec<String> = listed_flags(scope).map(|flag| format!("--{}", flag.long)).collect();
        all += &format!("        '{verb}') list='{} --help' ;;\n", names.join(" "));
    }
    let verbs: Vec<&str> = listed().map(|row| row.name).collect();
    let verbs = verbs.join(" ");
    positions +=
        &format!("        ' 0') kind=words list='{verbs} help' ;;\n        'help 0') kind=words list='{verbs}' ;;\n");
    for row in listed() {
        for (position, positional) in row.positionals.iter().enumerate() {
            let pattern = match positional.arity {
                Arity::One | Arity::Optional => format!("'{} {position}'", row.name),
                Arity::Several | Arity::Any | Arity::Remainder | Arity::Command => format!("'{} '*", row.name),
            };
            positions += &branch(&pattern, &fits(row, positional));
        }
    }
    let rest: Vec<&str> = listed().filter(|row| row.verb.passes_the_rest_on()).map(|row| row.name).collect();
    format!(
        r#"__brisk_find() {{
    local verb= flag= word= position=0 rest=
    kind=none list= current= root=
    while [ $# -gt 1 ]; do
        word=$1
        shift
        if [ -n "$flag" ]; then
            case "$verb$flag" in --root|-r) root=$word ;; esac
            flag=
            continue
        fi
        case $word in
        -*)
            [ -z "$rest" ] || continue
            case "$verb$word" in --root=*) root=${{word#--root=}} ;; esac
            case "$verb $word" in {valued}) flag=$word ;; esac ;;
        *)
            if [ -z "$verb" ]; then verb=$word; else position=$((position + 1)); fi
            case "$verb $position" in {rest}) rest=1 ;; esac ;;
        esac
    done
    current=$1
    if [ -n "$rest" ]; then kind=files; return; fi
    case $flag$current in --*=*) flag=${{current%%=*}} current=${{current#*=}} ;; esac
    if [ -n "$flag" ]; then
        case "$verb $flag" in
{values}        esac
        return
    fi
    case $current in
    -*)
        kind=words
        case $verb in
{all}        esac
        return ;;
    esac
    case "$verb $position" in
{positions}    esac
}}
"#,
        valued = valued.join("|"),
        rest = rest.iter().map(|name| format!("'{name} 1'")).collect::<Vec<_>>().join("|"),
    )
}

/// Readline has parted `--flag=value` at the `=`; what is replaced is the part behind it.
const BASH: &str = r#"_brisk() {
    local kind list current root word
    local -a typed=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if [ "${#typed[@]}" -gt 0 ] && { [ "$word" = = ] || [[ ${typed[-1]} == --*= ]]; }; then
            typed[-1]+=$word
        else
            typed+=("$word")
        fi
    done
    __brisk_find "${typed[@]}"
    case $kind in
    words) mapfile -t COMPREPLY < <(compgen -W "$list" -- "$current") ;;
    ids) mapfile -t COMPREPLY < <(compgen -W "$(brisk ${root:+--root "$root"} list --quiet 2>/dev/null)" -- "$current") ;;
    pools) mapfile -t COMPREPLY < <(compgen -W "$(brisk ${root:+--root "$root"} pool list 2>/dev/null | sed '1d; s/ .*//')" -- "$current") ;;
    files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -W "$list" -f -- "$current") ;;
    dirs) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -W "$list" -d -- "$current") ;;
    *) COMPREPLY=() ;;
    esac
}
complete -F _brisk brisk
"#;

const ZSH: &str = r#"_brisk() {
    local kind list current root
    __brisk_find "${(@)words[2,CURRENT]}"
    case ${words[CURRENT]} in --*=*) compset -P '*=' ;; esac
    case $kind in
    words) compadd -- ${=list} ;;
    ids) compadd -- ${(f)"$(brisk ${root:+--root=$root} list --quiet 2>/dev/null)"} ;;
    pools) compadd -- ${(f)"$(brisk ${root:+--root=$root} pool list 2>/dev/null | sed '1d; s/ .*//')"} ;;
    files) [ -z "$list" ] || compadd -- ${=list}; _files ;;
    dirs) [ -z "$list" ] || compadd -- ${=list}; _files -/ ;;
    esac
}
if [ "${funcstack[1]-}" = _brisk ]; then _brisk "$@"; else compdef _brisk brisk; fi
"#;

/// `__brisk_at VERB POSITION`: whether the cursor is at this argument of this command, or at any where no position is given.
fn fish() -> String {
    let valued: Vec<String> = listed_flags(None).filter(|flag| after(flag).is_some()).flat_map(spellings).collect();
    let mut text = format!(
        r"function __brisk_words
    set -l words (commandline -opc)[2..-1]
    while set -q words[1]
        switch $words[1]
            case {valued}
                set -e words[1]
            case '-*'
            case '*'
                printf '%s\n' $words
                return
        end
        set -e words[1]
    end
end
function __brisk_at
    set -l words (__brisk_words)
    test (count $argv) -eq 0; and return (set -q words[1]; and echo 1; or echo 0)
    test $words[1] = $argv[1] 2>/dev/null; or return 1
    test (count $argv) -eq 1; and return 0
    set -l position 0
    for word in $words[2..-1]
        string match -q -- '-*' $word; or set position (math $position + 1)
    end
    test $position -ge $argv[2] -a $position -le $argv[3]
end
function __brisk_root
    set -l words (commandline -opc)
    set -l root
    for index in (seq (count $words))
        switch $words[$index]
            case --root -r
                set root --root $words[(math $index + 1)]
            case '--root=*'
                set root $words[$index]
        end
    end
    printf '%s\n' $root
end
function __brisk_ids
    brisk (__brisk_root) list --quiet 2>/dev/null
end
function __brisk_pools
    brisk (__brisk_root) pool list 2>/dev/null | sed '1d; s/ .*//'
end
complete -c brisk -f
",
        valued = valued.join(" ")
    );
    for (verb, scope) in scopes() {
        let when = if verb.is_empty() { "__brisk_at".to_owned() } else { format!("'__brisk_at {verb}'") };
        for flag in listed_flags(scope) {
            text += &fish_flag(&when, flag);
        }
    }
    text += "complete -c brisk -n __brisk_at -a help -d 'tell about a command'\n";
    for row in listed() {
        let about = fish_quoted(row.about);
        text += &format!("complete -c brisk -n __brisk_at -a {} -d '{about}'\n", row.name);
        text += &format!("complete -c brisk -n '__brisk_at help 0 0' -a {} -d '{about}'\n", row.name);
        for (position, positional) in row.positionals.iter().enumerate() {
            let last = if matches!(positional.arity, Arity::Several | Arity::Any | Arity::Remainder | Arity::Command) {
                99
            } else {
                position
            };
            let when = format!("'__brisk_at {} {position} {last}'", row.name);
            text += &match fits(row, positional) {
                Fits::Anything => continue,
                Fits::Words(list) => format!("complete -c brisk -n {when} -a '{}'\n", list.join(" ")),
                Fits::Ids => format!("complete -c brisk -n {when} -a '(__brisk_ids)'\n"),
                Fits::Pools => format!("complete -c brisk -n {when} -a '(__brisk_pools)'\n"),
                Fits::Files(_) => format!("complete -c brisk -n {when} -F\n"),
                Fits::Dirs(_) => format!("complete -c brisk -n {when} -a '(__fish_complete_directories)'\n"),
            };
        }
    }
    text
}

fn fish_flag(when: &str, flag: &Flag) -> String {
    let short = flag.short.map(|letter| format!(" -s {letter}")).unwrap_or_default();
    let value = match after(flag) {
        None => String::new(),
        Some(Fits::Words(list)) => format!(" -x -a '{}'", list.join(" ")),
        Some(Fits::Pools) => " -x -a '(__brisk_pools)'".to_owned(),
        Some(Fits::Files("")) => " -r -F".to_owned(),
        Some(Fits::Files(list)) => format!(" -r -F -a '{list}'"),
        Some(Fits::Dirs(list)) => format!(" -x -a '{list} (__fish_complete_directories)'"),
        Some(Fits::Ids | Fits::Anything) => " -x".to_owned(),
    };
    format!("complete -c brisk -n {when} -l {}{short}{value} -d '{}'\n", flag.long, fish_quoted(flag.help))
}

fn fish_quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_every_value_says_what_it_may_be() {
        let flags = std::iter::once(None).chain(VERBS.iter().map(|row| Some(row.verb))).flat_map(flags::of);
        let of_flags = flags.filter_map(|flag| match flag.value {
            FlagValue::One(name) | FlagValue::Many(name) => Some(name),
            FlagValue::Switch | FlagValue::Maybe(_) | FlagValue::Word(..) => None,
        });
        let of_arguments = VERBS.iter().flat_map(|row| row.positionals).map(|positional| positional.name);
        let unknown: Vec<&str> = of_flags.chain(of_arguments).filter(|name| of_name(name).is_none()).collect();
        assert!(unknown.is_empty(), "`of_name` in src/cli/completion.rs is to say what {unknown:?} may be");
    }
}

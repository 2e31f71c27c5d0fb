//! Completion scripts of shells, from the tables of commands and flags.

use super::args::Shell;
use super::flags::{self, Flag, Value};
use super::verbs::{VERBS, Verb, VerbRow};

/// The script of a shell.
pub fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash(),
        Shell::Zsh => format!("#compdef brisk\nautoload -U +X bashcompinit && bashcompinit\n{}", bash()),
        Shell::Fish => fish(),
    }
}

fn listed() -> impl Iterator<Item = &'static VerbRow> {
    VERBS.iter().filter(|row| row.listed())
}

fn listed_flags(scope: Option<Verb>) -> impl Iterator<Item = &'static Flag> {
    flags::of(scope).filter(|flag| flag.listed)
}

fn words(scope: Option<Verb>) -> String {
    listed_flags(scope)
        .map(|flag| format!("--{}", flag.long))
        .chain(["--help".to_owned()])
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a container's name can follow.
fn takes_id(row: &VerbRow) -> bool {
    row.positionals.iter().any(|positional| positional.name == "ID") && !matches!(row.verb, Verb::Create | Verb::Run)
}

/// Flags that take a value before the command: the word after them is not the command.
fn valued() -> String {
    let long = listed_flags(None).filter(|flag| flag.value != Value::Switch);
    long.flat_map(|flag| [Some(format!("--{}", flag.long)), flag.short.map(|letter| format!("-{letter}"))])
        .flatten()
        .collect::<Vec<_>>()
        .join("|")
}

fn bash() -> String {
    let verbs: Vec<&str> = listed().map(|row| row.name).collect();
    let ids: Vec<&str> = listed().filter(|row| takes_id(row)).map(|row| row.name).collect();
    let mut cases = String::new();
    for row in listed() {
        cases += &format!("        {}) words=\"{}\" ;;\n", row.name, words(Some(row.verb)));
    }
    format!(
        r#"_brisk() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} verb="" words="" skip="" word
    local -a root=()
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        if [ -n "$skip" ]; then
            case $skip in --root|-r) root=(--root "$word") ;; esac
            skip=""
            continue
        fi
        case $word in
        --root=*) root=("$word") ;;
        {valued}) skip=$word ;;
        -*) ;;
        *) verb=$word; break ;;
        esac
    done
    if [ -z "$verb" ]; then
        words="{verbs} help"
        case $cur in -*) words="{global}" ;; esac
    else
        case $verb in
{cases}        esac
        case $cur in
        -*) ;;
        *)
            case $verb in
            {ids}) words=$(brisk "${{root[@]}}" list --quiet 2>/dev/null) ;;
            completion) words="bash zsh fish" ;;
            *) words="" ;;
            esac ;;
        esac
    fi
    case $prev in
    {paths}) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _brisk brisk
"#,
        valued = valued(),
        verbs = verbs.join(" "),
        global = words(None),
        ids = ids.join("|"),
        paths = path_flags(),
    )
}

fn path_flags() -> String {
    let mut names: Vec<&str> = VERBS
        .iter()
        .flat_map(|row| flags::of(Some(row.verb)))
        .chain(flags::of(None))
        .filter(|flag| is_path(flag))
        .map(|flag| flag.long)
        .collect();
    names.sort_unstable();
    names.dedup();
    names.iter().map(|name| format!("--{name}")).collect::<Vec<_>>().join("|")
}

fn is_path(flag: &Flag) -> bool {
    matches!(flag.value, Value::One("FILE" | "DIR" | "SOCKET") | Value::Many("FILE"))
}

fn fish() -> String {
    let mut text = String::from("complete -c brisk -f\n");
    for flag in listed_flags(None) {
        text += &fish_flag("__fish_use_subcommand", flag);
    }
    for row in listed() {
        text +=
            &format!("complete -c brisk -n __fish_use_subcommand -a {} -d '{}'\n", row.name, fish_quoted(row.about));
        let seen = format!("'__fish_seen_subcommand_from {}'", row.name);
        if takes_id(row) {
            text += &format!("complete -c brisk -n {seen} -a '(brisk list --quiet 2>/dev/null)'\n");
        }
        for flag in listed_flags(Some(row.verb)) {
            text += &fish_flag(&seen, flag);
        }
    }
    text
}

fn fish_flag(when: &str, flag: &Flag) -> String {
    let short = flag.short.map(|letter| format!(" -s {letter}")).unwrap_or_default();
    let value = match flag.value {
        Value::Switch | Value::Maybe(_) => "",
        _ if is_path(flag) => " -r -F",
        _ => " -x",
    };
    format!("complete -c brisk -n {when} -l {}{short}{value} -d '{}'\n", flag.long, fish_quoted(flag.help))
}

fn fish_quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

//! Manual pages in roff, from the tables of commands and flags and from [`super::manual`]: brisk(8) and one page for
//! each command.

use super::flags::{self, Flag, FlagValue};
use super::manual::{self, Manual};
use super::verbs::{Arity, Group, Positional, VERBS, Verb, VerbRow};
use super::version::VERSION;
use crate::spec::VERSION as SPEC_VERSION;

/// File names and texts of all pages.
pub fn pages() -> Vec<(String, String)> {
    let listed = VERBS.iter().filter(|row| row.listed());
    std::iter::once(("brisk.8".to_owned(), overview()))
        .chain(listed.map(|row| (format!("brisk-{}.8", row.name), page(row))))
        .collect()
}

fn overview() -> String {
    let mut text = title("brisk", "a daemonless OCI container runtime");
    text += ".SH SYNOPSIS\n.B brisk\n[\\fIflags\\fR] \\fIcommand\\fR [\\fIarguments\\fR]\n";
    text += ".SH DESCRIPTION\n";
    text += &paragraphs(&[
        &format!(
            "brisk runs containers described by bundles: directories with a config.json of the OCI runtime specification \
             {SPEC_VERSION} and a root file system. It takes the command lines of runc, crun and youki, and engines such as Docker, \
             containerd and Podman call it instead of those."
        ),
        "There is no daemon: each command does its work and ends. What is known of a container lies below --root.",
    ]);
    text += ".SH COMMANDS\n";
    for (group, title) in Group::LISTED {
        text += &format!(".SS {}\n", roff(title));
        for row in VERBS.iter().filter(|row| row.group == group) {
            text += &format!(".TP\n.BR brisk\\-{} (8)\n{}\n", roff(row.name), roff(row.about));
        }
    }
    text += &options(None);
    text += &examples(&[
        ("brisk check", "What this host can do."),
        ("brisk spec --bundle web", "A config.json for the root file system in web/rootfs."),
        ("brisk check web", "What is wrong with it."),
        ("brisk plan web", "What would be done."),
        ("brisk run --bundle web once", "Do it, and wait for the end."),
    ]);
    text += ".SH EXIT STATUS\n0 on success; 1 when brisk fails; 255 when \\fBexec\\fR fails. \\fBrun\\fR and \\fBexec\\fR return \
             the status of the container's process, 128 + n when signal n killed it.\n";
    text += &terms("ENVIRONMENT", manual::ENVIRONMENT.iter().copied());
    text += &terms("FILES", manual::FILES.iter().copied());
    text + &see_also(&["runc(8)", "crun(1)", "podman(1)", "containerd(8)", "namespaces(7)", "cgroups(7)"])
}

fn page(row: &VerbRow) -> String {
    let Manual { description, examples: lines, status, environment, see } = manual::of(row.verb);
    let mut text = title(&format!("brisk-{}", row.name), row.about);
    let arguments: String = row.positionals.iter().map(|positional| format!(" {}", usage(positional))).collect();
    let flags = if flags::of(Some(row.verb)).any(|flag| flag.listed) { "[\\fIflags\\fR]" } else { "" };
    let rest = format!("{flags}{arguments}");
    text += &format!(".SH SYNOPSIS\n.B brisk {}\n{}", roff(row.name), rest.trim_start());
    text += if rest.is_empty() { ".SH DESCRIPTION\n" } else { "\n.SH DESCRIPTION\n" };
    text += &paragraphs(description);
    if !row.positionals.is_empty() {
        text += ".SH ARGUMENTS\n";
        for positional in row.positionals {
            text += &format!(".TP\n.I {}\n{}\n", roff(positional.name), roff(positional.help));
        }
    }
    text += &options(Some(row.verb));
    text += &examples(lines);
    text += &format!(".SH EXIT STATUS\n0 on success. {}\n", roff(status));
    let known = manual::ENVIRONMENT.iter().copied().filter(|(name, _)| environment.contains(name));
    text += &terms("ENVIRONMENT", known);
    let bundle = row.positionals.iter().any(|positional| positional.name == "BUNDLE")
        || flags::of(Some(row.verb)).any(|flag| flag.long == "bundle");
    let state = environment.contains(&"XDG_RUNTIME_DIR");
    let trust = environment.contains(&"BRISK_TRUST_ANNOTATIONS");
    let files = manual::FILES.iter().copied().filter(|(name, _)| match *name {
        "config.json" => bundle,
        "/etc/brisk/trusted-annotations" => trust,
        "/run/brisk-skeleton" => matches!(row.verb, Verb::Create | Verb::Run),
        _ => state,
    });
    text += &terms("FILES", files);
    let pages: Vec<&str> = std::iter::once("brisk").chain(see.iter().copied()).collect();
    text + &see_also(&pages)
}

fn paragraphs(list: &[&str]) -> String {
    list.iter().map(|text| format!("{}\n", roff(text))).collect::<Vec<_>>().join(".PP\n")
}

fn examples(lines: &[(&str, &str)]) -> String {
    let shown = |(line, what): &(&str, &str)| {
        format!(".PP\n{}\n.PP\n.RS 4\n.nf\n# {}\n.fi\n.RE\n", roff(what), roff(line).replace('\'', "\\(aq"))
    };
    let lines: String = lines.iter().map(shown).collect();
    if lines.is_empty() { lines } else { format!(".SH EXAMPLES\n{}", lines.trim_start_matches(".PP\n")) }
}

fn terms(title: &str, list: impl Iterator<Item = (&'static str, &'static str)>) -> String {
    let list: String = list.map(|(name, what)| format!(".TP\n.I {}\n{}\n", roff(name), roff(what))).collect();
    if list.is_empty() { list } else { format!(".SH {title}\n{list}") }
}

/// Names without a section are brisk's own, in section 8.
fn see_also(pages: &[&str]) -> String {
    let shown: Vec<String> = pages
        .iter()
        .map(|page| match page.split_once('(') {
            Some((name, section)) => format!(".BR {} ({section}", roff(name)),
            None => format!(".BR {} (8)", roff(page)),
        })
        .collect();
    format!(".SH SEE ALSO\n{}\n", shown.join(",\n"))
}

fn usage(positional: &Positional) -> String {
    let name = format!("\\fI{}\\fR", roff(positional.name));
    match positional.arity {
        Arity::One => name,
        Arity::Optional => format!("[{name}]"),
        Arity::Several => format!("{name}..."),
        Arity::Any | Arity::Remainder => format!("[{name}...]"),
        Arity::Command => format!("[\\-\\- {name}...]"),
    }
}

fn options(scope: Option<Verb>) -> String {
    let flags: String = flags::of(scope).filter(|flag| flag.listed).map(option).collect();
    if flags.is_empty() { flags } else { format!(".SH OPTIONS\n{flags}") }
}

fn option(flag: &Flag) -> String {
    let short = flag.short.map(|letter| format!("\\fB\\-{letter}\\fR, ")).unwrap_or_default();
    let value = match flag.value {
        FlagValue::Switch => String::new(),
        FlagValue::One(name) | FlagValue::Many(name) | FlagValue::Word(name, _) => format!(" \\fI{}\\fR", roff(name)),
        FlagValue::Maybe(name) => format!("[=\\fI{}\\fR]", roff(name)),
    };
    format!(".TP\n{short}\\fB\\-\\-{}\\fR{value}\n{}\n", roff(flag.long), roff(flag.help))
}

fn title(name: &str, about: &str) -> String {
    let upper = name.to_ascii_uppercase();
    format!(
        ".TH {} 8 2026-11-28 \"brisk {VERSION}\" \"System administration\"\n.SH NAME\n{} \\- {}\n",
        roff(&upper),
        roff(name),
        roff(about)
    )
}

/// Text as roff takes it: dashes that stay dashes, letters of ASCII alone, a sentence a line, and no line that looks like a
/// request.
fn roff(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '…' => out.push_str("..."),
            'µ' => out.push_str("\\(mc"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '`' => out.push_str("\\(ga"),
            c => out.push(c),
        }
    }
    let out = out.replace(". ", ".\n");
    if out.starts_with(['.', '\'']) { format!("\\&{out}") } else { out }
}

//! Manual pages in roff, from the tables of commands and flags: brisk(8) and one page for each command.

use super::flags::{self, Flag, Value};
use super::verbs::{Arity, Positional, VERBS, Verb, VerbRow};
use super::{SPEC_VERSION, VERSION};

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
    text += &roff(&format!(
        "brisk runs containers described by bundles: directories with a config.json of the OCI runtime specification \
         {SPEC_VERSION} and a root file system. It takes the command lines of runc, crun and youki."
    ));
    text += "\n.SH COMMANDS\n";
    for row in VERBS.iter().filter(|row| row.listed()) {
        text += &format!(".TP\n.BR brisk-{} (8)\n{}\n", roff(row.name), roff(row.about));
    }
    text += &options(None);
    text += ".SH EXIT STATUS\n0 on success; 1 when brisk fails; 255 when \\fBexec\\fR fails. \\fBrun\\fR and \\fBexec\\fR return \
             the status of the container's process, 128 + n when signal n killed it.\n";
    text += ".SH FILES\n.TP\n.I /run/brisk\nState of containers of root.\n.TP\n.I $XDG_RUNTIME_DIR/brisk\nState of containers of \
             other users.\n";
    text
}

fn page(row: &VerbRow) -> String {
    let mut text = title(&format!("brisk-{}", row.name), row.about);
    let arguments: String = row.positionals.iter().map(|positional| format!(" {}", usage(positional))).collect();
    text += &format!(".SH SYNOPSIS\n.B brisk {}\n[\\fIflags\\fR]{arguments}\n", roff(row.name));
    if !row.positionals.is_empty() {
        text += ".SH ARGUMENTS\n";
        for positional in row.positionals {
            text += &format!(".TP\n.I {}\n{}\n", roff(positional.name), roff(positional.help));
        }
    }
    text += &options(Some(row.verb));
    text += ".SH SEE ALSO\n.BR brisk (8)\n";
    text
}

fn usage(positional: &Positional) -> String {
    let name = format!("\\fI{}\\fR", roff(positional.name));
    match positional.arity {
        Arity::One => name,
        Arity::Optional => format!("[{name}]"),
        Arity::Several => format!("{name}..."),
        Arity::Rest => format!("[{name}...]"),
    }
}

fn options(scope: Option<Verb>) -> String {
    let flags: String = flags::of(scope).filter(|flag| flag.listed).map(option).collect();
    if flags.is_empty() { flags } else { format!(".SH OPTIONS\n{flags}") }
}

fn option(flag: &Flag) -> String {
    let short = flag.short.map(|letter| format!("\\fB\\-{letter}\\fR, ")).unwrap_or_default();
    let value = match flag.value {
        Value::Switch => String::new(),
        Value::One(name) | Value::Many(name) | Value::Word(name, _) => format!(" \\fI{}\\fR", roff(name)),
        Value::Maybe(name) => format!("[=\\fI{}\\fR]", roff(name)),
    };
    format!(".TP\n{short}\\fB\\-\\-{}\\fR{value}\n{}\n", roff(flag.long), roff(flag.help))
}

fn title(name: &str, about: &str) -> String {
    let upper = name.to_ascii_uppercase();
    format!(".TH {} 8 \"\" \"brisk {VERSION}\"\n.SH NAME\n{} \\- {}\n", roff(&upper), roff(name), roff(about))
}

/// Text as roff takes it: dashes that stay dashes, and no line that looks like a request.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

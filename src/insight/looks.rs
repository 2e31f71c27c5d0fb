//! What standard output can show, and standard error.

use std::io::{IsTerminal, stderr, stdout};
use std::os::fd::AsFd;

use brisk::cli::output;
pub use brisk::cli::output::Audience;
use brisk::error::Result;
use brisk::sys::tty;
use nix::errno::Errno;

/// What may be written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Whether it is a terminal that obeys orders: to move the cursor, to begin again at the top.
    pub screen: bool,
    /// Whether it obeys those that colour.
    pub colours: bool,
    /// Whether it shows more than ASCII.
    pub unicode: bool,
    /// How many characters fit a line; `None` where that does not matter.
    pub width: Option<usize>,
}

impl Looks {
    /// A file, a pipe, a terminal of paper.
    pub const PLAIN: Looks = Looks { screen: false, colours: false, unicode: false, width: None };

    pub fn of_stdout() -> Looks {
        Looks::of(&stdout())
    }

    pub fn of_stderr() -> Looks {
        Looks::of(&stderr())
    }

    fn of(out: &(impl IsTerminal + AsFd)) -> Looks {
        if !out.is_terminal() {
            return Looks::PLAIN;
        }
        let word = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let screen = word("TERM").is_some_and(|term| term != "dumb");
        // As setlocale(3) has it, whatever language that is.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(word).unwrap_or_default().to_ascii_lowercase();
        let unicode = locale.contains("utf-8") || locale.contains("utf8");
        // A terminal without a size, as a serial line has none, has 0.
        let width = tty::size(out.as_fd()).ok().map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0);
        Looks {
            screen,
            // https://no-color.org
            colours: screen && word("NO_COLOR").is_none(),
            unicode: screen && unicode,
            width: width.or(Some(80)),
        }
    }

    /// Without colours, and with ASCII alone.
    pub fn plain(self) -> Looks {
        Looks { colours: false, unicode: false, ..self }
    }

    /// What stands for a number that is not known.
    pub fn unknown(self) -> &'static str {
        if self.unicode { "–" } else { "-" }
    }

    /// What stands for the rest of a word that does not fit.
    pub fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "~" }
    }

    /// The text in its colour.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.colours => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Title => "1",
            Tone::Faint => "2",
            Tone::Warning => "33",
            Tone::Alarm => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What a text is, for which a terminal may have a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Title,
    Faint,
    Warning,
    Alarm,
}

/// Writes to standard output; nobody reads a terminal that has hung up, either.
pub fn write(text: &str) -> Result<Audience> {
    match output::write(text) {
        Err(error) if error.root_errno() == Some(Errno::EIO) => Ok(Audience::Gone),
        result => result,
    }
}

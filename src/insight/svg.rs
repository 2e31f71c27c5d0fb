//! Pictures as SVG, and files that are written as a whole.
//!
//! Not trusted: the texts in them, which may be an image's.

use std::path::Path;

use brisk::cli::apart::Written;
use brisk::cli::output::{self, Audience};
use brisk::cli::put::Format;
use brisk::error::printable;
use brisk::error::{Context, Error, Result, Stage};
use brisk::state::{StateRoot, container_around};
use brisk::sys::destination::{self, Destination};
use brisk::sys::fs;
use nix::errno::Errno;

use crate::looks::Looks;
use crate::table::cut_front;

/// How wide every picture is, in the units of its coordinates.
pub const WIDTH: f64 = 960.0;

/// Colours by what they are for, of a light and of a dark page; both can be told apart by those who see no red or no green.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:600}.faint{fill:#59636e}.end{text-anchor:end}.mid{text-anchor:middle}.strong{font-weight:600}.on{fill:#fff;font-size:11px;pointer-events:none}\
.back{fill:#fff}.rule{fill:#d1d9e0}.a{fill:#0969da}.b{fill:#bc4c00}.c{fill:#8c959f}.mark{fill:none;stroke:#cf222e;stroke-width:2}\
.hand{fill:none;stroke:#8250df;stroke-width:1.2}.tip{fill:#8250df}.tick{fill:#59636e}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}.back{fill:#0d1117}.rule{fill:#3d444d}.a{fill:#4493f8}\
.b{fill:#f0883e}.c{fill:#656c76}.mark{stroke:#f85149}.hand{stroke:#ab7df8}.tip{fill:#ab7df8}.tick{fill:#9198a1}}";

/// A picture that grows downwards.
#[derive(Debug, Default)]
pub struct Svg {
    body: String,
    /// Where the next line begins.
    pub y: f64,
}

impl Svg {
    /// A box; what is said of it where a pointer rests on it may be empty.
    pub fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str, said: &str) {
        let shape =
            format!("<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"{class}\"");
        match said {
            "" => self.body.push_str(&format!("{shape}/>\n")),
            said => self.body.push_str(&format!("{shape}><title>{}</title></rect>\n", escaped(said))),
        }
    }

    /// An arrow, up or down.
    pub fn arrow(&mut self, (x, y): (f64, f64), (to_x, to_y): (f64, f64)) {
        let back = if to_y > y { -6.0 } else { 6.0 };
        self.body.push_str(&format!(
            "<path d=\"M{x:.1} {y:.1}L{to_x:.1} {:.1}\" class=\"hand\"/>\n\
             <path d=\"M{to_x:.1} {to_y:.1}l-3.5 {back:.1}h7z\" class=\"tip\"/>\n",
            to_y + back
        ));
    }

    /// A line of text that stands on `y`.
    pub fn text(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        self.body.push_str(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>\n", escaped(text)));
    }

    /// The picture; `title` is what it is called where nobody sees it.
    pub fn finish(self, title: &str) -> String {
        let height = self.y + 12.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" \
             role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" class=\"back\"/>\n{}</svg>\n",
            escaped(title),
            self.body
        )
    }
}

/// Text as XML and HTML have it, without what neither has a way to write.
pub fn escaped(text: &str) -> String {
    printable(text).chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in XML.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
        out
    })
}

/// As much of the end of a path as fits so many columns: what it is called matters more than where it is.
pub fn short_path(text: &str, most: usize) -> String {
    cut_front(&printable(text), most, Looks { unicode: true, ..Looks::PLAIN })
}

/// Where a text goes that is written as a whole.
#[derive(Debug)]
pub enum NamedFile {
    Stdout,
    File(Destination, String),
}

impl NamedFile {
    /// Looks it up, standard output for `-`: what is not written to is refused before anything is done, and what is below one of
    /// these roots, where containers are kept.
    pub fn find(path: &Path, roots: &[StateRoot]) -> Result<NamedFile> {
        if path == Path::new("-") {
            return output::check_open().map(|()| NamedFile::Stdout);
        }
        let what = format!("write {}", path.display());
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let kept = roots.iter().find(|root| root.holds(dir)).map(|root| root.path().to_owned());
        if let Some(state) = kept.or_else(|| container_around(dir)) {
            let state = state.display();
            return Err(Error::new(Stage::Args, format!("{what}: the state of containers is kept in {state}"))
                .with_hint("name a file somewhere else"));
        }
        let found = Destination::writable_but_link(path).at(Stage::Args, || what.clone());
        Ok(NamedFile::File(found.map_err(Error::of_destination)?, what))
    }

    /// One that keeps what is written.
    pub fn find_file(path: &Path, roots: &[StateRoot]) -> Result<NamedFile> {
        match NamedFile::find(path, roots)? {
            NamedFile::File(Destination::Stream(_), what) => {
                Err(Error::new(Stage::Args, format!("{what}: it is no regular file")).with_hint("- is standard output"))
            }
            found => Ok(found),
        }
    }

    /// What is in it now, and no more than `most` bytes of that; none where there is nothing.
    pub fn read(&self, most: u64) -> Result<Option<Vec<u8>>> {
        let NamedFile::File(destination, what) = self else { return Ok(None) };
        let found = destination.read(most).at(Stage::Args, || format!("{what}: read what is there"));
        found.map_err(Error::of_destination)
    }

    /// [`NamedFile::write`] of what cannot be had again: a reader that went away is an error.
    pub fn keep(&self, text: &str) -> Result<()> {
        match self {
            NamedFile::Stdout if output::write(text)? == Audience::Gone => {
                Err(Error::errno(Stage::Args, "write standard output", Errno::EPIPE))
            }
            NamedFile::Stdout => Ok(()),
            file => file.write(text),
        }
    }

    pub fn write(&self, text: &str) -> Result<()> {
        match self {
            NamedFile::Stdout => output::print(text),
            NamedFile::File(destination, what) => destination.write(text.as_bytes()).at(Stage::Args, || what.clone()),
        }
    }
}

impl Written for NamedFile {
    fn is(&self, other: &NamedFile) -> bool {
        let one = match (self, other) {
            (NamedFile::Stdout, NamedFile::Stdout) => true,
            (NamedFile::File(one, _), NamedFile::File(other, _)) => one.is(other),
            _ => false,
        };
        one || self.kept().is_some_and(|file| other.kept() == Some(file))
    }

    fn kept(&self) -> Option<(u64, u64)> {
        match self {
            NamedFile::Stdout => fs::stat(fs::STDOUT).ok().and_then(|stat| destination::kept(&stat)),
            NamedFile::File(destination, _) => destination.kept(),
        }
    }
}

/// Whether a picture is what standard output is for. JSON that was asked for has no place there then.
pub fn takes_stdout(file: &Path, format: Format) -> Result<bool> {
    let takes = file == Path::new("-");
    if takes && format == Format::Json {
        return Err(Error::new(Stage::Args, "standard output cannot have both JSON and what - says")
            .with_hint("name a file instead of -"));
    }
    Ok(takes)
}

#[cfg(test)]
mod tests {
    use brisk::cli::apart::each_its_own;

    use super::*;

    #[test]
    fn a_text_is_a_text_in_a_picture() {
        let mut picture = Svg::default();
        picture.text((0.0, 0.0), "a", "<script>\u{1b}[2J\u{202e}&\"'\n");
        picture.bar((0.0, 0.0), (1.0, 1.0), "a", "</title><x>");
        let text = picture.finish("]]><x>");
        assert!(text.contains("&lt;script&gt;") && !text.contains("<x>") && !text.contains('\u{1b}'), "{text}");
        assert!(!text.contains('\u{202e}'), "{text}");
        assert_eq!(short_path("/usr/lib/libc.so.6", 10), "…libc.so.6");
        assert_eq!(short_path("/libc.so.6", 10), "/libc.so.6");
    }

    #[test]
    fn a_link_is_not_written_through() {
        let dir = std::env::temp_dir().join(format!("brisk-svg-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let (link, file) = (dir.join("link"), dir.join("file"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let error = NamedFile::find(&link, &[]).unwrap_err();
        assert!(error.hint().unwrap().contains("it is a link") && !file.exists(), "{error}");
        for text in ["one", "another"] {
            NamedFile::find(&file, &[]).unwrap().write(text).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2, "nothing else is left");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn each_text_has_a_file_of_its_own() {
        let dir = std::env::temp_dir().join(format!("brisk-svg-own-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let [file, link, symlink, fifo, new] = ["file", "hard", "soft", "fifo", "new"].map(|name| dir.join(name));
        std::fs::write(&file, "x").unwrap();
        std::fs::hard_link(&file, &link).unwrap();
        std::os::unix::fs::symlink(&file, &symlink).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _reader = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
        let around = dir.join(".");
        let find = |path: &Path| NamedFile::find(path, &[]).unwrap();
        for (one, other) in [
            (&file, &file),
            (&file, &link),
            (&file, &around.join("file")),
            (&fifo, &fifo),
            (&fifo, &around.join("fifo")),
            (&new, &around.join("new")),
        ] {
            let error = each_its_own(&[("--a", &find(one)), ("--b", &find(other))], &[]).unwrap_err();
            assert_eq!(error.to_string(), "args: --a and --b are one file", "{one:?} {other:?}");
        }
        for read in [&file, &link, &symlink] {
            let error = each_its_own(&[("--a", &find(&file))], &[("what is read", read)]).unwrap_err();
            assert!(error.to_string().contains("--a is what is read"), "{error}");
        }
        let null = Path::new("/dev/null");
        each_its_own(&[("--a", &find(null)), ("--b", &find(null)), ("--c", &find(&new))], &[("it", &file)]).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

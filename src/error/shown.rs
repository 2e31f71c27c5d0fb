//! How a text is shown that may be anybody's: an image's, a container's, a file's. Pure.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What a terminal obeys instead of showing it, and what it does not show at all: control characters, those that change the direction of the
/// text around them or break its line (Unicode's bidirectional controls, CVE-2021-42574), and those that are for programs (its property
/// `Default_Ignorable_Code_Point`: joiners, variation selectors, fillers, tags), of which two names that differ look the same, and each terminal
/// makes another number of columns.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// What a terminal would obey instead of showing it escaped: a message may quote what a container chose.
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        if is_unseen(c) {
            line.extend(c.escape_default())
        } else {
            line.push(c)
        }
        line
    })
}

/// How many bytes of a message are told: a path may have 4096 of them.
pub const LONGEST_MESSAGE: usize = 8 << 10;

/// How many bytes are told of one name or value that is in the way.
pub const LONGEST_NAME: usize = 256;

/// The text, or its beginning and its end where nobody would read the whole: what a file or a container says may be a megabyte.
pub fn bounded(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let (mut end, mut start) = (most / 2, text.len() - most / 2);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    while !text.is_char_boundary(start) {
        start += 1;
    }
    Cow::Owned(format!("{} [{} bytes more] {}", &text[..end], start - end, &text[start..]))
}

/// A word of a command line as a shell takes it, for commands that are advised.
pub fn shell_word(word: &OsStr) -> Cow<'_, str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    let text = word.to_str().filter(|text| !text.contains(is_unseen));
    match text {
        Some(text) if !text.is_empty() && text.bytes().all(|byte| plain(&byte)) => Cow::Borrowed(text),
        Some(text) => Cow::Owned(format!("'{}'", text.replace('\'', r"'\''"))),
        // As bash, zsh and ksh have it, and POSIX since 2024.
        None => {
            let byte = |byte: &u8| if plain(byte) { char::from(*byte).to_string() } else { format!("\\{byte:03o}") };
            Cow::Owned(format!("$'{}'", word.as_bytes().iter().map(byte).collect::<String>()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_to_its_end() {
        assert_eq!(bounded("short", 5), "short");
        let long = bounded(&format!("begins {} ends", "\u{5bb9}".repeat(1 << 20)), LONGEST_NAME).into_owned();
        assert!(
            long.len() < LONGEST_NAME + 50 && long.starts_with("begins \u{5bb9}") && long.ends_with(" ends"),
            "{}",
            long.len()
        );
        assert!(long.contains(" bytes more] "));
    }

    #[test]
    fn words_of_a_shell() {
        let words = ["/run/brisk", "/a b", "", "it's", "$(x)", "\u{5bb9}", "a\nb"];
        let quoted = ["/run/brisk", "'/a b'", "''", r"'it'\''s'", "'$(x)'", "'\u{5bb9}'", r"$'a\012b'"];
        for (word, quoted) in words.iter().zip(quoted) {
            assert_eq!(shell_word(OsStr::new(word)), quoted);
        }
        assert_eq!(shell_word(OsStr::from_bytes(b"/\xff'")), r"$'/\377\047'");
    }
}

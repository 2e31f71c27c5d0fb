//! /proc/PID/mountinfo (proc_pid_mountinfo(5)).
//!
//! Not trusted: the paths, which a container may choose; the kernel escapes what would end a field.

use std::borrow::Cow;
use std::io::Result;

use super::file;

/// One mount. Paths are as the kernel writes them; [`unescape`] gives the real ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountLine<'a> {
    /// The mount's id.
    pub id: u32,
    /// The file system's device number, `major:minor`.
    pub device: &'a [u8],
    /// What of the file system is visible: a path from its root.
    pub root: &'a [u8],
    /// Where, from the reader's root.
    pub point: &'a [u8],
    /// The type of the file system.
    pub fs_type: &'a [u8],
    /// The options of the file system.
    pub options: &'a [u8],
}

/// The text for a process, `self` for this one.
pub fn read(process: &str) -> Result<Vec<u8>> {
    file::read(format!("/proc/{process}/mountinfo"))
}

/// The mounts in the text: `36 35 98:0 /root /point rw,noatime shared:1 - type source options`.
pub fn parse(text: &[u8]) -> impl Iterator<Item = MountLine<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(line)
}

fn line(line: &[u8]) -> Option<MountLine<'_>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let (device, root, point) = (fields.nth(1)?, fields.next()?, fields.next()?);
    // Any number of optional fields, and then a dash.
    fields.find(|field| *field == b"-")?;
    Some(MountLine { id, device, root, point, fs_type: fields.next()?, options: fields.nth(1)? })
}

/// What else a line says of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountDetails<'a> {
    /// The id of the mount that it lies on.
    pub parent: u32,
    /// The options of the mount.
    pub attributes: &'a [u8],
    /// What it shares with others (`shared:1`, `master:2`), apart by spaces.
    pub propagation: &'a [u8],
    /// What was mounted.
    pub source: &'a [u8],
}

/// The mounts in the text with all that is said of them.
pub fn parse_whole(text: &[u8]) -> impl Iterator<Item = (MountLine<'_>, MountDetails<'_>)> {
    text.split(|byte| *byte == b'\n').filter_map(|text| Some((line(text)?, details(text)?)))
}

fn details(line: &[u8]) -> Option<MountDetails<'_>> {
    let end = line.windows(3).position(|part| part == b" - ")?;
    let mut fields = line[..end].splitn(7, |byte| *byte == b' ');
    let parent = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
    let attributes = fields.nth(3)?;
    let propagation = fields.next().unwrap_or_default();
    let source = line[end + 3..].split(|byte| *byte == b' ').nth(1)?;
    Some(MountDetails { parent, attributes, propagation, source })
}

/// The mount points in the text, each with its line.
pub fn points(text: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, &[u8])> {
    text.split(|byte| *byte == b'\n').filter_map(|text| Some((unescape(line(text)?.point), text)))
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(unescaped(text).collect())
}

/// [`unescape`] into a buffer, with a NUL byte behind it; its length, or nothing where it does not fit.
pub fn unescape_into(text: &[u8], buffer: &mut [u8]) -> Option<usize> {
    let mut len = 0;
    for byte in unescaped(text).chain([0]) {
        *buffer.get_mut(len)? = byte;
        len += 1;
    }
    Some(len - 1)
}

fn unescaped(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        let code = tail.split_first_chunk::<3>().filter(|_| first == b'\\');
        let code = code.and_then(|(digits, after)| Some((octal(digits)?, after)));
        let (byte, after) = code.unwrap_or((first, tail));
        rest = after;
        Some(byte)
    })
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let text =
            b"36 35 98:0 /a\\134b /c\\040d rw,noatime shared:1 master:2 - ext4 /dev/sda rw,errors=continue\nno line\n\
            37 36 0:5 / /x rw - proc proc rw\n";
        let mounts: Vec<_> = parse(text).collect();
        assert_eq!(mounts.iter().map(|mount| mount.id).collect::<Vec<_>>(), [36, 37]);
        let last = points(text).nth(1).map(|(point, line)| (point.into_owned(), line));
        assert_eq!(last, Some((b"/x".to_vec(), &b"37 36 0:5 / /x rw - proc proc rw"[..])));
        assert_eq!((mounts[0].device, mounts[0].fs_type), (&b"98:0"[..], &b"ext4"[..]));
        assert_eq!(mounts[0].options, b"rw,errors=continue");
        assert_eq!((&*unescape(mounts[0].root), &*unescape(mounts[0].point)), (&b"/a\\b"[..], &b"/c d"[..]));
        let (_, whole) = parse_whole(text).next().unwrap();
        assert_eq!((whole.parent, whole.attributes), (35, &b"rw,noatime"[..]));
        assert_eq!((whole.propagation, whole.source), (&b"shared:1 master:2"[..], &b"/dev/sda"[..]));
        assert_eq!(&*unescape(b"/\\777\\04"), b"/\\777\\04", "no escapes");
    }
}

//! What an errno is called.

use nix::errno::Errno;

/// Where nix has words of its own.
const AS_IN_GLIBC: &[(Errno, &str)] = &[
    (Errno::EIO, "input/output error"),
    (Errno::EBADF, "bad file descriptor"),
    (Errno::EAGAIN, "resource temporarily unavailable"),
    (Errno::ENOMEM, "cannot allocate memory"),
    (Errno::EXDEV, "invalid cross-device link"),
    (Errno::ENFILE, "too many open files in system"),
    (Errno::ENOTTY, "inappropriate ioctl for device"),
    (Errno::EDOM, "numerical argument out of domain"),
    (Errno::ERANGE, "numerical result out of range"),
    (Errno::EDEADLK, "resource deadlock avoided"),
    (Errno::ENOLCK, "no locks available"),
    (Errno::ELOOP, "too many levels of symbolic links"),
    (Errno::EBADMSG, "bad message"),
    (Errno::EILSEQ, "invalid or incomplete multibyte or wide character"),
    (Errno::EOPNOTSUPP, "operation not supported"),
    (Errno::ENETRESET, "network dropped connection on reset"),
    (Errno::EDQUOT, "disk quota exceeded"),
];

/// The text for `errno` that glibc has, in lower case, as Go prints it: engines match these texts. The C library that brisk is
/// linked with may have others.
pub fn text(errno: Errno) -> String {
    if let Some((_, said)) = AS_IN_GLIBC.iter().find(|(known, _)| *known == errno) {
        return (*said).to_owned();
    }
    let mut chars = errno.desc().chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The text of an error of std, in the words of [`text`].
pub fn io_text(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(raw) => text(Errno::from_raw(raw)),
        None => error.to_string(),
    }
}

/// Whether it says that we or the host have too little of something, and so nothing of what was asked about.
pub fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_env = "gnu")]
    #[test]
    fn the_words_are_those_of_glibc() {
        for number in 1..=133 {
            let errno = Errno::from_raw(number);
            // The alphabet has gaps.
            if errno == Errno::UnknownErrno {
                continue;
            }
            let said = std::io::Error::from_raw_os_error(number).to_string();
            let said = said.rsplit_once(" (").unwrap().0;
            assert!(text(errno).eq_ignore_ascii_case(said), "{number}: {}, not {said}", text(errno));
        }
    }
}

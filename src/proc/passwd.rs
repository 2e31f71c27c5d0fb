//! passwd(5). getpwuid(3) loads NSS modules, which a static program cannot.
//!
//! Not trusted: the text, which may be an image's.

/// One user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswdUser<'a> {
    /// The login name.
    pub name: &'a [u8],
    /// The user's number.
    pub uid: u32,
    /// The home directory; empty where the line ends before it.
    pub home: &'a [u8],
}

/// The users in the text of a passwd file. Does not allocate.
pub fn users(text: &[u8]) -> impl Iterator<Item = PasswdUser<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, number, home) = (fields.next()?, fields.nth(1)?, fields.nth(2));
        Some(PasswdUser { name, uid: decimal(number)?, home: home.unwrap_or_default() })
    })
}

/// The login name of `uid`: that of its first entry.
pub fn name_of(text: &[u8], uid: u32) -> Option<&str> {
    let user = users(text).find(|user| user.uid == uid)?;
    std::str::from_utf8(user.name).ok()
}

/// The home directory of `uid`: that of its first entry that has one. Does not allocate.
pub fn home_of(text: &[u8], uid: u32) -> Option<&[u8]> {
    users(text).find(|user| user.uid == uid && !user.home.is_empty()).map(|user| user.home)
}

fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

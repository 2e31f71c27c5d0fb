//! passwd(5). getpwuid(3) loads NSS modules, which a static program cannot.
//!
//! Not trusted: the text, which may be an image's.

use std::io::{ErrorKind, Result};

/// The users of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(Vec<u8>);

impl Users {
    /// Reads /etc/passwd. Where there is none nobody has a name.
    pub fn of_host() -> Result<Users> {
        match super::file::read("/etc/passwd") {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Users::default()),
            text => text.map(Users),
        }
    }

    /// The login name of `uid`: that of its first entry.
    pub fn name(&self, uid: u32) -> Option<&str> {
        name_of(&self.0, uid)
    }
}

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

/// The login name of `uid` in the text of a passwd file: that of its first entry.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_of_its_first_entry() {
        let users = Users(b"root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:/bin/sh\nbob:x:1000:1000::/:/bin/sh\n".into());
        assert_eq!((users.name(1000), users.name(100)), (Some("ann"), None));
    }
}

//! Where somebody listens who speaks D-Bus. Pure.

use std::path::PathBuf;

/// The address of a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A file.
    Path(PathBuf),
    /// A name in the abstract namespace.
    Abstract(Vec<u8>),
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The service itself.
    Service,
    /// A message bus that passes messages on to the service.
    Bus,
}

/// The unix sockets in a list of D-Bus addresses (`unix:path=/run/bus;unix:abstract=x,guid=…`).
pub fn addresses(list: &str) -> Vec<Address> {
    list.split(';').filter_map(address).collect()
}

fn address(text: &str) -> Option<Address> {
    let pairs = text.strip_prefix("unix:")?.split(',').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find_map(|(key, value)| match key {
        "path" => Some(Address::Path(PathBuf::from(String::from_utf8(unescape(value)?).ok()?))),
        "abstract" => unescape(value).map(Address::Abstract),
        _ => None,
    })
}

/// Undoes `%XX`.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            byte => out.push(byte),
        }
    }
    Some(out)
}

//! As much of the Protocol Buffers wire format as CRIU's RPC takes: varints, strings and messages in messages.

use crate::error::{Error, Result, Stage};

/// One value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// An integer, a boolean or an enumeration. Negative ones are sign-extended to 64 bits.
    Number(i64),
    /// A string.
    Text(String),
    /// A message.
    Message(Vec<(u32, FieldValue)>),
}

impl From<bool> for FieldValue {
    fn from(value: bool) -> FieldValue {
        FieldValue::Number(value.into())
    }
}

impl From<i32> for FieldValue {
    fn from(value: i32) -> FieldValue {
        FieldValue::Number(value.into())
    }
}

impl From<&str> for FieldValue {
    fn from(value: &str) -> FieldValue {
        FieldValue::Text(value.to_owned())
    }
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// The bytes of a message.
pub fn encode(fields: &[(u32, FieldValue)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (field, value) in fields {
        let tag = u64::from(*field) << 3;
        match value {
            FieldValue::Number(number) => {
                put_varint(&mut bytes, tag | VARINT);
                put_varint(&mut bytes, *number as u64);
            }
            FieldValue::Text(text) => put_block(&mut bytes, tag, text.as_bytes()),
            FieldValue::Message(inner) => put_block(&mut bytes, tag, &encode(inner)),
        }
    }
    bytes
}

fn put_block(bytes: &mut Vec<u8>, tag: u64, block: &[u8]) {
    put_varint(bytes, tag | LENGTH);
    put_varint(bytes, block.len() as u64);
    bytes.extend_from_slice(block);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// One field of a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A varint.
    Number(u64),
    /// A string or a message: only who knows the field can tell.
    Block(&'a [u8]),
}

impl<'a> Received<'a> {
    /// The number; 0 of a block.
    pub fn number(self) -> i64 {
        match self {
            Received::Number(number) => number as i64,
            Received::Block(_) => 0,
        }
    }

    /// The bytes; none of a number.
    pub fn block(self) -> &'a [u8] {
        match self {
            Received::Number(_) => &[],
            Received::Block(block) => block,
        }
    }

    /// The bytes as text.
    pub fn text(self) -> String {
        String::from_utf8_lossy(self.block()).into_owned()
    }
}

/// The fields of a message, in order. Fixed-size ones, of which CRIU has none that matters here, are left out.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<(u32, Received<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes)?;
        let field = u32::try_from(tag >> 3).map_err(|_| malformed())?;
        match tag & 7 {
            VARINT => fields.push((field, Received::Number(take_varint(&mut bytes)?))),
            LENGTH => {
                let length = usize::try_from(take_varint(&mut bytes)?).map_err(|_| malformed())?;
                fields.push((field, Received::Block(take(&mut bytes, length)?)));
            }
            FIXED64 => drop(take(&mut bytes, 8)?),
            FIXED32 => drop(take(&mut bytes, 4)?),
            _ => return Err(malformed()),
        }
    }
    Ok(fields)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (block, rest) = bytes.split_at_checked(length).ok_or_else(malformed)?;
    *bytes = rest;
    Ok(block)
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or_else(malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed())
}

fn malformed() -> Error {
    Error::new(Stage::Criu, "criu sent a message that cannot be parsed")
}

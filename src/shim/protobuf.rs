//! The protobuf encoding (https://protobuf.dev/programming-guides/encoding), as much as containerd's messages need.
//!
//! There are no generated types: a request is read field by field from the bytes it came as, an answer is written field by
//! field. `integration/shim` compares both with the generated types of containerd-shim-protos.

/// What is wrong with a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// One field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// A well-formed message. A field that is missing has its type's zero; of several the last counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a>(&'a [u8]);

/// A varint, and what is behind it.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let mut number = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((number, &bytes[index + 1..]));
        }
    }
    Err(Malformed)
}

/// The first field: its number and value, and what is behind it.
fn field(bytes: &[u8]) -> Result<(u64, Value<'_>, &[u8]), Malformed> {
    let (key, bytes) = varint(bytes)?;
    let fixed = |length: usize| -> Result<(Value<'_>, &[u8]), Malformed> {
        let (value, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
        let number = value.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok((Value::Number(number), rest))
    };
    let (value, rest) = match key & 7 {
        0 => varint(bytes).map(|(number, rest)| (Value::Number(number), rest))?,
        1 => fixed(8)?,
        2 => {
            let (length, bytes) = varint(bytes)?;
            let length = usize::try_from(length).map_err(|_| Malformed)?;
            let (value, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
            (Value::Bytes(value), rest)
        }
        5 => fixed(4)?,
        _ => return Err(Malformed),
    };
    if key >> 3 == 0 { Err(Malformed) } else { Ok((key >> 3, value, rest)) }
}

impl<'a> Message<'a> {
    /// Checks the whole of it, so that reading cannot fail on its form later.
    pub fn new(bytes: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, _, rest) = field(rest)?;
        }
        Ok(Message(bytes))
    }

    fn fields(self) -> impl Iterator<Item = (u64, Value<'a>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (number, value, behind) = field(rest).ok()?;
            rest = behind;
            Some((number, value))
        })
    }

    pub fn number(self, field: u64) -> Result<u64, Malformed> {
        match self.fields().filter(|(number, _)| *number == field).last() {
            None => Ok(0),
            Some((_, Value::Number(number))) => Ok(number),
            Some((_, Value::Bytes(_))) => Err(Malformed),
        }
    }

    /// A number that the message's type says has 32 bits.
    pub fn number32(self, field: u64) -> Result<u32, Malformed> {
        // As every implementation does: the upper half of a longer one is dropped.
        self.number(field).map(|number| (number & 0xffff_ffff) as u32)
    }

    pub fn flag(self, field: u64) -> Result<bool, Malformed> {
        self.number(field).map(|number| number != 0)
    }

    /// All values of a repeated field.
    pub fn all(self, field: u64) -> Result<Vec<&'a [u8]>, Malformed> {
        let of_field = self.fields().filter(|(number, _)| *number == field);
        of_field
            .map(|(_, value)| match value {
                Value::Bytes(bytes) => Ok(bytes),
                Value::Number(_) => Err(Malformed),
            })
            .collect()
    }

    /// Bytes, or a message if it is there.
    pub fn bytes(self, field: u64) -> Result<Option<&'a [u8]>, Malformed> {
        self.all(field).map(|all| all.last().copied())
    }

    pub fn text(self, field: u64) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(field)?.unwrap_or_default()).map_err(|_| Malformed)
    }

    pub fn texts(self, field: u64) -> Result<Vec<&'a str>, Malformed> {
        self.all(field)?.into_iter().map(|bytes| std::str::from_utf8(bytes).map_err(|_| Malformed)).collect()
    }

    pub fn message(self, field: u64) -> Result<Option<Message<'a>>, Malformed> {
        self.bytes(field)?.map(Message::new).transpose()
    }
}

/// A message that is being written. A field with its type's zero is left out, as the encoding has it.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    pub fn done(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub fn number(&mut self, field: u64, number: impl Into<u64>) -> &mut Writer {
        let number = number.into();
        if number != 0 {
            self.varint(field << 3);
            self.varint(number);
        }
        self
    }

    /// A floating-point number of 64 bits.
    pub fn double(&mut self, field: u64, number: f64) -> &mut Writer {
        if number != 0.0 {
            self.varint(field << 3 | 1);
            self.0.extend_from_slice(&number.to_le_bytes());
        }
        self
    }

    /// Numbers in one field.
    pub fn packed(&mut self, field: u64, numbers: &[u64]) -> &mut Writer {
        let mut all = Writer::new();
        numbers.iter().for_each(|number| all.varint(*number));
        self.bytes(field, &all.0)
    }

    /// A message that is there even if it says nothing, or an element of a repeated field.
    pub fn element(&mut self, field: u64, bytes: &[u8]) -> &mut Writer {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Writer {
        if bytes.is_empty() { self } else { self.element(field, bytes) }
    }

    pub fn text(&mut self, field: u64, text: &str) -> &mut Writer {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(&mut self, field: u64, write: impl FnOnce(&mut Writer)) -> &mut Writer {
        let mut message = Writer::new();
        write(&mut message);
        self.element(field, &message.0)
    }
}

/// A whole message.
pub fn answer(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.done()
}

#[cfg(test)]
mod tests {
    use super::{Malformed, Message, Writer};

    #[test]
    fn what_is_written_can_be_read() {
        let mut writer = Writer::new();
        writer.text(1, "id").number(2, 300u64).number(3, 0u64).number(4, u64::MAX).packed(7, &[1, 128]);
        writer
            .message(5, |inner| {
                inner.text(1, "a");
            })
            .message(5, |inner| {
                inner.text(1, "b");
            });
        let bytes = writer.done();
        let message = Message::new(&bytes).unwrap();
        assert_eq!((message.text(1), message.number(2), message.number(3)), (Ok("id"), Ok(300), Ok(0)));
        assert_eq!((message.number(4), message.number32(4)), (Ok(u64::MAX), Ok(u32::MAX)));
        assert_eq!(message.all(5).unwrap().len(), 2);
        assert_eq!(message.message(5).unwrap().unwrap().text(1), Ok("b"));
        assert_eq!(message.bytes(7), Ok(Some([1, 128, 1].as_slice())));
        assert_eq!(message.bytes(6), Ok(None));
    }

    #[test]
    fn a_broken_message_is_refused_wherever_it_breaks() {
        let mut writer = Writer::new();
        writer.text(1, "abc").double(2, 1.5).number(3, 70_000u64);
        let bytes = writer.done();
        let whole = [0, 5, 14, 18];
        for length in 0..=bytes.len() {
            let read = Message::new(&bytes[..length]);
            assert_eq!(read.is_ok(), whole.contains(&length), "{length} bytes");
        }
        for bad in [&[0x08][..], &[0x00, 0x01], &[0x0b], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x88; 11]] {
            assert_eq!(Message::new(bad), Err(Malformed), "{bad:x?}");
        }
    }

    #[test]
    fn a_field_of_another_type_and_text_that_is_none_are_refused() {
        let message = Message::new(&[0x0a, 0x01, 0xff, 0x10, 0x05]).unwrap();
        assert_eq!((message.number(1), message.text(2)), (Err(Malformed), Err(Malformed)));
        assert_eq!((message.text(1), message.number(2)), (Err(Malformed), Ok(5)));
    }
}

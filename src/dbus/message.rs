//! D-Bus messages to and from bytes (D-Bus specification, "Message Protocol"). Touches nothing.
//!
//! Own code rather than a crate: `rustbus`, the one synchronous candidate, added 88 kB to the release binary and
//! brought second copies of nix, bitflags and thiserror for the five methods that are called here, and it authenticates in
//! separate round trips without a time-out.

use crate::dbus::value::Value;

/// The largest message that is read; what is said here is a few hundred bytes.
const MAX_MESSAGE: usize = 1 << 24;

/// Bytes of the fixed part of a header.
const FIXED: usize = 16;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A method call.
    MethodCall,
    /// Its reply.
    Return,
    /// Its refusal.
    Error,
    /// A signal.
    Signal,
}

/// A method call to be sent.
#[derive(Clone, Debug)]
pub struct MethodCall<'a> {
    /// The bus name of the receiver; none on a connection to the receiver itself.
    pub destination: Option<&'a str>,
    /// The object.
    pub path: &'a str,
    /// The interface of the method.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// The arguments.
    pub body: Vec<Value>,
}

impl MethodCall<'_> {
    /// The bytes of the call. Little-endian on every machine: the format says which it is.
    pub fn encode(&self, serial: u32) -> Vec<u8> {
        let mut body = Encoder { bytes: Vec::new() };
        self.body.iter().for_each(|value| body.value(value));
        let signature: String = self.body.iter().map(Value::signature).collect();

        let mut out = Encoder { bytes: vec![b'l', 1, 0, 1] };
        out.u32(body.bytes.len() as u32);
        out.u32(serial);
        out.array(8, |out| {
            out.field(1, "o", self.path);
            out.field(2, "s", self.interface);
            if let Some(name) = self.destination {
                out.field(6, "s", name);
            }
            if !signature.is_empty() {
                out.align(8);
                out.bytes.push(8);
                out.signature("g");
                out.signature(&signature);
            }
            out.field(3, "s", self.member);
        });
        out.align(8);
        out.bytes.append(&mut body.bytes);
        out.bytes
    }
}

struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.align(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    /// A header field with a string in it.
    fn field(&mut self, code: u8, kind: &str, text: &str) {
        self.align(8);
        self.bytes.push(code);
        self.signature(kind);
        self.string(text);
    }

    /// An array: its length in bytes does not count the padding before the first item.
    fn array(&mut self, item_alignment: usize, fill: impl FnOnce(&mut Encoder)) {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        self.align(item_alignment);
        let start = self.bytes.len();
        fill(self);
        let length = (self.bytes.len() - start) as u32;
        if let Some(slot) = self.bytes.get_mut(length_at..length_at + 4) {
            slot.copy_from_slice(&length.to_le_bytes());
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(v) => self.u32(u32::from(*v)),
            Value::Byte(v) => self.bytes.push(*v),
            Value::I16(v) => self.put(&v.to_le_bytes()),
            Value::U16(v) => self.put(&v.to_le_bytes()),
            Value::I32(v) => self.put(&v.to_le_bytes()),
            Value::U32(v) => self.u32(*v),
            Value::I64(v) => self.put(&v.to_le_bytes()),
            Value::U64(v) | Value::Double(v) => self.put(&v.to_le_bytes()),
            Value::Str(text) | Value::Path(text) => self.string(text),
            Value::Array { element, items } => self.array(alignment(element), |out| {
                items.iter().for_each(|item| out.value(item));
            }),
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().for_each(|field| self.value(field));
            }
            Value::Entry(entry) => {
                self.align(8);
                self.value(&entry.0);
                self.value(&entry.1);
            }
            Value::Variant(inner) => {
                self.signature(&inner.signature());
                self.value(inner);
            }
        }
    }
}

/// The alignment of values of a type.
fn alignment(signature: &str) -> usize {
    match signature.bytes().next() {
        Some(b'y' | b'g' | b'v') | None => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        Some(_) => 4,
    }
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusMessage {
    /// What it is.
    pub kind: MessageKind,
    /// The serial of the call it answers.
    pub reply_to: Option<u32>,
    /// Who sent it, which a bus says; empty without one.
    pub sender: String,
    /// The method or signal.
    pub member: String,
    /// The name of an error.
    pub error: String,
    /// The types of the body.
    pub signature: String,
    body: Vec<u8>,
    endian: ByteOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl BusMessage {
    /// The length of the message whose beginning is `bytes`; `None` when too little is there to tell.
    /// The error says what is wrong with it.
    pub fn length(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        let Some(fixed) = bytes.get(..FIXED) else { return Ok(None) };
        let endian = endian(fixed)?;
        let mut head = Decoder { bytes: fixed, at: 4, endian };
        let body = head.u32()? as usize;
        head.u32()?;
        let fields = head.u32()? as usize;
        let length = (FIXED.saturating_add(fields)).next_multiple_of(8).saturating_add(body);
        if length > MAX_MESSAGE { Err("it is too long") } else { Ok(Some(length)) }
    }

    /// Whether it says that it answers a call.
    pub fn is_answer(bytes: &[u8]) -> bool {
        matches!(bytes.get(1), Some(2 | 3))
    }

    /// Decodes one whole message.
    pub fn decode(bytes: &[u8]) -> Result<BusMessage, &'static str> {
        let endian = endian(bytes)?;
        let kind = match bytes.get(1) {
            Some(1) => MessageKind::MethodCall,
            Some(2) => MessageKind::Return,
            Some(3) => MessageKind::Error,
            Some(4) => MessageKind::Signal,
            _ => return Err("it is of an unknown kind"),
        };
        let mut head = Decoder { bytes, at: 12, endian };
        let end = FIXED + head.u32()? as usize;
        let mut message = BusMessage {
            kind,
            reply_to: None,
            sender: String::new(),
            member: String::new(),
            error: String::new(),
            signature: String::new(),
            body: Vec::new(),
            endian,
        };
        while head.at < end {
            head.align(8);
            let code = head.byte()?;
            let text = match head.signature()?.as_str() {
                "s" | "o" => head.string()?,
                "g" => head.signature()?,
                "u" => {
                    let number = head.u32()?;
                    if code == 5 {
                        message.reply_to = Some(number);
                    }
                    continue;
                }
                _ => return Err("a header field is of an unknown type"),
            };
            match code {
                3 => message.member = text,
                4 => message.error = text,
                7 => message.sender = text,
                8 => message.signature = text,
                _ => {}
            }
        }
        message.body = bytes.get(end.next_multiple_of(8)..).ok_or("it is too short")?.to_vec();
        Ok(message)
    }

    /// The leading strings and object paths of the body; numbers among them are passed over.
    pub fn strings(&self) -> Vec<String> {
        let mut body = Decoder { bytes: &self.body, at: 0, endian: self.endian };
        let mut found = Vec::new();
        for kind in self.signature.bytes() {
            let text = match kind {
                b's' | b'o' => body.string(),
                b'u' => {
                    if body.u32().is_err() {
                        break;
                    }
                    continue;
                }
                b'v' => match body.signature() {
                    Ok(inner) if inner == "s" || inner == "o" => body.string(),
                    _ => break,
                },
                _ => break,
            };
            match text {
                Ok(text) => found.push(text),
                Err(_) => break,
            }
        }
        found
    }
}

fn endian(bytes: &[u8]) -> Result<ByteOrder, &'static str> {
    match bytes.first() {
        Some(b'l') => Ok(ByteOrder::Little),
        Some(b'B') => Ok(ByteOrder::Big),
        _ => Err("it is not a D-Bus message"),
    }
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    endian: ByteOrder,
}

impl Decoder<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Result<&[u8], &'static str> {
        let end = self.at.checked_add(length).ok_or("it is too short")?;
        let bytes = self.bytes.get(self.at..end).ok_or("it is too short")?;
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        self.take(1).map(|bytes| bytes.first().copied().unwrap_or_default())
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.align(4);
        let endian = self.endian;
        let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| "it is too short")?;
        Ok(match endian {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    }

    fn text(&mut self, length: usize) -> Result<String, &'static str> {
        let text = String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "a text is not UTF-8")?;
        self.take(1)?;
        Ok(text)
    }

    fn string(&mut self) -> Result<String, &'static str> {
        let length = self.u32()? as usize;
        self.text(length)
    }

    fn signature(&mut self) -> Result<String, &'static str> {
        let length = self.byte()?;
        self.text(length.into())
    }
}

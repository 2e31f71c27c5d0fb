//! D-Bus values as data: what a unit property is set to. Pure.

use std::fmt;

/// A value of a D-Bus type. Descriptors are left out: nothing here passes any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`, as the bits of the number, so that values can be compared.
    Double(u64),
    /// `s`
    Str(String),
    /// `o`
    Path(String),
    /// `aT`
    Array {
        /// The signature of every item; an empty list has one too.
        element: String,
        /// The items.
        items: Vec<Value>,
    },
    /// `(T…)`
    Struct(Vec<Value>),
    /// `{KV}`, only inside of an array.
    Entry(Box<(Value, Value)>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// A string.
    pub fn str(text: impl Into<String>) -> Value {
        Value::Str(text.into())
    }

    /// `ay`
    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Array { element: "y".into(), items: bytes.iter().copied().map(Value::Byte).collect() }
    }

    /// The type, as D-Bus writes it.
    pub fn signature(&self) -> String {
        match self {
            Value::Bool(_) => "b".into(),
            Value::Byte(_) => "y".into(),
            Value::I16(_) => "n".into(),
            Value::U16(_) => "q".into(),
            Value::I32(_) => "i".into(),
            Value::U32(_) => "u".into(),
            Value::I64(_) => "x".into(),
            Value::U64(_) => "t".into(),
            Value::Double(_) => "d".into(),
            Value::Str(_) => "s".into(),
            Value::Path(_) => "o".into(),
            Value::Array { element, .. } => format!("a{element}"),
            Value::Struct(fields) => format!("({})", fields.iter().map(Value::signature).collect::<String>()),
            Value::Entry(entry) => format!("{{{}{}}}", entry.0.signature(), entry.1.signature()),
            Value::Variant(_) => "v".into(),
        }
    }
}

/// The GVariant text form: what `brisk plan` prints and an annotation may hold.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(v) => write!(f, "{v}"),
            Value::Byte(v) => write!(f, "byte {v}"),
            Value::I16(v) => write!(f, "int16 {v}"),
            Value::U16(v) => write!(f, "uint16 {v}"),
            Value::I32(v) => write!(f, "{v}"),
            Value::U32(v) => write!(f, "uint32 {v}"),
            Value::I64(v) => write!(f, "int64 {v}"),
            Value::U64(v) => write!(f, "uint64 {v}"),
            Value::Double(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Value::Str(text) => quoted(f, text),
            Value::Path(text) => {
                f.write_str("objectpath ")?;
                quoted(f, text)
            }
            Value::Array { element, items } if items.is_empty() => write!(f, "@a{element} []"),
            Value::Array { items, .. } if matches!(items.first(), Some(Value::Entry(_))) => list(f, "{", items, "}"),
            Value::Array { items, .. } => list(f, "[", items, "]"),
            Value::Struct(fields) if fields.len() == 1 => list(f, "(", fields, ",)"),
            Value::Struct(fields) => list(f, "(", fields, ")"),
            Value::Entry(entry) => write!(f, "{}: {}", entry.0, entry.1),
            Value::Variant(inner) => write!(f, "<{inner}>"),
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("'")?;
    for c in text.chars() {
        match c {
            '\'' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("'")
}

fn list(f: &mut fmt::Formatter<'_>, open: &str, items: &[Value], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        write!(f, "{item}")?;
    }
    f.write_str(close)
}

/// Splits the first complete type off a signature.
pub fn split_type(signature: &str) -> Option<(&str, &str)> {
    let end = type_len(signature.as_bytes(), 0)?;
    Some(signature.split_at(end))
}

/// Types may nest 32 deep in arrays and as deep in structures (D-Bus specification, valid signatures).
const MAX_DEPTH: usize = 32;

fn type_len(bytes: &[u8], depth: usize) -> Option<usize> {
    if depth > MAX_DEPTH {
        return None;
    }
    match bytes.first()? {
        b'b' | b'y' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'v' => Some(1),
        b'a' => Some(1 + type_len(bytes.get(1..)?, depth + 1)?),
        b'(' => {
            let mut at = 1;
            while *bytes.get(at)? != b')' {
                at += type_len(bytes.get(at..)?, depth + 1)?;
            }
            (at > 1).then_some(at + 1)
        }
        b'{' => {
            let key = type_len(bytes.get(1..)?, depth + 1)?;
            let value = type_len(bytes.get(1 + key..)?, depth + 1)?;
            (key == 1 && *bytes.get(1 + key + value)? == b'}').then_some(key + value + 2)
        }
        _ => None,
    }
}

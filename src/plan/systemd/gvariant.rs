//! Values of `org.systemd.property.*` annotations: GVariant text
//! (<https://docs.gtk.org/glib/gvariant-text-format.html>) to a D-Bus value. Pure.
//!
//! Types are not inferred over several elements: the first item of a list decides for the rest, unless
//! `@TYPE` or a keyword names the type.

use crate::dbus::value::{Value, split_type};

/// Why a text is not a value.
pub type Result<T> = std::result::Result<T, String>;

/// Values nest no deeper: the parser is recursive, and the text is somebody else's.
const MAX_DEPTH: usize = 16;

/// Type keywords and what they stand for.
const KEYWORDS: &[(&str, &str)] = &[
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
];

/// Parses one value.
pub fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { rest: text, depth: 0 };
    let value = parser.value(None)?;
    parser.skip();
    if parser.rest.is_empty() { Ok(value) } else { Err(format!("{:?} follows the value", parser.rest)) }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(format!("{token:?} is missing before {:?}", self.rest)) }
    }

    fn word(&mut self) -> &'a str {
        self.skip();
        let end =
            self.rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-._".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self, want: Option<&str>) -> Result<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("it is nested too deeply".into());
        }
        self.skip();
        let value = match self.rest.chars().next() {
            None => Err("it ends too early".into()),
            Some('\'' | '"') => self.string().and_then(|text| typed_string(text, want)),
            Some('[') => self.array(want),
            Some('{') => self.dictionary(want),
            Some('(') => self.structure(want),
            Some('<') => self.variant(want),
            Some('@') => self.annotated(want),
            Some(_) => self.bare(want),
        };
        self.depth -= 1;
        value
    }

    /// `@TYPE value`
    fn annotated(&mut self, want: Option<&str>) -> Result<Value> {
        self.expect("@")?;
        let (kind, rest) = split_type(self.rest).ok_or_else(|| format!("{:?} has no known type", self.rest))?;
        self.rest = rest;
        agree(want, kind)?;
        self.value(Some(kind))
    }

    /// A keyword, a boolean or a number.
    fn bare(&mut self, want: Option<&str>) -> Result<Value> {
        let word = self.word();
        if let Some((_, kind)) = KEYWORDS.iter().find(|(keyword, _)| *keyword == word) {
            agree(want, kind)?;
            return self.value(Some(kind));
        }
        match word {
            "true" | "false" => {
                agree(want, "b")?;
                Ok(Value::Bool(word == "true"))
            }
            _ => number(word, want),
        }
    }

    fn string(&mut self) -> Result<String> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map(|(_, c)| c);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if Some(c) == quote => {
                    self.rest = self.rest.get(at + c.len_utf8()..).unwrap_or_default();
                    return Ok(text);
                }
                '\\' => text.push(escape(&mut chars)?),
                '\0' => return Err("a string has a null character".into()),
                c => text.push(c),
            }
        }
        Err("a string does not end".into())
    }

    fn array(&mut self, want: Option<&str>) -> Result<Value> {
        let mut element = match want {
            None => None,
            Some(kind) => Some(kind.strip_prefix('a').ok_or_else(|| mismatch(kind))?.to_owned()),
        };
        self.expect("[")?;
        let mut items = Vec::new();
        while !self.eat("]") {
            if !items.is_empty() {
                self.expect(",")?;
            }
            let item = self.value(element.as_deref())?;
            element.get_or_insert_with(|| item.signature());
            items.push(item);
        }
        let element = element.ok_or("an empty list needs a type, like @as []")?;
        Ok(Value::Array { element, items })
    }

    fn dictionary(&mut self, want: Option<&str>) -> Result<Value> {
        let mut kinds = match want {
            None => None,
            Some(kind) => {
                let inner = kind.strip_prefix("a{").and_then(|k| k.strip_suffix('}')).ok_or_else(|| mismatch(kind))?;
                split_type(inner).map(|(key, value)| (key.to_owned(), value.to_owned()))
            }
        };
        self.expect("{")?;
        let mut items = Vec::new();
        while !self.eat("}") {
            if !items.is_empty() {
                self.expect(",")?;
            }
            let key = self.value(kinds.as_ref().map(|k| k.0.as_str()))?;
            self.expect(":")?;
            let value = self.value(kinds.as_ref().map(|k| k.1.as_str()))?;
            if key.signature().len() != 1 || matches!(key, Value::Variant(_)) {
                return Err("a key is not of a basic type".into());
            }
            kinds.get_or_insert_with(|| (key.signature(), value.signature()));
            items.push(Value::Entry(Box::new((key, value))));
        }
        let (key, value) = kinds.ok_or("an empty dictionary needs a type, like @a{sv} {}")?;
        Ok(Value::Array { element: format!("{{{key}{value}}}"), items })
    }

    fn structure(&mut self, want: Option<&str>) -> Result<Value> {
        let mut kinds = match want {
            None => None,
            Some(kind) => Some(kind.strip_prefix('(').and_then(|k| k.strip_suffix(')')).ok_or_else(|| mismatch(kind))?),
        };
        self.expect("(")?;
        let mut fields = Vec::new();
        while !self.eat(")") {
            let kind = match kinds {
                None => None,
                Some(list) => {
                    let (first, rest) = split_type(list).ok_or("a structure has too many fields")?;
                    kinds = Some(rest);
                    Some(first)
                }
            };
            fields.push(self.value(kind)?);
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        match (fields.is_empty(), kinds) {
            (true, _) => Err("a structure is empty".into()),
            (_, Some(rest)) if !rest.is_empty() => Err("a structure has too few fields".into()),
            _ => Ok(Value::Struct(fields)),
        }
    }

    fn variant(&mut self, want: Option<&str>) -> Result<Value> {
        agree(want, "v")?;
        self.expect("<")?;
        let inner = self.value(None)?;
        self.expect(">")?;
        Ok(Value::Variant(Box::new(inner)))
    }
}

fn mismatch(want: &str) -> String {
    format!("it is not of type {want}")
}

fn agree(want: Option<&str>, kind: &str) -> Result<()> {
    match want {
        Some(want) if want != kind => Err(mismatch(want)),
        _ => Ok(()),
    }
}

fn typed_string(text: String, want: Option<&str>) -> Result<Value> {
    match want {
        None | Some("s") => Ok(Value::Str(text)),
        Some("o") if is_object_path(&text) => Ok(Value::Path(text)),
        Some("o") => Err(format!("{text:?} is not an object path")),
        Some(want) => Err(mismatch(want)),
    }
}

/// A peer that is sent a bad object path closes the connection.
fn is_object_path(text: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}

fn escape(chars: &mut std::str::CharIndices<'_>) -> Result<char> {
    let Some((_, c)) = chars.next() else { return Err("a string does not end".into()) };
    match c {
        'a' => Ok('\u{7}'),
        'b' => Ok('\u{8}'),
        'f' => Ok('\u{c}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\u{b}'),
        'u' => code(chars, 4),
        'U' => code(chars, 8),
        c => Ok(c),
    }
}

/// The character whose code the next `digits` hexadecimal digits are.
fn code(chars: &mut std::str::CharIndices<'_>, digits: usize) -> Result<char> {
    let code: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
    u32::from_str_radix(&code, 16)
        .ok()
        .filter(|c| *c != 0 && code.len() == digits)
        .and_then(char::from_u32)
        .ok_or_else(|| format!("{code:?} is not the code of a character"))
}

/// The kind a number has when nothing names one is int32, or double when it has a point or an exponent.
fn number(word: &str, want: Option<&str>) -> Result<Value> {
    let bad = || format!("{word:?} is not a value");
    let hex = word.strip_prefix("0x");
    let float = hex.is_none() && word.contains(['.', 'e', 'E']);
    let kind = want.unwrap_or(if float { "d" } else { "i" });
    if kind == "d" {
        return word.parse::<f64>().ok().filter(|v| v.is_finite()).map(|v| Value::Double(v.to_bits())).ok_or_else(bad);
    }
    let wide = match hex {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => word.parse(),
    }
    .map_err(|_| bad())?;
    let range = |_| format!("{word} is out of the range of type {kind}");
    match kind {
        "y" => wide.try_into().map(Value::Byte).map_err(range),
        "n" => wide.try_into().map(Value::I16).map_err(range),
        "q" => wide.try_into().map(Value::U16).map_err(range),
        "i" => wide.try_into().map(Value::I32).map_err(range),
        "u" => wide.try_into().map(Value::U32).map_err(range),
        "x" => wide.try_into().map(Value::I64).map_err(range),
        "t" => wide.try_into().map(Value::U64).map_err(range),
        _ => Err(mismatch(kind)),
    }
}

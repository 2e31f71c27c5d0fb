//! A deserializer that takes JSON objects for structures, and nothing else. Pure.
//!
//! What serde derives also takes a list, whose items become the fields in the order they have in our source:
//! `"process": [false, …]` would be read as if it meant something. Everything is handed on to serde_json as it is, but
//! for structures, which are asked for as maps, and for `null`, which is what Go leaves of a value that was never set: zero,
//! `false`, an empty text, list or object. On the way it is noticed when a structure does not know a field.

use std::cell::{Cell, RefCell};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Wraps a deserializer, a visitor, a seed or an access, so that everything below is wrapped, too.
pub struct Strict<'n, T>(pub T, pub &'n Notes);

/// A field that no structure has a place for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Of what, as `linux.resources` or `mounts[]`; empty for the document.
    pub of: String,
    /// Its name.
    pub field: String,
    /// What is known there.
    pub known: &'static [&'static str],
}

/// What is noticed while a document is read.
#[derive(Debug, Default)]
pub struct Notes {
    /// Whether there was an unknown field.
    pub unknown: Cell<bool>,
    /// Whether what is wrong is that a `null` has nothing in it.
    of_null: Cell<bool>,
    /// Which, where that is asked for: to keep the path costs memory for each field.
    details: Option<RefCell<Details>>,
}

#[derive(Debug, Default)]
struct Details {
    path: Vec<String>,
    key: String,
    fields: Vec<&'static [&'static str]>,
    found: Vec<UnknownField>,
}

impl Notes {
    /// Notes that name the fields.
    pub fn detailed() -> Notes {
        Notes { details: Some(RefCell::default()), ..Notes::default() }
    }

    /// Whether the error is of a `null`.
    pub fn of_null(&self) -> bool {
        self.of_null.get()
    }

    /// What was found.
    pub fn into_found(self) -> Vec<UnknownField> {
        self.details.map_or_else(Vec::new, |details| details.into_inner().found)
    }

    fn with(&self, change: impl FnOnce(&mut Details)) {
        if let Some(details) = &self.details {
            change(&mut details.borrow_mut());
        }
    }

    fn skipped(&self) {
        self.unknown.set(true);
        self.with(|details| {
            let Some((_, of)) = details.path.split_last() else { return };
            let of = of.iter().fold(String::new(), |path, part| match part.as_str() {
                "[]" => path + "[]",
                part if path.is_empty() => part.to_owned(),
                part => path + "." + part,
            });
            let known = details.fields.last().copied().unwrap_or_default();
            details.found.push(UnknownField { of, field: details.key.clone(), known });
        });
    }
}

/// A visitor of a field's name, which is noted.
struct Key<'n, V>(V, &'n Notes);

impl<'de, V: Visitor<'de>> Visitor<'de> for Key<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<V::Value, E> {
        self.1.with(|details| value.clone_into(&mut details.key));
        self.0.visit_str(value)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<V::Value, E> {
        self.1.with(|details| value.clone_into(&mut details.key));
        self.0.visit_borrowed_str(value)
    }
}

macro_rules! hand_on {
    ($($method:ident($($name:ident: $type:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)* Strict(visitor, self.1))
        })*
    };
}

/// A text is read here as everywhere: what else gives a map or a list would have all visitors compiled once more for it.
fn json(text: &'static [u8]) -> serde_json::Deserializer<serde_json::de::SliceRead<'static>> {
    serde_json::Deserializer::from_slice(text)
}

/// The words of an error without the position.
pub fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// An error of the text that stands for a `null`, whose positions mean nothing.
fn of_null<E: serde::de::Error>(error: &serde_json::Error, notes: &Notes) -> E {
    notes.of_null.set(true);
    E::custom(words(error))
}

/// Methods that take `null` for the zero of what they are asked for.
macro_rules! or_zero {
    ($($method:ident: $visitor:ident, $notes:ident => $zero:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            struct OrZero<'n, V>(V, &'n Notes);

            impl<'de, V: Visitor<'de>> Visitor<'de> for OrZero<'_, V> {
                type Value = V::Value;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    self.0.expecting(f)
                }

                fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
                    let ($visitor, $notes) = (self.0, self.1);
                    $zero
                }

                fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
                    deserializer.$method(Strict(self.0, self.1))
                }
            }

            self.0.deserialize_option(OrZero(visitor, self.1))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let notes = self.1;
        notes.with(|details| details.fields.push(fields));
        let done = self.deserialize_map(visitor);
        notes.with(|details| {
            details.fields.pop();
        });
        done
    }

    // What is derived asks for this where it has no field of that name.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.1.skipped();
        self.0.deserialize_ignored_any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_identifier(Key(visitor, self.1))
    }

    or_zero! {
        deserialize_bool: visitor, _notes => visitor.visit_bool(false);
        deserialize_i32: visitor, _notes => visitor.visit_i32(0);
        deserialize_i64: visitor, _notes => visitor.visit_i64(0);
        deserialize_u16: visitor, _notes => visitor.visit_u16(0);
        deserialize_u32: visitor, _notes => visitor.visit_u32(0);
        deserialize_u64: visitor, _notes => visitor.visit_u64(0);
        deserialize_string: visitor, _notes => visitor.visit_borrowed_str("");
        deserialize_seq: visitor, notes => json(b"[]").deserialize_seq(Strict(visitor, notes)).map_err(|error| of_null(&error, notes));
        deserialize_map: visitor, notes => json(b"{}").deserialize_map(Strict(visitor, notes)).map_err(|error| of_null(&error, notes));
    }

    // Of these no type here has any but options.
    hand_on! {
        deserialize_any() deserialize_i8() deserialize_i16() deserialize_i128() deserialize_u8() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
    }

    // Of what is below a variant nothing is looked at: no type here is an enumeration.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }
}

macro_rules! visit {
    ($($method:ident($type:ty))*) => {
        $(fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }

    visit! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128) visit_u8(u8)
        visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32) visit_f64(f64) visit_char(char)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String) visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(deserializer, self.1))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(deserializer, self.1))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(items, self.1))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(entries, self.1))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer, self.1))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.1.with(|details| details.path.push("[]".to_owned()));
        let element = self.0.next_element_seed(Strict(seed, self.1));
        self.1.with(|details| drop(details.path.pop()));
        element
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        // What a map is asked for are names that the user has chosen.
        self.1.with(|details| "*".clone_into(&mut details.key));
        self.0.next_key_seed(Strict(seed, self.1))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.1.with(|details| details.path.push(details.key.clone()));
        let value = self.0.next_value_seed(Strict(seed, self.1));
        self.1.with(|details| drop(details.path.pop()));
        value
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

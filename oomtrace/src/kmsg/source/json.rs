//! JSON objects: of a journal (`journalctl -o json`), of `dmesg -J`, and of what else keeps lines under a key.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    bytes::{after_spaces, digits, seconds},
    clock::Clock,
    entry::{Entry, Value},
    line::{self, Line},
    lines::set,
};
use crate::kmsg::message::{Message, Stamp};

/// Longest object, bytes. A message of 8 KiB as an array of numbers is half that.
pub(super) const LONGEST: usize = 64 * 1024;

/// Everything that is of use in an object of any of these kinds.
#[derive(Default)]
struct Object<'a> {
    entry: Entry<'a>,
    /// Of `dmesg -J`: `msg`, `pri`, `fac`, `time`, `caller`.
    msg: Value<'a>,
    pri: Value<'a>,
    fac: Value<'a>,
    time: Value<'a>,
    caller: Value<'a>,
    /// A line in what another log keeps: `log` (Docker, fluent-bit), `message`.
    line: Value<'a>,
}

/// Without what frames an object: `RS` (RFC 7464, json-seq), `data: ` (server-sent events), and the comma between lines.
pub(super) fn unframed(line: &[u8]) -> &[u8] {
    let line = line.strip_prefix(b"\x1e").unwrap_or(line);
    let object = line.strip_prefix(b"data: ").filter(|object| object.starts_with(b"{")).unwrap_or(line);
    if object.starts_with(b"{") { object.strip_suffix(b",").unwrap_or(object) } else { line }
}

/// Reads an object; `false`: it is none, or not the kernel's.
pub(super) fn object(text: &[u8], clock: &Clock, message: &mut Message, boot_id: Option<&str>) -> bool {
    if text.len() > LONGEST {
        return false;
    }
    let Ok(object) = serde_json::from_slice::<Object<'_>>(text) else { return false };
    if object.entry.is_journals() {
        return object.entry.tell(message, boot_id);
    }
    if object.msg.is_some() && object.time.is_some() {
        return object.dmesg(message);
    }
    let Some(line) = object.entry.message.as_deref().or(object.line.as_deref()) else { return false };
    let wall = object.time.as_deref().and_then(|time| clock.iso(time)).and_then(|((wall, _), _)| wall);
    match line::wrapped(line.trim_ascii_end(), wall, clock) {
        Line::Kernel(head) => {
            message.fill(&head, boot_id);
            true
        }
        Line::Other => false,
    }
}

impl Object<'_> {
    /// `{"pri": 6, "time": 12.345678, "caller": "T1", "msg": "…"}`, with `"fac": "kern", "pri": "info"` for `-x`.
    fn dmesg(&self, message: &mut Message) -> bool {
        let facility = self.fac.as_deref().is_none_or(|facility| facility == b"kern");
        let priority =
            self.pri.as_deref().and_then(|pri| digits(pri, 5)).is_none_or(|(pri, _)| pri >> 3 == 0);
        let Some(text) = self.msg.as_deref().filter(|_| facility && priority) else { return false };
        let boot_us = self.time.as_deref().and_then(|time| seconds(after_spaces(time))).map(|(time, _)| time);
        message.stamp = Stamp { boot_us, wall: None };
        message.seq = None;
        set(&mut message.caller, self.caller.as_deref());
        message.host = None;
        message.boot_id = None;
        message.text.clear();
        message.text.extend_from_slice(text.trim_ascii_end());
        true
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut object = Object::default();
                while let Some(Bytes(key)) = map.next_key()? {
                    let Some(field) = object.field(&key) else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    // A journal names no field twice: whoever did so wants to be read in two ways.
                    if field.is_some() {
                        return Err(A::Error::custom("a key comes twice"));
                    }
                    *field = map.next_value::<Option<Bytes<'de>>>()?.map(|Bytes(value)| value);
                }
                Ok(object)
            }
        }
        from.deserialize_map(Keys)
    }
}

impl<'a> Object<'a> {
    fn field(&mut self, key: &[u8]) -> Option<&mut Value<'a>> {
        Some(match key {
            b"msg" => &mut self.msg,
            b"pri" => &mut self.pri,
            b"fac" => &mut self.fac,
            b"time" => &mut self.time,
            b"caller" => &mut self.caller,
            b"log" | b"message" => &mut self.line,
            _ => return self.entry.field(key),
        })
    }
}

/// A string, a number, or an array of a string's bytes (a journal's, where it is not UTF-8).
struct Bytes<'a>(Cow<'a, [u8]>);

impl<'de> Deserialize<'de> for Bytes<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Bytes<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a field's value")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Borrowed(text.as_bytes())))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Owned(text.as_bytes().to_vec())))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Owned(number.to_string().into_bytes())))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Owned(number.to_string().into_bytes())))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Owned(format!("{number:.6}").into_bytes())))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Borrowed(b"")))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Bytes(Cow::Borrowed(b"")))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element::<u8>()? {
                    bytes.push(byte);
                }
                Ok(Bytes(Cow::Owned(bytes)))
            }
        }
        from.deserialize_any(Any)
    }
}

//! Moments.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// A moment, in RFC 3339 in UTC with nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTime(pub Timestamp);

impl WallTime {
    /// From nanoseconds since 1970.
    #[must_use]
    pub fn from_ns(ns: i128) -> Self {
        Self(Timestamp::from_nanosecond(ns).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// From nanoseconds since boot, and how far the wall clock is ahead of these.
    pub(in crate::incident) fn at(boot_ns: u64, wall_clock_offset_ns: i64) -> Self {
        Self::from_ns(i128::from(boot_ns) + i128::from(wall_clock_offset_ns))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:.9}", self.0)
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for WallTime {
    fn schema_name() -> Cow<'static, str> {
        "WallTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$",
            "description": "RFC 3339 in UTC with nanoseconds."
        })
    }
}

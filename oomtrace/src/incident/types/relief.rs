//! What became of victims.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Common, SchemaName, task::Command, victim::Victim};
use crate::explain::Finding;

/// Marks a line as a relief.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ReliefTag {
    /// `relief`.
    #[serde(rename = "relief")]
    Relief,
}

/// What became of an incident's victims. Told once the memory of all is free, or 30 s after the last mark.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Relief {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `relief`.
    pub r#type: ReliefTag,
    /// The incident's.
    pub id: String,
    /// What every line tells. The number is the incident's, the time that of the last that happened.
    #[serde(flatten)]
    pub common: Common,
    /// In the order of the incident's.
    pub victims: Vec<Relieved>,
    /// Who was killed with them after the incident was told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collateral: Vec<Victim>,
    /// What it comes to, and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Fields that could not be had, by path, with the reason.
    pub missing: BTreeMap<String, String>,
}

/// What became of a victim. Times are from its mark.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Relieved {
    /// Process id.
    pub pid: u32,
    /// Name of the thread that was marked; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// What it was started with, where that came too late for the incident's own line.
    #[serde(flatten)]
    pub command: Command,
    /// Until its last thread ended. From Linux 6.16 on that comes before its memory is free, on older ones after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exited_ns: Option<u64>,
    /// Until its address space was taken down. Memory that others share, and files in tmpfs, stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_ns: Option<u64>,
    /// Whether the OOM reaper took its memory, since it had not ended after 2 s.
    pub reaped: bool,
    /// Until the OOM reaper had done so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaped_ns: Option<u64>,
}

//! `oomtrace run`: what a command went through, and put others through, when memory or processes ran out.
//!
//! The command is started ([`child`]), and while it runs three things are gathered: what tracing tells ([`gather`]), what the kernel
//! half counted of reclaim and compaction by itself, as histograms ([`pressure`]), and the course of memory ([`course`]). Together
//! they are a [`report::Report`], the one form that everything else goes by: the terminal's summary, the page, criteria to fail on,
//! and comparisons.
//!
//! Whatever was seen is of the command's own processes (those below oomtrace itself, which is made the parent of
//! whoever loses its own) or of bystanders.

pub mod child;
pub mod compare;
pub mod cost;
pub mod course;
pub mod criterion;
mod digest;
pub mod gather;
pub mod machine;
pub mod measure;
pub mod page;
mod ranking;
pub mod report;
#[cfg(test)]
mod samples;
pub mod show;
pub mod stress_ng;

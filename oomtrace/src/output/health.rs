//! How an output is doing: what it wrote, what it lost, and whether it fails just now.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::say::say;

/// See the module. Shared by the output, which tells, and by whoever shows it.
#[derive(Debug)]
pub struct Health {
    name: &'static str,
    written: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    failing: Mutex<Option<String>>,
}

impl Health {
    /// Of an output of this name.
    #[must_use]
    pub fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            failing: Mutex::new(None),
        })
    }

    /// What the output is called: `stdout`, `history`, `file`, `exec`, `webhook`, `metrics`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// So many messages went out for good.
    pub fn wrote(&self, messages: u64) {
        self.written.fetch_add(messages, Relaxed);
    }

    /// So many messages never will.
    pub fn lost(&self, messages: u64) {
        self.lost.fetch_add(messages, Relaxed);
    }

    /// It cannot write. What it does about that (`and so …`) is said once, until it can again; each call is counted.
    pub fn fails(&self, why: impl Display, so: &str) {
        self.failures.fetch_add(1, Relaxed);
        let why = why.to_string();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.is_none() {
            say!("{}: {why}; {so}.", self.name);
        }
        *failing = Some(why);
    }

    /// It can write.
    pub fn works(&self) {
        if self.failing.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            say!("{}: works again.", self.name);
        }
    }

    /// Messages that went out.
    #[must_use]
    pub fn messages_written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Messages that never will.
    #[must_use]
    pub fn messages_lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// How often it could not write.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Why it cannot write just now.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

//! Sessions: every tier, every way of counting memory, and texts that nobody vouches for.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Result, Unstructured};
use oomtrace::{
    host::Host,
    kernel::{hooks::Tier, layout::RssCounters, text::KernelRss},
    session::Session,
};

/// An [`Arbitrary`] session.
#[derive(Debug)]
pub struct AnySession(pub Session);

impl<'a> Arbitrary<'a> for AnySession {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let tier = *u.choose(&[Tier::Tracepoint, Tier::Kprobe, Tier::Trampoline])?;
        let rss_counters = *u.choose(&[None, Some(RssCounters::Atomic), Some(RssCounters::PerCpu)])?;
        let kernel_rss = match u.int_in_range(0..=2)? {
            0 => KernelRss::Count,
            1 => KernelRss::Sum,
            _ => KernelRss::Unknown { reason: name(u)? },
        };
        let host = Host {
            name: name(u)?,
            boot_id: if u.arbitrary()? { Some(name(u)?) } else { None },
            kernel: "7.2".to_owned(),
            page_bytes: *u.choose(&[4096, 16384, 65536])?,
            cpus_possible: 2,
            cpus_online: if u.ratio(3, 4)? { 2 } else { u.arbitrary()? },
            memory_bytes: figure(u)?,
            swap_bytes: figure(u)?,
        };
        let mut missing = BTreeMap::new();
        if u.ratio(1, 4)? {
            missing.insert("host_memory".to_owned(), name(u)?);
        }
        Ok(Self(Session { host, tier, rss_counters, kernel_rss, missing, kmsg: u.arbitrary()?, pids_events: u.arbitrary()? }))
    }
}

/// A plain session, for targets that vary other things.
#[must_use]
pub fn plain() -> Session {
    Session {
        host: Host {
            name: "host".to_owned(),
            boot_id: Some("0123456789abcdef".to_owned()),
            kernel: "7.2".to_owned(),
            page_bytes: 4096,
            cpus_possible: 2,
            cpus_online: 2,
            memory_bytes: Some(1 << 30),
            swap_bytes: Some(1 << 30),
        },
        tier: Tier::Trampoline,
        rss_counters: Some(RssCounters::PerCpu),
        kernel_rss: KernelRss::Count,
        missing: BTreeMap::new(),
        kmsg: false,
        pids_events: false,
    }
}

/// A number that is mostly ordinary, sometimes at an edge, or not known.
pub fn figure(u: &mut Unstructured<'_>) -> Result<Option<u64>> {
    Ok(match u.int_in_range(0..=7)? {
        0 => None,
        1 => Some(u64::MAX),
        2 => Some(i64::MAX.unsigned_abs()),
        3 => Some(u.arbitrary()?),
        4 => Some(0),
        _ => Some(u64::from(u.arbitrary::<u16>()?)),
    })
}

/// A name: ordinary, hostile to terminals, or any.
pub fn name(u: &mut Unstructured<'_>) -> Result<String> {
    const NAMES: &[&str] =
        &["", "java", "\u{1b}[2J", "a\nb", "\u{9b}31m", "x\u{202e}y", "/", "..", "größe", "\u{2028}", "\"\\"];
    if u.ratio(7, 8)? { Ok((*u.choose(NAMES)?).to_owned()) } else { u.arbitrary() }
}

//! Tracing without any program in the kernel: its log is followed, and nothing else.

use std::{collections::BTreeMap, path::Path, time::Instant};

use super::{
    alarm,
    escort::{Ask, Escort},
    follow::{self, Want},
    pids_events, reconcile,
    shown::Shown,
    trace::{finish, survive},
    witness::Witness,
};
use crate::{
    cli::{Kind, TraceArgs},
    host::{self, Host, meminfo::Swap, names::Names},
    incident::Assembler,
    kernel::{hooks::Tier, load::CannotTrace, text::KernelRss},
    record::{Recorder, create},
    say::say,
    session::{Session, Source},
};

/// A report is read as it is written.
const WANT: Want = Want { wanted: true, urgent: true };

/// Traces until a signal comes or nobody reads any more.
pub async fn trace(args: &TraceArgs, escort: &mut impl Escort) -> anyhow::Result<()> {
    let begun = Instant::now();
    let host = Host::read(Path::new("/"))?;
    let record = args.record.as_ref().map(|path| create(path)).transpose()?;
    let mut witness = Witness::begin_alone(args.no_kmsg.then_some(follow::NO_KMSG));
    let armed_boot_ns = host::boot_ns();
    if let Err(reason) = &witness.log {
        anyhow::bail!(CannotTrace(format!(
            "The kernel log cannot be followed, and without BPF there is nothing else: {reason}."
        )));
    }
    let profiling = escort.profiles();
    if profiling.is_none() {
        say!(
            "armed in {} ms on Linux {}: from here on every kill that the kernel log has is reported.",
            begun.elapsed().as_millis(),
            host.kernel
        );
    }
    survive();
    if args.filter.takes(Kind::Fork) {
        witness.watch_pids_events();
    }
    let session = Session {
        host,
        tier: Tier::Kmsg,
        rss_counters: None,
        kernel_rss: KernelRss::Unknown { reason: "nothing but the kernel log is read".to_owned() },
        missing: BTreeMap::new(),
        kmsg: true,
        pids_events: witness.pids_events.is_ok(),
    };
    let recorder = record.map(|(path, file)| Recorder::start(path, file, &session)).transpose()?;
    let outputs = escort.outputs(&session, None)?;
    let mut assembler = Assembler::new(session, Source::Ebpf);
    let mut shown = Shown::start(outputs, &args.filter, None, Some(Names::here()), Some(Swap::here()));
    let hooks = [
        Some((follow::ROLE, follow::HOOK)),
        witness.pids_events.is_ok().then_some((pids_events::ROLE, pids_events::HOOK)),
    ];
    let hooks = hooks.into_iter().flatten().map(|(role, hook)| (role, vec![hook.to_owned()])).collect();
    shown.armed(&mut assembler, hooks, host::boot_ns(), host::wall_clock_offset_ns());
    escort.ready(&mut shown, armed_boot_ns)?;
    if profiling.is_none() {
        say!("complete in {} ms, tier {}. Ctrl-C ends.", begun.elapsed().as_millis(), Tier::Kmsg.name());
    }
    let end = loop {
        let deadline = assembler.deadline_ns();
        tokio::select! {
            biased;
            () = follow::ready(&mut witness.log, WANT) => {
                witness.read(&mut assembler, &mut shown, recorder.as_ref());
            }
            () = alarm::at(deadline.map(alarm::since_boot)) => {
                let events = assembler.expire(host::boot_ns());
                shown.events(&mut assembler, events, host::wall_clock_offset_ns());
            }
            () = pids_events::ready(&witness.pids_events) => {
                witness.refused(&mut assembler, &mut shown, recorder.as_ref());
            }
            () = reconcile::due(witness.count.as_ref()) => {
                witness.look(0, &mut assembler, &mut shown, recorder.as_ref());
            }
            ask = escort.next() => match ask {
                Ask::Stop => break None,
                Ask::Errand(errand) => escort.run(errand, &mut assembler, &mut shown),
            },
            closed = shown.ended() => break Some(closed),
        }
        witness.stir(&mut shown);
    };
    escort.stop();
    if end.is_none() {
        witness.last_look(None, &mut assembler, &mut shown, recorder.as_ref());
    }
    finish(profiling.is_none().then_some(begun), end.as_deref(), assembler, shown, recorder)
}

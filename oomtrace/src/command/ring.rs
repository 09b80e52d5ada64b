//! The ring buffer's end in userspace.

use std::{
    mem,
    os::fd::{AsFd as _, AsRawFd, OwnedFd},
    path::Path,
};

use anyhow::Context as _;
use aya::maps::{Array, MapData, RingBuf};
use oomtrace_ebpf::{AllocFailure, ForkFailure, Header, RecordKind};
use tokio::io::{Interest, unix::AsyncFd};
use zerocopy::FromBytes as _;

use super::shown::Shown;
use crate::{
    host::{self, settings::Watched},
    incident::Assembler,
    kernel::{
        hooks::{FORK_FAILURE, STALL},
        load::Attached,
        missed::Missed,
        untold::Untold,
        variables::Places,
    },
    record::{Frame, Recorder, encode_settings, privacy},
    say::say,
};

/// The ring buffer and the count of what found no room in it.
pub struct Ring {
    records: AsyncFd<RingBuf<MapData>>,
    lost: Array<MapData, u64>,
    reported: [u64; RecordKind::ALL.len()],
    /// Marks that found no room.
    pub lost_marks: u64,
    missed: Missed,
    missed_forks: Missed,
    untold: Untold<AllocFailure>,
    untold_forks: Untold<ForkFailure>,
    places: Places,
    settings: Watched,
}

impl Ring {
    /// Takes the maps of what is attached.
    pub fn new(attached: &mut Attached) -> anyhow::Result<Self> {
        let mut take = |name| {
            attached.ebpf.take_map(name).with_context(|| format!("The eBPF object lacks the map {name}"))
        };
        let records = RingBuf::try_from(take("RECORDS")?).context("The ring buffer cannot be mapped")?;
        let lost = Array::try_from(take("LOST")?).context("The loss counters cannot be read")?;
        let untold = Untold::of(&mut attached.ebpf)?;
        let untold_forks = Untold::of(&mut attached.ebpf)?;
        Ok(Self {
            records: watch(records).context("The ring buffer cannot be watched")?,
            lost,
            reported: [0; _],
            lost_marks: 0,
            missed: Missed::of(&attached.ebpf, &STALL),
            missed_forks: Missed::of(&attached.ebpf, &FORK_FAILURE),
            untold,
            untold_forks,
            places: Places::of(&mut attached.ebpf)?,
            settings: Watched::default(),
        })
    }

    /// Detaches the programs: what is in the ring then is all that there will be.
    pub fn detach(&mut self, attached: Attached) {
        self.missed.release();
        self.missed_forks.release();
        drop(attached);
    }

    /// One more descriptor of the ring.
    pub fn descriptor(&self) -> std::io::Result<OwnedFd> {
        self.records.get_ref().as_fd().try_clone_to_owned()
    }

    /// Waits until something is in the ring.
    pub async fn ready(&self) -> std::io::Result<()> {
        self.records.readable().await.map(|mut guard| guard.clear_ready())
    }

    /// Takes everything out of the ring; then asks what found no room, for that happens only while there is
    /// something in it.
    pub fn drain(&mut self, assembler: &mut Assembler, shown: &mut Shown, recorder: Option<&Recorder>) {
        let wall_clock_offset_ns = host::wall_clock_offset_ns();
        let mut forked = false;
        let mut chosen = false;
        while let Some(item) = self.records.get_mut().next() {
            let mut bytes = item.to_vec();
            // Room for the next record before anything else is done with this one.
            drop(item);
            self.missed.enter(&mut bytes);
            self.untold.hear(&bytes);
            if self.untold_forks.hear(&bytes) && !mem::replace(&mut forked, true) {
                // What the programs cannot read follows from this.
                let boot_ns = host::boot_ns();
                let host = host::forking::record(Path::new("/proc"), boot_ns);
                shown.take(assembler, recorder, host, boot_ns, wall_clock_offset_ns);
            }
            if is_explained(&bytes) && !mem::replace(&mut chosen, true) {
                // What is concluded from it rests on these.
                let boot_ns = host::boot_ns();
                if let Some(settings) = self.settings.newer(Path::new("/"), boot_ns) {
                    let record = encode_settings(&settings, boot_ns);
                    shown.take(assembler, recorder, record, boot_ns, wall_clock_offset_ns);
                }
            }
            privacy::mask(&mut bytes);
            shown.take(assembler, recorder, bytes, host::boot_ns(), wall_clock_offset_ns);
        }
        if forked {
            shown.unseen_forks(assembler, self.missed_forks.more(), host::boot_ns(), wall_clock_offset_ns);
            self.places.tell();
        }
        let lost = self.newly_lost();
        if !lost.is_empty() {
            let boot_ns = host::boot_ns();
            let marks = lost.iter().filter(|(kind, _)| *kind == RecordKind::Mark as u16);
            self.lost_marks += marks.map(|(_, count)| count).sum::<u64>();
            let total: u64 = lost.iter().map(|(_, count)| count).sum();
            say!("{total} records found no room in the ring buffer: use a larger --ring-size.");
            shown.lost(assembler, &lost, boot_ns, wall_clock_offset_ns);
            if let Some(recorder) = recorder {
                recorder.send(Frame::Lost { boot_ns, wall_clock_offset_ns, counts: lost });
            }
        }
    }

    /// When [`Self::rest`] has something to do next, ns since boot.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.untold.deadline_ns().into_iter().chain(self.untold_forks.deadline_ns()).min()
    }

    /// Tells how many allocations and forks failed that the programs did not tell one by one, as far as they have ceased by
    /// `now_ns`.
    pub fn rest(
        &mut self,
        assembler: &mut Assembler,
        shown: &mut Shown,
        recorder: Option<&Recorder>,
        now_ns: u64,
    ) {
        let wall_clock_offset_ns = host::wall_clock_offset_ns();
        let forks = self.untold_forks.due(now_ns);
        if !forks.is_empty() {
            shown.unseen_forks(assembler, self.missed_forks.more(), host::boot_ns(), wall_clock_offset_ns);
        }
        for bytes in self.untold.due(now_ns).into_iter().chain(forks) {
            shown.take(assembler, recorder, bytes, host::boot_ns(), wall_clock_offset_ns);
        }
    }

    fn newly_lost(&mut self) -> Vec<(u16, u64)> {
        let mut lost = Vec::new();
        for (kind, reported) in RecordKind::ALL.into_iter().zip(&mut self.reported) {
            // The map has an element for every kind, so this cannot fail.
            let count = self.lost.get(&u32::from(kind as u16), 0).unwrap_or(*reported);
            if count > *reported {
                lost.push((kind as u16, count - *reported));
                *reported = count;
            }
        }
        lost
    }
}

/// Whether a record is of something that findings are made of: a choice of the OOM killer's, a fork that failed, or a
/// kill by a daemon.
fn is_explained(record: &[u8]) -> bool {
    let kind = Header::read_from_prefix(record).map(|(header, _)| header.kind);
    kind.is_ok_and(|kind| {
        [RecordKind::Decision, RecordKind::Mark, RecordKind::ForkFailure, RecordKind::UserKill]
            .iter()
            .any(|of| *of as u16 == kind)
    })
}

/// Watches a file descriptor that is ours for as long as it is watched.
pub fn watch<T: AsRawFd>(of: T) -> std::io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor belongs to the value that is moved in, and is closed with it.
    unsafe { AsyncFd::register_with_interest(of, Interest::READABLE) }.map_err(Into::into)
}

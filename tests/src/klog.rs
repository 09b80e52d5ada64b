//! Kernel logs of any length: a machine's daily log without a run of the OOM killer, as syslog and as a journal's export, and
//! one that is nothing but the OOM killer's reports.

use std::io::Write;

use anyhow::{Context, Result};

/// Reports of a machine and of memory cgroups, by the kernel's format strings.
const REPORTS: [&str; 3] = [
    include_str!("../fixtures/klog/import/5.0-oom-kill-line.log"),
    include_str!("../fixtures/klog/import/4.9-node-lines.log"),
    include_str!("../fixtures/klog/import/6.12-two-in-a-row.log"),
];
/// How many runs of the OOM killer these tell of.
const RUNS: u64 = 4;

/// From one round of reports to the next, s: farther apart than any two lines of a report.
const APART_S: u64 = 1000;

/// What a machine's log is full of.
const DAILY: [&str; 8] = [
    "kernel: [{s}.{u}] audit: type=1400 audit(17000{n}.123:45): apparmor=\"DENIED\" operation=\"open\" profile=\"snap.x\" pid={n}",
    "systemd[1]: Started Session {n} of User root.",
    "kernel: [{s}.{u}] IPv6: ADDRCONF(NETDEV_CHANGE): veth{n}: link becomes ready",
    "sshd[{n}]: Accepted publickey for deploy from 10.0.3.{n} port {n} ssh2: ED25519 SHA256:8xFzUjE1Qm0Jc7zR",
    "kernel: [{s}.{u}] docker0: port 1(veth{n}) entered blocking state",
    "CRON[{n}]: (root) CMD (   cd / && run-parts --report /etc/cron.hourly)",
    "containerd[901]: time=\"2024-04-04T04:04:05Z\" level=info msg=\"shim disconnected\" id={n}",
    "kernel: [{s}.{u}] EXT4-fs (nvme0n1p{n}): mounted filesystem with ordered data mode. Quota mode: none.",
];

/// A kernel log to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Klog {
    /// A day like any other, as syslog writes it.
    Syslog,
    /// The same, as `journalctl -o export` prints it.
    Export,
    /// Nothing but the OOM killer's reports, as dmesg prints them.
    Reports,
}

impl Klog {
    /// Writes so many bytes, and up to a round more, and returns of how many runs of the OOM killer they tell.
    pub fn write(self, bytes: u64, mut to: impl Write) -> Result<u64> {
        let (mut written, mut round) = (0, 0);
        let mut text = Vec::new();
        while written < bytes {
            text.clear();
            self.round(round, &mut text);
            to.write_all(&text).context("cannot write a kernel log")?;
            written += u64::try_from(text.len())?;
            round += 1;
        }
        Ok(if self == Self::Reports { round * RUNS } else { 0 })
    }

    fn round(self, round: u64, to: &mut Vec<u8>) {
        let lines = |at: usize| {
            let number = round * 8 + at as u64;
            DAILY[at]
                .replace("{s}", &format!("{:5}", number / 100))
                .replace("{u}", &format!("{:06}", number % 100 * 10_000))
                .replace("{n}", &(number % 100_000).to_string())
        };
        match self {
            Self::Syslog => {
                for at in 0..DAILY.len() {
                    let clock = (round / 3600 % 24, round / 60 % 60, round % 60);
                    let line =
                        format!("Apr  4 {:02}:{:02}:{:02} web1 {}\n", clock.0, clock.1, clock.2, lines(at));
                    to.extend_from_slice(line.as_bytes());
                }
            }
            Self::Export => {
                for at in 0..DAILY.len() {
                    let line = lines(at);
                    let (tag, message) = line.split_once(": ").unwrap_or(("kernel", &line));
                    let transport = if tag == "kernel" { "kernel" } else { "syslog" };
                    let us = 1_712_203_443_000_000 + round * 1_000_000;
                    to.extend_from_slice(
                        format!(
                            "__CURSOR=s=0c;i={round:x}\n__REALTIME_TIMESTAMP={us}\n__MONOTONIC_TIMESTAMP={}\n\
                             _BOOT_ID=6c1d7a0fb6f14e0c9c53a1b8f2d4e677\n_TRANSPORT={transport}\nPRIORITY=6\n\
                             SYSLOG_IDENTIFIER={tag}\n_HOSTNAME=node-7\nMESSAGE={message}\n\n",
                            round * 1_000_000
                        )
                        .as_bytes(),
                    );
                }
            }
            Self::Reports => {
                for report in REPORTS {
                    for line in report.lines().filter(|line| !line.starts_with('#')) {
                        match later(line, round * APART_S) {
                            Some(later) => to.extend_from_slice(later.as_bytes()),
                            None => to.extend_from_slice(line.as_bytes()),
                        }
                        to.push(b'\n');
                    }
                }
            }
        }
    }
}

/// A line of dmesg, so many seconds later.
fn later(line: &str, seconds: u64) -> Option<String> {
    let (stamp, rest) = line.strip_prefix('[')?.split_once('.')?;
    let at: u64 = stamp.trim_start().parse().ok()?;
    Some(format!("[{:5}.{rest}", at + seconds))
}

//! How fast logs are read.

use std::time::Instant;

use super::*;

/// A log that comes again and again.
struct Again<'a> {
    log: &'a [u8],
    at: usize,
    left: usize,
}

impl io::Read for Again<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.log.len() {
            self.at = 0;
        }
        let len = buffer.len().min(self.left).min(self.log.len() - self.at);
        buffer[..len].copy_from_slice(&self.log[self.at..self.at + len]);
        self.at += len;
        self.left -= len;
        Ok(len)
    }
}

/// MB/s.
fn rate(bytes: u64, since: Instant) -> u64 {
    bytes / u64::try_from(since.elapsed().as_micros()).unwrap().max(1)
}

/// Measures how fast logs are read: `cargo test --release -p oomtrace --lib kmsg::source::tests::speed::speed -- --ignored --nocapture`.
#[test]
#[ignore = "it measures, and says so"]
fn speed() {
    const SIZE: usize = 1 << 30;
    let plain: Vec<String> = (0..20_000)
        .map(|n| match n % 5 {
            0 => format!("Jan  2 15:04:05 web1 sshd[{n}]: Accepted publickey for alice from 10.0.0.{} port 22 ssh2\n", n % 256),
            1 => format!("Jan  2 15:04:05 web1 kernel: [{n}.345678] usb 1-1: new high-speed USB device number {n} using xhci_hcd\n"),
            2 => format!("Jan  2 15:04:05 web1 systemd[1]: Started Session {n} of User alice.\n"),
            3 => format!("Jan  2 15:04:05 web1 kubelet[812]: I0102 15:04:05.678901 812 pod.go:{n}] \"SyncLoop\" pod=\"default/web-{n}\"\n"),
            _ => format!("Jan  2 15:04:05 web1 kernel: audit: type=1400 audit(1700000000.123:{n}): apparmor=\"DENIED\"\n"),
        })
        .collect();
    let report: Vec<String> = (0..2000)
        .map(|n| format!("Jan  2 15:04:05 web1 kernel: [{n}.345678] [  {n}]  1000  {n}    12345     1234      30        0             0 java\n"))
        .chain([line()])
        .collect();
    let dmesg: Vec<String> = (0..2000)
        .map(|n| {
            format!("[{n}.345678] [  {n}]  1000  {n}    12345     1234      30        0             0 java\n")
        })
        .chain([line()])
        .collect();
    let (plain, report, dmesg) = (plain.concat(), report.concat(), dmesg.concat());
    let iso = report.replace("Jan  2 15:04:05", "2023-01-02T15:04:05.678901+00:00");
    let journal: Vec<u8> = (0..1000)
        .flat_map(|n| {
            export(
                if n % 10 == 0 { "kernel" } else { "syslog" },
                format!("usb 1-1: new device {n} {}", "x".repeat(400)).as_bytes(),
                n % 100 == 0,
            )
        })
        .collect();
    let json: Vec<String> = (0..1000)
        .map(|n| format!("{{\"__CURSOR\":\"s=1\",\"__REALTIME_TIMESTAMP\":\"1700000000123456\",\"_HOSTNAME\":\"web1\",\"_BOOT_ID\":\"0123456789abcdef0123456789abcdef\",\"PRIORITY\":\"6\",\"_SOURCE_MONOTONIC_TIMESTAMP\":\"12345678\",\"_TRANSPORT\":\"kernel\",\"SYSLOG_FACILITY\":\"0\",\"SYSLOG_IDENTIFIER\":\"kernel\",\"MESSAGE\":\"usb 1-1: new device {n}\"}}\n"))
        .collect();
    let json = json.concat();
    let mut random = Random(7);
    let mut junk = Vec::new();
    while junk.len() < 16 << 20 {
        junk.extend_from_slice(&random.next().to_be_bytes()[..4]);
    }
    for (name, log, want) in [
        ("plain, beginnings", plain.as_bytes(), Want::Beginnings),
        ("plain, everything", plain.as_bytes(), Want::Everything),
        ("reports, everything", report.as_bytes(), Want::Everything),
        ("reports of dmesg, everything", dmesg.as_bytes(), Want::Everything),
        ("reports with ISO stamps, everything", iso.as_bytes(), Want::Everything),
        ("JSON, beginnings", json.as_bytes(), Want::Beginnings),
        ("JSON, everything", json.as_bytes(), Want::Everything),
        ("export", &journal, Want::Beginnings),
        ("junk", &junk, Want::Beginnings),
    ] {
        let size = if want == Want::Everything { SIZE / 4 } else { SIZE };
        let started = Instant::now();
        let mut messages = 0u64;
        let mut to = |_: &Message| {
            messages += 1;
            want
        };
        let head = &b"Linux version 1\n"[..if want == Want::Everything { 16 } else { 0 }];
        let log = io::Read::chain(head, Again { log, at: 0, left: size });
        let read = read(log, &about(), &mut to, &mut |_| {}).unwrap();
        println!("{name}: {} MB/s, {messages} messages", rate(read.bytes, started));
    }
    for (name, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("xz", xz), ("zstd", zstd)] {
        let packed = pack(plain.repeat(20).as_bytes());
        let started = Instant::now();
        let (_, read) = told(&packed, Want::Beginnings);
        println!("{name}: {} MB/s", rate(read.bytes, started));
    }
}

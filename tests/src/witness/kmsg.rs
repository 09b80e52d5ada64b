//! Reads /dev/kmsg from a marked position.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::Errno;

use crate::deadline::Deadline;
use crate::process::wait_readable;
use crate::witness::klog::Assembler;

/// Larger than any record that the kernel hands out (8 KiB before 6.4, 2 KiB since).
const LARGEST_RECORD: usize = 16 * 1024;

/// The kernel log from a position on.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
    open_line: Option<String>,
    text: Vec<String>,
    raw: Vec<u8>,
    ooms: Assembler,
    overrun: bool,
}

/// One record of /dev/kmsg.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    /// The kernel wrote it: its facility is 0. User space may write to the log too, and never with that.
    kernel: bool,
    /// It goes on with an earlier record's line, which another message had cut short (flag `c`).
    continues: bool,
    /// When it was logged, by printk's clock, in µs since boot.
    micros: u64,
    /// The message, with printk's escapes.
    text: String,
}

impl KernelLog {
    /// Opens the log at its end.
    pub fn mark() -> Result<Self> {
        Self::open(SeekFrom::End(0))
    }

    /// Opens the log at the oldest message that the kernel still has.
    pub fn whole() -> Result<Self> {
        Self::open(SeekFrom::Start(0))
    }

    /// Opens the log.
    fn open(position: SeekFrom) -> Result<Self> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).context("O_NONBLOCK is out of range")?;
        let file = OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg");
        let file = file.context("cannot open /dev/kmsg; run as root, with /dev mounted")?;
        seek(&file, position).context("cannot choose a position in /dev/kmsg")?;
        Ok(Self::of(file))
    }

    /// What the file has from its position on.
    fn of(file: File) -> Self {
        Self {
            file,
            open_line: None,
            text: Vec::new(),
            raw: Vec::new(),
            ooms: Assembler::default(),
            overrun: false,
        }
    }

    /// Takes what has been logged since.
    pub fn read(&mut self) -> Result<&Assembler> {
        let mut buffer = vec![0; LARGEST_RECORD];
        loop {
            match self.file.read(&mut buffer) {
                Ok(length) => {
                    let bytes = buffer.get(..length);
                    self.raw.extend_from_slice(bytes.unwrap_or_default());
                    let record = bytes.and_then(|bytes| parse(&String::from_utf8_lossy(bytes)));
                    self.take(record.context("a record of /dev/kmsg does not have the documented form")?);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => self.overrun = true,
                Err(error) => return Err(error).context("cannot read /dev/kmsg"),
            }
        }
        Ok(&self.ooms)
    }

    /// Waits for the next message.
    pub fn wait(&self, deadline: Deadline, what: &str) -> Result<()> {
        wait_readable(&self.file, deadline, what)
    }

    /// The runs of the OOM killer read so far.
    #[must_use]
    pub fn ooms(&self) -> &Assembler {
        &self.ooms
    }

    /// Every line read so far, for whoever looks into a failure.
    #[must_use]
    pub fn text(&self) -> &[String] {
        &self.text
    }

    /// Every record read so far, as the kernel hands it out.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Whether messages were overwritten before they could be read.
    #[must_use]
    pub fn overrun(&self) -> bool {
        self.overrun
    }

    /// Takes one record. The decision, the group's line and those of zones are printed in pieces, so they are held back until the
    /// next record shows that they are whole; every other line counts at once.
    fn take(&mut self, record: Record) {
        if !record.kernel {
            return;
        }
        let text = match (self.open_line.take(), record.continues) {
            (Some(start), true) => start + &record.text,
            (Some(whole), false) => {
                self.ooms.line(&whole);
                record.text
            }
            (None, _) => record.text,
        };
        self.text.push(text.clone());
        self.ooms.micros = record.micros;
        if ["oom-kill:", "Tasks in ", "lowmem_reserve", "Node "].iter().any(|start| text.starts_with(start)) {
            self.open_line = Some(text);
        } else {
            self.ooms.line(&text);
        }
    }
}

/// Parses `prio,seq,usec,flags[,…];text` and leaves out the dictionary lines that may follow.
fn parse(record: &str) -> Option<Record> {
    let (head, rest) = record.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u64 = fields.next()?.parse().ok()?;
    let mut fields = fields.skip(1);
    let (micros, flags) = (fields.next()?.parse().ok()?, fields.next()?);
    let (text, _dictionary) = rest.split_once('\n')?;
    Some(Record { kernel: priority < 8, continues: flags.contains('c'), micros, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the record's form, with and without the caller and the dictionary.
    #[test]
    fn record_forms() {
        let plain = parse("3,812,701889530,-;Killed process; really\n").unwrap();
        assert_eq!(
            plain,
            Record {
                kernel: true,
                continues: false,
                micros: 701_889_530,
                text: "Killed process; really".to_owned()
            }
        );
        let full = parse("6,1,2,c,caller=T1;,task=x\n SUBSYSTEM=acpi\n DEVICE=+a\n").unwrap();
        assert_eq!(full, Record { kernel: true, continues: true, micros: 2, text: ",task=x".to_owned() });
        assert!(!parse("11,1,2,-;Killed process\n").unwrap().kernel, "user space wrote it");
        assert_eq!(parse("nonsense"), None);
    }

    /// Guards the decision's line when another CPU's message cut it in two.
    #[test]
    fn a_line_in_pieces_is_joined() {
        let mut log = KernelLog::of(File::open("/dev/null").unwrap());
        for record in [
            "4,1,1,-;eater invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n",
            "6,2,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a\n",
            "6,3,3,c;,task_memcg=/a/b,task=eater,pid=7,uid=0\n",
            "3,4,4,-;Memory cgroup out of memory: Killed process 7 (eater) total-vm:1kB, anon-rss:2kB, \
             file-rss:3kB, shmem-rss:4kB, UID:0 pgtables:5kB oom_score_adj:6\n",
        ] {
            log.take(parse(record).unwrap());
        }
        let oom = log.ooms().ooms().first().unwrap();
        assert_eq!(oom.decision.as_ref().unwrap().task_memcg, b"/a/b");
        assert_eq!(oom.kills.len(), 1);
    }
}

//! One message of a kernel's log, wherever it was kept.

use jiff::Timestamp;

/// When a message was written, as far as what kept it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// By printk's clock, µs since boot.
    pub boot_us: Option<u64>,
    /// By the wall clock.
    pub wall: Option<Timestamp>,
}

/// See the module. Only the kernel's own: what anybody else wrote is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// When it was written.
    pub stamp: Stamp,
    /// Number of its record since boot, where that was kept.
    pub seq: Option<u64>,
    /// Who wrote it, as printk says (`T123`: a thread, `C1`: a processor in an interrupt), where the kernel is set up for that
    /// (`CONFIG_PRINTK_CALLER`). It tells interleaved reports apart.
    pub caller: Option<String>,
    /// The machine.
    pub host: Option<String>,
    /// Id of its boot.
    pub boot_id: Option<String>,
    /// Any bytes, without what stands in front of a message, and without the line's end.
    pub text: Vec<u8>,
}

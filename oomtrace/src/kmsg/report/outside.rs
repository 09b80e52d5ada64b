//! Messages of others that say what an OOM report does not: which kernel this is, that an operator asked for it, how it ended.

use crate::{kmsg::line::number, text::from_kernel};

/// `Linux version 5.10.0-32-amd64 (debian-kernel@…`: the first message of a boot (linux_banner, init/version.c).
pub fn banner(text: &[u8]) -> Option<String> {
    let rest = text.strip_prefix(b"Linux version ")?;
    let release = rest.split(|byte| *byte == b' ').next()?;
    // Whoever calls itself that asks for memory or crashes in the same breath; only a banner goes on with its builder.
    let builder = rest.get(release.len()..)?.starts_with(b" (");
    (builder && release.first().is_some_and(u8::is_ascii_digit)).then(|| from_kernel(release))
}

/// An operator's wish (sysrq_handle_moom(), drivers/tty/sysrq.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysRq {
    /// To run the OOM killer.
    Kill,
    /// To show memory.
    ShowMemory,
}

/// `sysrq: Manual OOM execution`, before 5.0 `SysRq : Manual OOM execution`, in between both.
pub fn sysrq(text: &[u8]) -> Option<SysRq> {
    let rest = text.strip_prefix(b"sysrq: ").unwrap_or(text);
    let rest = match rest.strip_prefix(b"SysRq : ") {
        Some(rest) => rest,
        None if rest.len() < text.len() => rest,
        None => return None,
    };
    match rest.trim_ascii_end() {
        b"Manual OOM execution" => Some(SysRq::Kill),
        b"Show Memory" => Some(SysRq::ShowMemory),
        _ => None,
    }
}

/// The words of a panic for want of memory (out_of_memory(), check_panic_on_oom(), mm/oom_kill.c).
pub fn panic(text: &[u8]) -> Option<String> {
    const WORDS: [&[u8]; 4] = [
        // `Out of memory: compulsory panic_on_oom is enabled`, `Out of memory and no killable processes...`
        b"Out of memory",
        // `out of memory. panic_on_oom is selected`, before 2.6.36.
        b"out of memory",
        b"Out of Memory",
        b"System is deadlocked on memory",
    ];
    let rest = text
        .strip_prefix(b"Kernel panic - not syncing: ")
        // Until 2.6.5.
        .or_else(|| text.strip_prefix(b"Kernel panic: "))?;
    WORDS.iter().any(|words| rest.starts_with(words)).then(|| from_kernel(rest.trim_ascii_end()))
}

/// `Task in /a killed as a result of limit of /b` (mem_cgroup_print_oom_info(), mm/memcontrol.c), 2.6.29 to 4.20: the victim's
/// memory cgroup and the one at its limit. `None` too if their names leave more than one way to read it.
pub fn task_in(text: &[u8]) -> Option<(String, String)> {
    const WORDS: &[u8] = b" killed as a result of limit of /";
    let rest = text.strip_prefix(b"Task in ").filter(|rest| rest.starts_with(b"/"))?;
    let at = crate::kmsg::line::find(rest, WORDS)?;
    if crate::kmsg::line::last(rest, WORDS)? != at {
        return None;
    }
    Some((from_kernel(rest.get(..at)?), from_kernel(rest.get(at + WORDS.len() - 1..)?)))
}

/// Whether it is the header before 2.6.16, which says next to nothing: `oom-killer: gfp_mask=0xd0`.
pub fn bare_header(text: &[u8]) -> bool {
    text.starts_with(b"oom-killer: gfp_mask=0x")
}

/// `oom_score_adj` of who asked, at the header's end (since 2.6.36).
pub fn trigger_adj(header: &[u8]) -> Option<i32> {
    const WORDS: &[u8] = b" oom_score_adj=";
    let at = crate::kmsg::line::last(header, WORDS)?;
    let value = str::from_utf8(header.get(at + WORDS.len()..)?).ok()?.trim_end();
    value.parse().ok().filter(|adj| (-1000..=1000).contains(adj))
}

/// The thread that asked, where the header says it: `4077 (java) invoked …` (2.6.18 of OpenVZ).
pub fn trigger_tid(header: &[u8]) -> Option<u32> {
    let (tid, rest) = number(header)?;
    rest.starts_with(b" (").then_some(tid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the banner, and against a thread of the name `Linux version 5`.
    #[test]
    fn banners() {
        assert_eq!(
            banner(b"Linux version 2.6.18-8.el5 (mockbuild@builder4) (gcc version 4.1.1) #1 SMP").unwrap(),
            "2.6.18-8.el5"
        );
        for text in
            ["Linux version 5", "Linux version 5[12]: segfault at 0", "Linux version x (y)", "Linux version "]
        {
            assert_eq!(banner(text.as_bytes()), None, "{text}");
        }
    }

    /// Guards an operator's wish by 2.6.26, 4.1 and 6.1 (drivers/char/sysrq.c, drivers/tty/sysrq.c).
    #[test]
    fn sysrqs() {
        for text in [
            "SysRq : Manual OOM execution",
            "sysrq: SysRq : Manual OOM execution",
            "sysrq: Manual OOM execution",
        ] {
            assert_eq!(sysrq(text.as_bytes()), Some(SysRq::Kill), "{text}");
        }
        assert_eq!(sysrq(b"SysRq : Show Memory"), Some(SysRq::ShowMemory));
        assert_eq!(sysrq(b"Manual OOM execution"), None, "without its beginning it is nobody's");
        assert_eq!(sysrq(b"sysrq: Show Blocked State"), None);
    }

    /// Guards panics in the words of 2.6.9, 2.6.32, 3.10 and 6.12 (mm/oom_kill.c).
    #[test]
    fn panics() {
        for words in [
            "out of memory. panic_on_oom is selected",
            "out of memory. Compulsory panic_on_oom is selected.",
            "out of memory from page fault. panic_on_oom is selected.",
            "out of memory(memcg). panic_on_oom is selected.",
            "Out of memory: compulsory panic_on_oom is enabled",
            "Out of memory: system-wide panic_on_oom is enabled",
            "Out of memory and no killable processes...",
            "System is deadlocked on memory",
        ] {
            assert_eq!(
                panic(format!("Kernel panic - not syncing: {words}").as_bytes()).as_deref(),
                Some(words)
            );
        }
        assert!(panic(b"Kernel panic: Out of memory and no killable processes...").is_some());
        assert_eq!(panic(b"Kernel panic - not syncing: Attempted to kill init!"), None);
        assert_eq!(panic(b"Out of memory: compulsory panic_on_oom is enabled"), None);
    }

    /// Guards both cgroups of 3.10 to 4.20, and names that leave open which is which.
    #[test]
    fn tasks_in_cgroups() {
        let (task, limit) = task_in(b"Task in /a b/c killed as a result of limit of /a b").unwrap();
        assert_eq!((task.as_str(), limit.as_str()), ("/a b/c", "/a b"));
        assert!(task_in(b"Task in / killed as a result of limit of /").is_some());
        let open = b"Task in /a killed as a result of limit of /b killed as a result of limit of /c";
        assert_eq!(task_in(open), None);
        for text in ["Task in ", "Task in /a", "Task in /a killed as a result of limit of "] {
            assert_eq!(task_in(text.as_bytes()), None, "{text}");
        }
    }

    /// Guards what headers say besides (2.6.9, 2.6.18 of OpenVZ, 3.2, 6.1).
    #[test]
    fn headers() {
        let adj = |text: &str| trigger_adj(text.as_bytes());
        assert_eq!(
            adj("x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=-997"),
            Some(-997)
        );
        assert_eq!(
            adj("x invoked oom-killer: gfp_mask=0x201da, order=0, oom_adj=-3, oom_score_adj=5"),
            Some(5)
        );
        assert_eq!(adj("x invoked oom-killer: gfp_mask=0x201da, order=0, oom_adj=-3"), None);
        assert_eq!(adj("x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj="), None);
        assert_eq!(
            trigger_tid(b"4077 (java) invoked 101 oom-killer: gfp 0x201d2 order 0 oomkilladj=0"),
            Some(4077)
        );
        assert_eq!(trigger_tid(b"4077 invoked oom-killer: gfp_mask=0x201d2, order=0, oomkilladj=0"), None);
        assert!(bare_header(b"oom-killer: gfp_mask=0xd0"));
        assert!(!bare_header(b"oom-killer: "));
    }
}

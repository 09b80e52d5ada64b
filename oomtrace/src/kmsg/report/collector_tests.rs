//! Whole logs: as kernels wrote them, cut short, mixed, and as somebody may want them to look.

use super::*;
use crate::kmsg::report::ChargeKind;

/// The messages of a log in our own form: one a line, with /dev/kmsg's escapes.
fn messages(log: &str) -> Vec<Message> {
    log.lines()
        .map(|line| {
            let record = crate::kmsg::parse(format!("6,1,1,-;{line}\n").as_bytes()).unwrap();
            Message { text: record.text, ..Message::default() }
        })
        .collect()
}

fn told(messages: &[Message]) -> Vec<Told> {
    let mut collector = Collector::default();
    let mut all = Vec::new();
    for message in messages {
        collector.take(message, |told| all.push(told));
    }
    collector.end(|told| all.push(told));
    assert!(!collector.is_open());
    all
}

fn reports_of(messages: &[Message]) -> Vec<Report> {
    told(messages)
        .into_iter()
        .filter_map(|told| match told {
            Told::Oom(report) => Some(*report),
            _ => None,
        })
        .collect()
}

fn reports(log: &str) -> Vec<Report> {
    reports_of(&messages(log))
}

fn one(log: &str) -> Report {
    let mut reports = reports(log);
    assert_eq!(reports.len(), 1, "{reports:#?}");
    reports.remove(0)
}

fn kills(report: &Report) -> Vec<(u32, bool)> {
    report.kills.iter().map(|kill| (kill.killed.pid, kill.group)).collect()
}

fn fixture(name: &str) -> String {
    let path = format!("{}/../tests/fixtures/klog/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Guards a report of 5.10 for a memory cgroup, every part of it.
#[test]
fn a_memory_cgroup_of_5_10() {
    let report = one(&fixture("5.10-memcg.log"));
    let invoked = report.invoked.as_ref().unwrap();
    assert_eq!((invoked.comm.as_str(), invoked.order, report.trigger_adj), ("small-asker", 0, Some(1)));
    assert_eq!((report.tid, report.kernel.as_deref()), (Some(108), Some("5.10.0-46-cloud-amd64")));
    assert_eq!(report.memcg.as_deref(), Some("/oomtrace-103-memcg_other/shared"));
    let [memory, swap] = &report.charges[..] else { panic!("{:?}", report.charges) };
    assert_eq!(
        (memory.kind, memory.usage_bytes, memory.limit_bytes),
        (ChargeKind::Memory, 48 << 20, Some(48 << 20))
    );
    assert_eq!((memory.hits, swap.kind, swap.limit_bytes), (Some(33), ChargeKind::Swap, Some(0)));
    assert_eq!((report.stats_bytes["anon"], report.stats_bytes["shmem"]), (46_903_296, 2_027_520));
    assert_eq!((report.tasks.len(), report.tasks_in_all), (2, 2));
    assert_eq!(report.tasks[0].rss_pages, Some(12442));
    assert_eq!(report.decided.as_ref().unwrap().pid, Some(106));
    assert_eq!((kills(&report), &report.end), (vec![(106, false)], &End::Killed));
    assert!(!report.sysrq);
}

/// Guards a report of 7.2 for the machine: its memory, every part of it.
#[test]
fn a_machine_of_7_2() {
    let report = one(&fixture("7.2-global.log"));
    let memory = &report.memory;
    assert_eq!((memory.sums_pages["active_anon"], memory.sums_pages["free"]), (41701, 591));
    assert_eq!((memory.nodes.len(), memory.nodes[0].bytes["kernel_stack"]), (1, 1104 << 10));
    let [dma, dma32] = &memory.zones[..] else { panic!("{:?}", memory.zones) };
    assert_eq!((dma.node, dma.name.as_str(), dma.bytes["free"]), (Some(0), "DMA", 912 << 10));
    assert_eq!(dma32.reserve_pages.as_deref(), Some(&[0; 5][..]));
    assert_eq!(dma32.free_by_order.as_deref(), Some(&[0, 1, 1, 2, 1, 2, 0, 2, 0, 0, 0][..]));
    assert_eq!((memory.page_bytes, memory.huge_pages.len()), (Some(4096), 2));
    assert_eq!((memory.swap_total_bytes, memory.swap_free_bytes), (Some(0), Some(0)));
    assert_eq!(
        (memory.ram_pages, memory.reserved_pages, memory.high_pages),
        (Some(65397), Some(12097), Some(0))
    );
    assert_eq!((report.tasks.len(), report.memcg, report.charges.len()), (4, None, 0));
    assert_eq!(report.tasks[3].rss_pages, Some(43642));
}

/// Guards a group: its first victim's line comes twice.
#[test]
fn a_group_of_6_12() {
    let report = one(&fixture("6.12-group.log"));
    assert_eq!(kills(&report), [(208, false), (202, true), (204, true), (206, true), (208, true)]);
    assert_eq!(report.group.as_deref(), Some("/oomtrace-164-group/together"));
    assert_eq!(report.stats_bytes["pgfault"], 12259);
}

/// Guards two runs in a row, and a name of control characters.
#[test]
fn other_fixtures() {
    let two = reports(&fixture("7.2-two-kills.log"));
    assert_eq!(two.iter().map(kills).collect::<Vec<_>>(), [[(138, false)], [(136, false)]]);
    assert!(two.iter().all(|report| report.tasks_in_all > 0 && report.stats_bytes["slab"] == 1600));
    let hostile = one(&fixture("6.1-hostile-name.log"));
    assert_eq!((kills(&hostile), hostile.tid), (vec![(137, false)], Some(137)));
    assert_eq!(hostile.tasks[0].comm, hostile.kills[0].killed.comm);
}

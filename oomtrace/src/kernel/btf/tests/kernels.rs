//! Excerpts of real kernels, in tests/fixtures/btf, against what is known about them from other sources.

use super::super::{Btf, Missing, Prototype, TypeShape, VMLINUX, excerpt};
use super::fixtures::{KERNELS, ROOTS, fixture};
use super::hostile::Xorshift;

fn kernels() -> [Btf; 6] {
    KERNELS.map(|kernel| Btf::read(&fixture(kernel)).unwrap())
}

/// A prototype's parameters as text: what each points to, or what it is.
fn params(prototype: Result<Prototype, Missing>) -> Option<String> {
    let params = prototype.ok()?.params.into_iter().map(|param| match param.type_ {
        TypeShape::Pointer { to } => to.map_or_else(|| "*".to_owned(), |to| to + "*"),
        other => other.to_string(),
    });
    Some(params.collect::<Vec<_>>().join(", "))
}

/// Where fields are in each kernel and how long they are, as bpftool finds them in the whole BTF.
#[test]
fn fields_are_where_other_tools_find_them() {
    type Places = [Option<(u32, u32)>; 6];
    fn same(offset: u32, size: u32) -> Places {
        [Some((offset, size)); 6]
    }
    fn each(offsets: [u32; 6], size: u32) -> Places {
        offsets.map(|offset| (offset != u32::MAX).then_some((offset, size)))
    }
    // 4 bytes in both 5.10, and 8 after.
    fn narrow([old, rest @ ..]: [u32; 5]) -> Places {
        let [a, b, c, d] = rest.map(|offset| Some((offset, 8)));
        [Some((old, 4)), Some((old, 4)), a, b, c, d]
    }
    const NO: u32 = u32::MAX;
    let known: &[(&str, &str, Places)] = &[
        ("oom_control", "zonelist", same(0, 8)),
        ("oom_control", "nodemask", same(8, 8)),
        ("oom_control", "memcg", same(16, 8)),
        ("oom_control", "gfp_mask", same(24, 4)),
        ("oom_control", "order", same(28, 4)),
        ("oom_control", "totalpages", same(32, 8)),
        ("oom_control", "chosen", same(40, 8)),
        ("oom_control", "chosen_points", same(48, 8)),
        ("oom_control", "constraint", same(56, 4)),
        ("percpu_counter", "count", same(8, 8)),
        ("percpu_counter", "counters", same(32, 8)),
        ("mm_struct", "rss_stat.count[1]", each([720, 720, 736, NO, NO, NO], 8)),
        ("mm_struct", "rss_stat[1].count", each([NO, NO, NO, 872, 1008, 1256], 8)),
        ("mm_struct", "total_vm", each([192, 192, 192, 256, 360, 608], 8)),
        ("mm_struct", "pgtables_bytes", each([104, 104, 96, 152, 168, 392], 8)),
        ("task_struct", "signal", each([2832, 2832, 3072, 3072, 1848, 3448], 8)),
        ("task_struct", "comm", each([2736, 2736, 2976, 2976, 1752, 3344], 16)),
        ("task_struct", "tgid", each([2236, 2236, 2420, 2436, 1268, 2812], 4)),
        ("signal_struct", "oom_score_adj", each([1010, 1010, 1026, 1018, 1058, 1074], 2)),
        ("signal_struct", "rlim[6].rlim_cur", each([768, 768, 784, 776, 776, 800], 8)),
        ("mem_cgroup", "css.cgroup", same(0, 8)),
        ("mem_cgroup", "memory.max", each([240, 240, 408, 480, 416, 416], 8)),
        ("mem_cgroup", "memsw.max", each([352, 352, 600, 736, 608, 608], 8)),
        ("mem_cgroup", "nodeinfo[0]", each([2816, 2816, 2128, 1696, 2136, 1656], 8)),
        ("kernfs_node", "parent", each([8, 8, 8, 8, NO, NO], 8)),
        ("kernfs_node", "__parent", each([NO, NO, NO, NO, 8, 8], 8)),
        ("kernfs_node", "id", each([104, 104, 104, 96, 96, 96], 8)),
        ("cgroup", "ancestors[1]", each([NO, NO, 1800, 2288, 2232, 2360], 8)),
        ("cgroup", "ancestor_ids[1]", each([2696, 2696, NO, NO, NO, NO], 8)),
        ("css_set", "subsys[4]", same(32, 8)),
        ("pids_cgroup", "limit", each([208, 208, 208, 216, 216, 256], 8)),
        ("user_struct", "processes", each([4, 4, NO, NO, NO, NO], 4)),
        ("ucounts", "rlimit[0]", each([NO, NO, 128, 128, 152, 152], 8)),
        ("ucounts", "ucount[2].counter", narrow([40, 48, 48, 72, 72])),
        ("user_namespace", "ucount_max[2]", narrow([512, 512, 496, 552, 760])),
        ("user_namespace", "rlimit_max[0]", each([NO, NO, 592, 576, 632, 840], 8)),
        ("pid", "numbers[0].nr", each([96, 96, 96, 112, 144, 128], 4)),
        ("pid_namespace", "pid_max", each([NO, NO, NO, NO, 68, 180], 4)),
        ("zone", "_watermark[1]", same(8, 8)),
        ("zone", "free_area[3].nr_free", each([536, 536, 600, 600, 720, 664], 8)),
        ("pglist_data", "node_zones[1].name", each([1608, 1608, 1704, 1720, 2168, 2048], 8)),
    ];
    let kernels = kernels();
    for (of, path, places) in known {
        let found = kernels.each_ref().map(|btf| {
            let member = btf.member(of, path).ok()?;
            assert_eq!(member.bits, None, "{of}.{path}");
            Some((member.offset, member.size))
        });
        assert_eq!(found, *places, "{of}.{path} in {KERNELS:?}");
    }
}

/// A field that became a bitfield in between is told from the whole word that it was.
#[test]
fn bitfields_are_seen_by_kernel() {
    let io_thread = kernels().map(|btf| {
        let member = btf.member("kernel_clone_args", "io_thread").unwrap();
        (member.offset, member.size, member.bits.map(|bits| (bits.offset, bits.width)))
    });
    let word = (84, 4, None);
    let bit = (44, 4, Some((1, 1)));
    assert_eq!(io_thread, [word, word, word, bit, bit, bit]);
    // Bits 17345, 17346, 18754, 18883, 9539 and 21890 of the struct.
    let in_execve = kernels().map(|btf| {
        let member = btf.member("task_struct", "in_execve").unwrap();
        (member.offset, member.bits.unwrap().offset)
    });
    assert_eq!(in_execve, [(2168, 1), (2168, 2), (2344, 2), (2360, 3), (1192, 3), (2736, 2)]);
}

/// How a kernel keeps RSS is told by the shape of one field: atomics up to 6.1, per-CPU counters after.
#[test]
fn rss_storage_is_told_by_its_shape() {
    let atomics = || TypeShape::Struct { name: "mm_rss_stat".to_owned() };
    let counters = || {
        let counter = TypeShape::Struct { name: "percpu_counter".to_owned() };
        TypeShape::Array { element: Box::new(counter), len: 4 }
    };
    let shapes = kernels().map(|btf| btf.member("mm_struct", "rss_stat").unwrap().type_);
    assert_eq!(shapes, [atomics(), atomics(), atomics(), counters(), counters(), counters()]);
}

/// Enum constants that the programs compare with.
#[test]
fn constants_are_those_of_the_sources() {
    let none = None;
    let all = |value| [Some(value); 6];
    for (of, name, expected) in [
        ("oom_constraint", "CONSTRAINT_MEMCG", all(3)),
        ("cgroup_subsys_id", "memory_cgrp_id", all(4)),
        ("cgroup_subsys_id", "pids_cgrp_id", all(11)),
        ("memcg_memory_event", "MEMCG_OOM_KILL", all(4)),
        ("memcg_memory_event", "MEMCG_OOM_GROUP_KILL", [none, none, Some(5), Some(5), Some(5), Some(5)]),
        ("", "MM_SHMEMPAGES", all(3)),
        ("", "WMARK_MIN", all(0)),
        ("", "NR_SHMEM", [Some(23), Some(23), Some(23), Some(23), Some(22), Some(22)]),
        ("", "UCOUNT_RLIMIT_NPROC", [none, none, Some(0), Some(0), Some(0), Some(0)]),
        ("ucount_type", "UCOUNT_USER_NAMESPACES", all(0)),
        ("ucount_type", "UCOUNT_TIME_NAMESPACES", all(7)),
        ("", "___GFP_IO_BIT", [none, none, none, Some(6), Some(6), Some(6)]),
        ("", "PIDCG_MAX", [none, none, none, Some(0), Some(0), Some(0)]),
    ] {
        let found = kernels().map(|btf| btf.enum_value(of, name).ok());
        assert_eq!(found, expected, "{name} in {KERNELS:?}");
    }
}

/// Tracepoints changed their arguments even within a stable series (`mark_victim` in 5.10.235) and swapped
/// them (reclaim in 7.2); the prototypes show it.
#[test]
fn tracepoints_show_their_arguments() {
    let kernels = kernels();
    let args = |name: &str| {
        kernels.each_ref().map(|btf| params(btf.typedef_prototype(&format!("btf_trace_{name}"))))
    };
    let some = |text: &str| Some(text.to_owned());
    let int = "an integer";
    let task = some("*, task_struct*, an integer");
    let mut mark_victim = [(); 6].map(|()| task.clone());
    mark_victim[0] = some("*, an integer");
    assert_eq!(args("mark_victim"), mark_victim);
    let begin = some(&format!("*, {int}, {int}"));
    let mut begins = [(); 6].map(|()| begin.clone());
    begins[5] = some(&format!("*, {int}, {int}, mem_cgroup*"));
    assert_eq!(args("mm_vmscan_memcg_reclaim_begin"), begins);
    // The order is signed and `gfp_t` is not, which is how the swap shows.
    let order_first = kernels.each_ref().map(|btf| {
        let begin = btf.typedef_prototype("btf_trace_mm_vmscan_memcg_reclaim_begin").unwrap();
        begin.params[1].type_ == TypeShape::Int { signed: true }
    });
    assert_eq!(order_first, [true, true, true, true, true, false]);
    let mm = some("*, mm_struct*");
    assert_eq!(args("exit_mmap"), [None, None, mm.clone(), mm.clone(), mm.clone(), mm]);
    let exits = args("sched_process_exit").map(|args| args.unwrap().split(", ").count());
    assert_eq!(exits, [2, 2, 2, 2, 3, 3]);
}

/// Functions to hook have the parameters that the programs read.
#[test]
fn functions_show_their_parameters() {
    for (btf, kernel) in kernels().iter().zip(KERNELS) {
        let of = |name: &str| params(btf.function(name)).unwrap_or_else(|| panic!("{name} in {kernel}"));
        assert_eq!(of("out_of_memory"), "oom_control*");
        assert_eq!(of("oom_kill_process"), "oom_control*, char*");
        assert_eq!(of("__oom_kill_process"), "task_struct*, char*");
        assert_eq!(of("mark_oom_victim"), "task_struct*");
        assert_eq!(of("oom_badness"), "task_struct*, an integer");
        assert_eq!(of("oom_evaluate_task"), "task_struct*, *");
        assert_eq!(of("copy_process"), "pid*, an integer, an integer, kernel_clone_args*");
    }
}

/// An excerpt of an excerpt is the same to the byte, so it holds all that it promises and nothing else.
#[test]
fn excerpts_are_closed() {
    for (btf, kernel) in kernels().iter().zip(KERNELS) {
        let again = excerpt(btf, ROOTS).unwrap();
        assert!(again.btf == std::fs::read(fixture(kernel)).unwrap(), "{kernel}");
        assert!(again.absent.len() <= 5, "{kernel} lacks {:?}", again.absent);
        assert!(btf.strukt("inode").is_err(), "{kernel}: what only pointers lead to is left out");
    }
}

/// On the kernel that runs this test, its excerpt answers as its whole BTF does.
#[test]
fn the_running_kernel_answers() {
    let Ok(whole) = Btf::read(VMLINUX.as_ref()) else {
        println!("skipped: this kernel shows no BTF");
        return;
    };
    let cut = Btf::parse(excerpt(&whole, ROOTS).unwrap().btf).unwrap();
    assert!(cut.type_count() * 20 < whole.type_count());
    for (of, path) in [
        ("oom_control", "constraint"),
        ("mm_struct", "rss_stat"),
        ("mem_cgroup", "memory.max"),
        ("task_struct", "in_execve"),
        ("zone", "free_area[3].nr_free"),
    ] {
        let found = whole.member(of, path).unwrap();
        assert_eq!(cut.member(of, path).unwrap(), found, "{of}.{path}");
    }
    assert_eq!(whole.enum_value("", "MM_SHMEMPAGES"), Ok(3));
    assert_eq!(whole.function("out_of_memory").unwrap(), cut.function("out_of_memory").unwrap());
}

/// Damage to a real kernel's types is survived too.
#[test]
fn damaged_kernels_are_survived() {
    let file = std::fs::read(fixture("7.2")).unwrap();
    let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
    let mut usable = 0;
    for _ in 0..200 {
        let mut damaged = file.clone();
        for _ in 0..32 {
            let at = random.below(file.len());
            damaged[at] ^= 1 << random.below(8);
        }
        let Ok(btf) = Btf::parse(damaged) else { continue };
        usable += 1;
        for of in ["task_struct", "mm_struct", "mem_cgroup", "zone", "pglist_data"] {
            for path in ["comm", "rss_stat[1].count", "memory.max", "free_area[3].nr_free", "none"] {
                let _ = btf.member(of, path);
            }
        }
        let _ = btf.enum_value("", "none");
        let _ = excerpt(&btf, ROOTS);
    }
    assert!(usable > 20, "{usable} of 200 could be read at all");
}

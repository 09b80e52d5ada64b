//! Roles and the hooks that can fill them, best first. Which one is taken is decided by what this kernel offers
//! and by what attaches, never by its version.

use serde::{Deserialize, Serialize};

use super::btf::{Btf, TypeShape};

/// The set of hooks in use, named after the strongest kind.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// No hook: the kernel log alone.
    Kmsg,
    /// Tracepoints alone.
    Tracepoint,
    /// Kprobes beside tracepoints.
    Kprobe,
    /// BPF trampolines (fentry, fexit) beside tracepoints.
    Trampoline,
}

impl Tier {
    /// Its name in options and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kmsg => "kmsg",
            Self::Tracepoint => "tracepoint",
            Self::Kprobe => "kprobe",
            Self::Trampoline => "trampoline",
        }
    }
}

/// How a program attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Trampoline at a function's entry.
    Fentry,
    /// Trampoline at a function's return.
    Fexit,
    /// Breakpoint at a function's entry.
    Kprobe,
    /// The same at its return.
    Kretprobe,
    /// Raw tracepoint.
    RawTracepoint,
}

impl Kind {
    /// Its name in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::RawTracepoint => "raw_tp",
        }
    }

    /// The tier that a hook of this kind belongs to.
    #[must_use]
    pub fn tier(self) -> Tier {
        match self {
            Self::Fentry | Self::Fexit => Tier::Trampoline,
            Self::Kprobe | Self::Kretprobe => Tier::Kprobe,
            Self::RawTracepoint => Tier::Tracepoint,
        }
    }
}

/// One attach point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program in the eBPF object.
    pub program: &'static str,
    /// How it attaches.
    pub kind: Kind,
    /// The kernel function or tracepoint.
    pub target: &'static str,
}

/// A field of the output that a choice costs, and why.
pub type Loss = (&'static str, &'static str);

/// A question to a kernel's types, and why the answer is no.
pub type Test = fn(&Btf) -> Result<(), String>;

/// One way to fill a role.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Attached together or not at all. None: the role is done without a hook.
    pub hooks: &'static [Hook],
    /// Whether this kernel offers it, beyond having the functions and tracepoints.
    pub offered: Option<Test>,
    /// Whether it is for where another role has these hooks already, and for nowhere else.
    pub shared: bool,
    /// What the output lacks by it.
    pub losses: &'static [Loss],
    /// How the role is filled where it has no hook; what to know about it where it has.
    pub note: &'static str,
}

/// What a set of hooks is for.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Its name.
    pub name: &'static str,
    /// What it tells.
    pub purpose: &'static str,
    /// Ways to fill it, best first. The last has no hook where tracing goes on without the role.
    pub choices: &'static [Choice],
}

const fn hook(program: &'static str, kind: Kind, target: &'static str) -> Hook {
    Hook { program, kind, target }
}

/// What `mark_victim` passes behind the tracing context.
fn mark_passes(btf: &Btf) -> Result<Vec<TypeShape>, String> {
    let prototype = btf.typedef_prototype("btf_trace_mark_victim").map_err(|missing| missing.to_string())?;
    Ok(prototype.params.into_iter().skip(1).map(|parameter| parameter.type_).collect())
}

/// `(task, uid)`: with 6.9, and with stable updates of older series, so a version says nothing.
fn mark_passes_task(btf: &Btf) -> Result<(), String> {
    match mark_passes(btf)?.first() {
        Some(TypeShape::Pointer { to: Some(to) }) if to == "task_struct" => Ok(()),
        Some(TypeShape::Int { .. }) => {
            Err("on this kernel the tracepoint passes a thread id and not the task".to_owned())
        }
        _ => Err("what the tracepoint passes on this kernel is not known to oomtrace".to_owned()),
    }
}

/// `(pid)`: the task has to be found by it.
fn mark_passes_pid(btf: &Btf) -> Result<(), String> {
    match mark_passes(btf)?.as_slice() {
        [TypeShape::Int { .. }] => {
            btf.member("task_struct", "pid").map(drop).map_err(|missing| missing.to_string())
        }
        _ => Err("what the tracepoint passes on this kernel is not known to oomtrace".to_owned()),
    }
}

const NO_DECISION: &str = "no hook shows the decision in this tier; only the kernel log has it";

/// Stands in for the hooks of [`KILLED`] from the start, since it is attached at once; until they are in place.
pub const STAND_IN: Choice = choice(&[KILLED_BY_SIGNAL]);

/// Tells kills where nothing else does, and who dies with the victims.
const SIGNALLED: Hook = hook("signalled_raw_tp", Kind::RawTracepoint, "signal_generate");

const KILLED_BY_SIGNAL: Hook = hook("killed_raw_tp", Kind::RawTracepoint, "signal_generate");

/// What a report takes.
pub const VICTIM: Role = Role {
    name: "victim",
    purpose: "who dies, with its memory at that instant",
    choices: &[
        Choice {
            hooks: &[hook("victim_raw_tp", Kind::RawTracepoint, "mark_victim")],
            offered: Some(mark_passes_task),
            shared: false,
            losses: &[],
            note: "",
        },
        choice(&[hook("victim_fentry", Kind::Fentry, "mark_oom_victim")]),
        choice(&[hook("victim_kprobe", Kind::Kprobe, "mark_oom_victim")]),
        Choice {
            hooks: &[hook("victim_raw_tp", Kind::RawTracepoint, "mark_victim")],
            offered: Some(mark_passes_pid),
            shared: false,
            losses: &[],
            note: "the tracepoint passes a thread id: the task is the one that was just killed; of one that \
                   was exiting already, the id alone is known",
        },
    ],
};

/// What tells a kill from a mere mark.
pub const KILLED: Role = Role {
    name: "killed",
    purpose: "whether a victim was killed or merely marked while exiting",
    choices: &[
        choice(&[hook("killed_fentry", Kind::Fentry, "__oom_kill_process")]),
        choice(&[hook("killed_kprobe", Kind::Kprobe, "__oom_kill_process")]),
        choice(&[SIGNALLED]),
    ],
};

/// What tells that there is no more to come.
pub const OUTCOME: Role = Role {
    name: "outcome",
    purpose: "when the OOM killer's run ends",
    choices: &[
        choice(&[hook("outcome_fexit", Kind::Fexit, "out_of_memory")]),
        choice(&[hook("outcome_kretprobe", Kind::Kretprobe, "out_of_memory")]),
        Choice {
            hooks: &[],
            offered: None,
            shared: false,
            losses: &[],
            note: "an incident ends with its victim, or 50 ms after the last of a group",
        },
    ],
};

const DIRECT_RECLAIM: Hook =
    hook("direct_reclaim_raw_tp", Kind::RawTracepoint, "mm_vmscan_direct_reclaim_begin");
const MEMCG_RECLAIM: Hook =
    hook("memcg_reclaim_raw_tp", Kind::RawTracepoint, "mm_vmscan_memcg_reclaim_begin");

const BY_RECLAIM: &str = "the trigger is the task that marks the victim; the scope follows from what it reclaimed last and \
                          from the limits of its memory cgroups, and the zones are those at the kill";
const UNDECIDED: [Loss; 4] = [
    ("scope.constraint", NO_DECISION),
    ("trigger.gfp_mask", NO_DECISION),
    ("trigger.gfp_flags", NO_DECISION),
    ("trigger.order", NO_DECISION),
];
const NO_ZONES: &str = "no hook shows the zones of a request in this tier";

/// What a report is best with. Attached last: what it builds upon is there when the first decision is seen.
pub const DECISION: Role = Role {
    name: "decision",
    purpose: "what ran out, who asked, who was chosen",
    choices: &[
        choice(&[hook("decision_fentry", Kind::Fentry, "oom_kill_process")]),
        choice(&[hook("decision_kprobe", Kind::Kprobe, "oom_kill_process")]),
        Choice {
            losses: &UNDECIDED,
            note: BY_RECLAIM,
            ..choice(&[
                DIRECT_RECLAIM,
                MEMCG_RECLAIM,
                hook("retry_zone_raw_tp", Kind::RawTracepoint, "reclaim_retry_zone"),
            ])
        },
        Choice {
            losses: &[
                UNDECIDED[0],
                UNDECIDED[1],
                UNDECIDED[2],
                UNDECIDED[3],
                ("zones", NO_ZONES),
                ("host_memory", NO_ZONES),
            ],
            note: BY_RECLAIM,
            ..choice(&[DIRECT_RECLAIM, MEMCG_RECLAIM])
        },
    ],
};

/// `long oom_badness(struct task_struct *p, unsigned long totalpages)`. Vendors have added parameters, and where a
/// program finds what a function returned depends on how many there are.
fn scores_a_task(btf: &Btf) -> Result<(), String> {
    let prototype = btf.function("oom_badness").map_err(|missing| missing.to_string())?;
    let params: Vec<_> = prototype.params.iter().map(|parameter| &parameter.type_).collect();
    match (params.as_slice(), &prototype.returns) {
        ([TypeShape::Pointer { to: Some(to) }, TypeShape::Int { .. }], TypeShape::Int { signed: true })
            if to == "task_struct" =>
        {
            Ok(())
        }
        _ => Err("oom_badness() takes and returns something else on this kernel".to_owned()),
    }
}

const NO_SCORING: &str = "no hook shows the scoring in this tier";

/// `int oom_evaluate_task(struct task_struct *task, void *arg)`.
fn evaluates_a_task(btf: &Btf) -> Result<(), String> {
    scores_a_task(btf)?;
    let prototype = btf.function("oom_evaluate_task").map_err(|missing| missing.to_string())?;
    let params: Vec<_> = prototype.params.iter().map(|parameter| &parameter.type_).collect();
    match params.as_slice() {
        [TypeShape::Pointer { to: Some(to) }, TypeShape::Pointer { .. }] if to == "task_struct" => Ok(()),
        _ => Err("oom_evaluate_task() takes something else on this kernel".to_owned()),
    }
}

/// Who else there was. Of use beside a decision alone: its records come with that.
pub const CANDIDATES: Role = Role {
    name: "candidates",
    purpose: "who could have been chosen, and by which scores",
    choices: &[
        Choice {
            offered: Some(evaluates_a_task),
            note: COMPUTED,
            ..choice(&[
                BALLOT_FENTRY,
                hook("evaluated_fentry", Kind::Fentry, "oom_evaluate_task"),
                CANDIDATE_FEXIT,
            ])
        },
        Choice { offered: Some(scores_a_task), ..choice(&[BALLOT_FENTRY, CANDIDATE_FEXIT]) },
        Choice {
            offered: Some(evaluates_a_task),
            note: COMPUTED,
            ..choice(&[
                BALLOT_KPROBE,
                hook("evaluated_kprobe", Kind::Kprobe, "oom_evaluate_task"),
                CANDIDATE_KPROBE,
                CANDIDATE_KRETPROBE,
            ])
        },
        Choice {
            offered: Some(scores_a_task),
            ..choice(&[BALLOT_KPROBE, CANDIDATE_KPROBE, CANDIDATE_KRETPROBE])
        },
        Choice {
            hooks: &[],
            offered: None,
            shared: false,
            losses: &[
                ("ballot", NO_SCORING),
                ("candidates", NO_SCORING),
                ("decision_ns", NO_SCORING),
                ("calls_without_decision", NO_SCORING),
            ],
            note: "nobody but the victim is known",
        },
    ],
};

const BALLOT_FENTRY: Hook = hook("ballot_fentry", Kind::Fentry, "out_of_memory");
const BALLOT_KPROBE: Hook = hook("ballot_kprobe", Kind::Kprobe, "out_of_memory");
const CANDIDATE_FEXIT: Hook = hook("candidate_fexit", Kind::Fexit, "oom_badness");
const CANDIDATE_KPROBE: Hook = hook("candidate_kprobe", Kind::Kprobe, "oom_badness");
const CANDIDATE_KRETPROBE: Hook = hook("candidate_kretprobe", Kind::Kretprobe, "oom_badness");
const COMPUTED: &str = "where the kernel's scan calls an inlined part of oom_badness(), scores are computed as that does, and \
                        the report says so";

const EXPECTED: Hook = hook("expected_raw_tp", Kind::RawTracepoint, "mark_victim");
const EXITED: Hook = hook("exited_raw_tp", Kind::RawTracepoint, "sched_process_exit");
const REAPED: Hook = hook("reaped_raw_tp", Kind::RawTracepoint, "finish_task_reaping");

/// What comes after. Attached early: a victim may be gone some milliseconds after its mark.
pub const RELIEF: Role = Role {
    name: "relief",
    purpose: "when a victim has ended, and when its memory is free",
    choices: &[
        choice(&[EXPECTED, EXITED, hook("freed_raw_tp", Kind::RawTracepoint, "exit_mmap"), REAPED]),
        choice(&[EXPECTED, EXITED, hook("freed_fexit", Kind::Fexit, "exit_mmap"), REAPED]),
        Choice {
            hooks: &[
                EXPECTED,
                hook("exited_and_freed_raw_tp", Kind::RawTracepoint, "sched_process_exit"),
                REAPED,
            ],
            offered: None,
            shared: false,
            losses: &[],
            note: "memory is known to be free once the victim's last thread has ended; of memory that others \
                   share, not at all",
        },
        Choice { losses: &[("relief", NO_RELIEF)], ..choice(&[]) },
    ],
};

/// What victims were started with. A trigger's own command line takes no hook of its own.
pub const CMDLINE: Role = Role {
    name: "cmdline",
    purpose: "the command line and the environment of a victim that is not the trigger",
    choices: &[
        choice(&[EXPECTED, hook("dies_raw_tp", Kind::RawTracepoint, "signal_deliver")]),
        Choice {
            hooks: &[],
            offered: None,
            shared: false,
            losses: &[("victims.cmdline", UNSEEN), ("victims.environment", UNSEEN)],
            note: "",
        },
    ],
};

const UNSEEN: &str = "no hook shows a victim before it ends";

/// What dies with victims. Attached early: it follows the mark at once.
pub const COLLATERAL: Role = Role {
    name: "collateral",
    purpose: "who is killed with a victim: what shares its memory, or its PID namespace",
    choices: &[
        Choice { shared: true, ..choice(&[EXPECTED, SIGNALLED]) },
        choice(&[EXPECTED, STRUCK]),
        Choice { losses: &[("collateral", NO_SIGNALS)], ..choice(&[]) },
    ],
};

const STRUCK: Hook = hook("struck_raw_tp", Kind::RawTracepoint, "signal_generate");

/// Who is killed by others than the kernel. The programs that see its own signals see these, too.
pub const USER_KILL: Role = Role {
    name: "userspace_kill",
    purpose: "who is killed by a daemon in user space (systemd-oomd, earlyoom, nohang, oomd)",
    choices: &[
        Choice { shared: true, note: BY_NAME, ..choice(&[SIGNALLED]) },
        Choice { shared: true, note: BY_NAME, ..choice(&[STRUCK]) },
        Choice { note: "they are not seen", ..choice(&[]) },
    ],
};

const BY_NAME: &str = "such a daemon is known by its name";
const NO_SIGNALS: &str = "no hook shows the kernel's signals here";
const NO_RELIEF: &str = "no hook shows the end of a process here";

/// How long it hurt before.
pub const STALL: Role = Role {
    name: "stall",
    purpose: "how long the trigger reclaimed before the OOM killer ran",
    choices: &[
        choice(&[
            DIRECT_RECLAIM,
            hook("direct_reclaimed_raw_tp", Kind::RawTracepoint, "mm_vmscan_direct_reclaim_end"),
            MEMCG_RECLAIM,
            hook("memcg_reclaimed_raw_tp", Kind::RawTracepoint, "mm_vmscan_memcg_reclaim_end"),
        ]),
        Choice {
            hooks: &[],
            offered: None,
            shared: false,
            losses: &[("stall", "this kernel has no tracepoints that show it")],
            note: "not known",
        },
    ],
};

const PRESSURE_OF_RECLAIM: [Hook; 4] = [
    DIRECT_RECLAIM,
    hook("direct_reclaimed_raw_tp", Kind::RawTracepoint, "mm_vmscan_direct_reclaim_end"),
    MEMCG_RECLAIM,
    hook("memcg_reclaimed_raw_tp", Kind::RawTracepoint, "mm_vmscan_memcg_reclaim_end"),
];
const NO_COMPACTION: &str = "no hook shows compaction here";
const NO_PRESSURE: &str = "no hook shows reclaim or compaction here";

/// How long it hurts while nobody is killed. For `oomtrace run` alone; much of it is another role's already.
pub const PRESSURE: Role = Role {
    name: "pressure",
    purpose: "how long threads wait while memory is freed for them, and how much is (oomtrace run)",
    choices: &[
        choice(&[
            PRESSURE_OF_RECLAIM[0],
            PRESSURE_OF_RECLAIM[1],
            PRESSURE_OF_RECLAIM[2],
            PRESSURE_OF_RECLAIM[3],
            hook("compaction_raw_tp", Kind::RawTracepoint, "mm_compaction_begin"),
            hook("compacted_raw_tp", Kind::RawTracepoint, "mm_compaction_end"),
        ]),
        Choice { losses: &[("pressure.compaction", NO_COMPACTION)], ..choice(&PRESSURE_OF_RECLAIM) },
        Choice {
            note: "only how long triggers waited is known",
            losses: &[("pressure", NO_PRESSURE)],
            ..choice(&[])
        },
    ],
};

/// What tells a victim on its way to its signal from a process that is hurt.
fn tells_victims(btf: &Btf) -> Result<(), String> {
    btf.member("task_struct", "pending.signal.sig[0]").map(drop).map_err(|missing| missing.to_string())
}

/// What fails and kills nobody.
pub const ALLOC_FAILURE: Role = Role {
    name: "alloc_failure",
    purpose: "page faults that fail for want of memory, and nobody is killed",
    choices: &[
        Choice {
            offered: Some(tells_victims),
            note: UNSEEN_CHARGES,
            ..choice(&[hook("page_fault_fentry", Kind::Fentry, "pagefault_out_of_memory")])
        },
        Choice {
            offered: Some(tells_victims),
            note: UNSEEN_CHARGES,
            ..choice(&[hook("page_fault_kprobe", Kind::Kprobe, "pagefault_out_of_memory")])
        },
        Choice { note: "they are not seen", ..choice(&[]) },
    ],
};

const UNSEEN_CHARGES: &str = "what a memory cgroup refuses the kernel itself (a system call then fails with ENOMEM, an \
                              allocation of more than 8 pages always) is seen by no hook that costs nothing";

/// `alloc_hugetlb_folio(vma, addr, avoid_reserve)`: where a program finds what a function returned depends on how many
/// parameters there are.
fn allocates_for_a_vma(btf: &Btf, function: &str) -> Result<(), String> {
    let prototype = btf.function(function).map_err(|missing| missing.to_string())?;
    match (prototype.params.as_slice(), &prototype.returns) {
        ([_, _, _], TypeShape::Pointer { .. }) => Ok(()),
        _ => Err(format!("{function}() takes or returns something else on this kernel")),
    }
}

fn allocates_folios(btf: &Btf) -> Result<(), String> {
    allocates_for_a_vma(btf, "alloc_hugetlb_folio")
}

fn allocates_pages(btf: &Btf) -> Result<(), String> {
    allocates_for_a_vma(btf, "alloc_huge_page")
}

/// Pools that run out.
pub const HUGETLB: Role = Role {
    name: "hugetlb",
    purpose: "huge pages (hugetlbfs) that the pool has not: the process gets SIGBUS",
    choices: &[
        Choice {
            offered: Some(allocates_folios),
            ..choice(&[hook("hugetlb_fexit", Kind::Fexit, "alloc_hugetlb_folio")])
        },
        Choice {
            offered: Some(allocates_pages),
            ..choice(&[hook("hugetlb_fexit", Kind::Fexit, "alloc_huge_page")])
        },
        Choice {
            offered: Some(allocates_folios),
            ..choice(&[hook("hugetlb_kretprobe", Kind::Kretprobe, "alloc_hugetlb_folio")])
        },
        Choice {
            offered: Some(allocates_pages),
            ..choice(&[hook("hugetlb_kretprobe", Kind::Kretprobe, "alloc_huge_page")])
        },
        Choice { note: "they are not seen", ..choice(&[]) },
    ],
};

/// `void warn_alloc(gfp_t gfp_mask, nodemask_t *nodemask, const char *fmt, ...)`.
fn warns_of_an_allocation(btf: &Btf) -> Result<(), String> {
    let prototype = btf.function("warn_alloc").map_err(|missing| missing.to_string())?;
    match prototype.params.as_slice() {
        [mask, _, format] if prototype.variadic => match (&mask.type_, &format.type_) {
            (TypeShape::Int { .. }, TypeShape::Pointer { .. }) => Ok(()),
            _ => Err("warn_alloc() takes something else on this kernel".to_owned()),
        },
        _ => Err("warn_alloc() takes something else on this kernel".to_owned()),
    }
}

/// What the kernel itself does not get. Such a function can have no trampoline.
pub const PAGE_ALLOCATION: Role = Role {
    name: "page_allocation",
    purpose: "allocations of the kernel's own that fail for good",
    choices: &[
        Choice {
            offered: Some(warns_of_an_allocation),
            ..choice(&[hook("pages_kprobe", Kind::Kprobe, "warn_alloc")])
        },
        Choice { note: "they are not seen; the kernel's log has some of them", ..choice(&[]) },
    ],
};

/// `(…, …, …, struct kernel_clone_args *)`: where a program finds what a function returned depends on how many parameters
/// there are.
fn forks(btf: &Btf) -> Result<(), String> {
    let parameters = |function: &str, count: usize| {
        let prototype = btf.function(function).map_err(|missing| missing.to_string())?;
        if prototype.params.len() == count {
            Ok(())
        } else {
            Err(format!("{function}() takes {} arguments on this kernel", prototype.params.len()))
        }
    };
    parameters("copy_process", 4)?;
    parameters("alloc_pid", 3)?;
    parameters("pids_can_fork", 2)
}

/// Where a system call's number stands.
fn has_system_calls(btf: &Btf) -> Result<(), String> {
    btf.member("pt_regs", "orig_ax").map(drop).map_err(|missing| missing.to_string())
}

const NO_ARGUMENTS: &str = "what the call asked for (making, clone_flags) is not at hand where it returns";
/// The tracepoint that every system call passes once it is hooked.
pub const SYSCALLS: &str = "sys_exit";
const BY_SYSCALLS: &str = "every system call of every process gets slower by some 50 ns (a third of the cheapest one), and the causes \
                           are inferred";
const NO_FORKS: &str = "no hook that costs nothing shows forks in this tier: what cgroups refuse is known by their own counts, and nothing else";

/// Forks that fail. Each hook sees every fork, and leaves at once if it succeeded.
pub const FORK_FAILURE: Role = Role {
    name: "fork_failure",
    purpose: "forks that fail for want of something, and what refused them",
    choices: &[
        Choice {
            offered: Some(forks),
            ..choice(&[
                hook("fork_pid_fexit", Kind::Fexit, "alloc_pid"),
                hook("fork_pids_fexit", Kind::Fexit, "pids_can_fork"),
                hook("fork_fexit", Kind::Fexit, "copy_process"),
            ])
        },
        Choice {
            note: NO_ARGUMENTS,
            ..choice(&[
                hook("fork_pid_kretprobe", Kind::Kretprobe, "alloc_pid"),
                hook("fork_pids_kretprobe", Kind::Kretprobe, "pids_can_fork"),
                hook("fork_kretprobe", Kind::Kretprobe, "copy_process"),
            ])
        },
        Choice {
            offered: Some(has_system_calls),
            note: BY_SYSCALLS,
            ..choice(&[hook("fork_syscall_raw_tp", Kind::RawTracepoint, SYSCALLS)])
        },
        Choice { note: NO_FORKS, ..choice(&[]) },
    ],
};

/// Every role of tracing. [`PRESSURE`] comes to them where a command is run.
pub const ROLES: [Role; 14] = [
    VICTIM,
    KILLED,
    RELIEF,
    CMDLINE,
    COLLATERAL,
    USER_KILL,
    OUTCOME,
    DECISION,
    STALL,
    CANDIDATES,
    ALLOC_FAILURE,
    HUGETLB,
    PAGE_ALLOCATION,
    FORK_FAILURE,
];

const fn choice(hooks: &'static [Hook]) -> Choice {
    Choice { hooks, offered: None, shared: false, losses: &[], note: "" }
}

impl Choice {
    /// Why this kernel's types do not offer the choice, if they do not.
    pub fn check(&self, btf: &Btf) -> Result<(), String> {
        for hook in self.hooks {
            match hook.kind {
                Kind::RawTracepoint => btf.typedef_prototype(&format!("btf_trace_{}", hook.target)).map(drop),
                Kind::Fentry | Kind::Fexit | Kind::Kprobe | Kind::Kretprobe => {
                    btf.function(hook.target).map(drop)
                }
            }
            .map_err(|missing| missing.to_string())?;
        }
        self.offered.map_or(Ok(()), |offered| offered(btf))
    }

    /// Whether the choice may be taken in a tier that the user forces (`None`: any).
    #[must_use]
    pub fn allowed(&self, forced: Option<Tier>) -> bool {
        let Some(forced) = forced else { return true };
        self.hooks.iter().all(|hook| hook.kind.tier() == Tier::Tracepoint || hook.kind.tier() == forced)
    }
}

//! Guards the mutations themselves: each does what it is named after, and nothing that oomtrace goes by is left out.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{self, Mutation};
use super::{Btf, Member, kind};

/// oomtrace's own lists, as text: its code takes no part in judging it.
const LAYOUT: &str = include_str!("../../../oomtrace-ebpf/src/layout.rs");
const HOOKS: &str = include_str!("../../../oomtrace/src/kernel/hooks.rs");

/// A small kernel.
#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Builder {
    /// Adds a type of `parts`, each of so many words with a name first, and gives its id.
    fn add(&mut self, name: &str, kind: u32, value: u32, parts: &[(&str, &[u32])]) -> u32 {
        let info = kind << 24 | u32::try_from(parts.len()).unwrap();
        let own = [self.name(name), info, value];
        self.words(&own);
        for (name, rest) in parts {
            let name = self.name(name);
            self.words(&[name]);
            self.words(rest);
        }
        self.count += 1;
        self.count
    }

    fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn integer(&mut self, name: &str, bytes: u32) -> u32 {
        let id = self.add(name, kind::INT, bytes, &[]);
        self.words(&[bytes * 8]);
        id
    }
}

/// A kernel with an `oom_control` in part, a function, a tracepoint, and constants.
fn kernel() -> Btf {
    let mut builder = Builder::default();
    let int = builder.integer("int", 4);
    let long = builder.integer("long", 8);
    let task = builder.add("task_struct", kind::STRUCT, 8, &[("pid", &[int, 0]), ("tgid", &[int, 32])]);
    let memcg = builder.add("mem_cgroup", kind::STRUCT, 8, &[("id", &[long, 0])]);
    let [task, memcg] = [task, memcg].map(|to| builder.add("", kind::PTR, to, &[]));
    let control: [(&str, &[u32]); 4] =
        [("memcg", &[memcg, 0]), ("gfp_mask", &[int, 64]), ("order", &[int, 96]), ("chosen", &[task, 128])];
    builder.add("oom_control", kind::STRUCT, 24, &control);
    let void = builder.add("", kind::PTR, 0, &[]);
    let prototype =
        builder.add("", kind::FUNC_PROTO, 0, &[("", &[void]), ("task", &[task]), ("uid", &[int])]);
    builder.add("out_of_memory", kind::FUNC, prototype, &[]);
    let pointer = builder.add("", kind::PTR, prototype, &[]);
    builder.add("btf_trace_mark_victim", kind::TYPEDEF, pointer, &[]);
    builder.add(
        "",
        kind::ENUM,
        4,
        &[("MM_FILEPAGES", &[0]), ("MM_ANONPAGES", &[1]), ("MM_SHMEMPAGES", &[3])],
    );
    Btf::parse(&Btf::file(&builder.types, &builder.strings)).unwrap()
}

/// The mutations of that kernel by their names.
fn mutations(btf: &Btf) -> BTreeMap<String, Mutation> {
    let all = catalogue::all(btf).into_iter().flatten();
    all.map(|mutation| (mutation.to_string(), mutation)).collect()
}

/// The kernel with that mutation.
fn mutated(name: &str) -> Btf {
    let btf = kernel();
    let mutations = mutations(&btf);
    let mutation = mutations.get(name).unwrap_or_else(|| panic!("no {name:?} among {:?}", mutations.keys()));
    Btf::parse(&btf.edited(&mutation.edits)).unwrap()
}

/// The members of `oom_control`: name, size and place in bits.
fn control(btf: &Btf) -> Vec<(String, u32, u32)> {
    let id = btf.find(&[kind::STRUCT], "oom_control").unwrap();
    let shown = |member: Member| (member.name, btf.size(member.type_id).unwrap(), member.bit);
    btf.members(btf.record(id).unwrap()).into_iter().map(shown).collect()
}

/// The same, of the unchanged kernel, with these in place of the members at their indices.
fn with(changed: &[(usize, &str, u32, u32)]) -> Vec<(String, u32, u32)> {
    let mut members = control(&kernel());
    for (index, name, size, bit) in changed {
        members[*index] = ((*name).to_owned(), *size, *bit);
    }
    members
}

/// Guards each way in which a member is changed: that very member, that very way, and the file stays readable.
#[test]
fn members_are_changed_as_the_name_says() {
    let of = |name: &str| control(&mutated(&format!("oom_control.{name}")));
    assert_eq!(control(&Btf::parse(&kernel().edited(&[])).unwrap()), with(&[]));
    assert_eq!(of("order renamed"), with(&[(2, "oomtrace_mutated", 4, 96)]));
    assert_eq!(of("order moved by +8"), with(&[(2, "order", 4, 160)]));
    assert_eq!(of("order moved by -8"), with(&[(2, "order", 4, 32)]));
    assert_eq!(
        of("order swapped with its neighbour gfp_mask"),
        with(&[(1, "gfp_mask", 4, 96), (2, "order", 4, 64)])
    );
    assert_eq!(
        of("memcg swapped with its neighbour chosen"),
        with(&[(0, "memcg", 8, 128), (3, "chosen", 8, 0)])
    );
    assert_eq!(of("order resized"), with(&[(2, "order", 8, 96)]));
    assert_eq!(of("memcg resized"), with(&[(0, "memcg", 4, 0)]));
    assert_eq!(of("order pushed by a new member"), with(&[(2, "order", 4, 160), (3, "chosen", 8, 192)]));
    let mut without = with(&[]);
    without.remove(1);
    assert_eq!(of("gfp_mask removed"), without);
    assert!(
        !mutations(&kernel()).contains_key("oom_control.memcg moved by -8"),
        "there is nothing before it"
    );
}

/// Guards what is found by name: what is renamed is not, and everything else still is.
#[test]
fn names_are_taken_away() {
    let finds = |name: &str| {
        let btf = mutated(name);
        let of = |kind, name| btf.find(&[kind], name).is_some();
        [
            of(kind::STRUCT, "oom_control"),
            of(kind::FUNC, "out_of_memory"),
            of(kind::TYPEDEF, "btf_trace_mark_victim"),
        ]
    };
    assert_eq!(finds("struct oom_control renamed"), [false, true, true]);
    assert_eq!(finds("function out_of_memory missing"), [true, false, true]);
    assert_eq!(finds("every function missing"), [true, false, true]);
    assert_eq!(finds("tracepoint mark_victim missing"), [true, true, false]);
}

/// Guards prototypes: the typedef points to a function with the parameters that the name says.
#[test]
fn prototypes_are_replaced() {
    let parameters = |btf: &Btf| {
        let typedef = btf.record(btf.find(&[kind::TYPEDEF], "btf_trace_mark_victim").unwrap()).unwrap();
        let pointer = btf.record(typedef.value).unwrap();
        let prototype = btf.record(pointer.value).unwrap();
        assert_eq!((pointer.kind, prototype.kind), (kind::PTR, kind::FUNC_PROTO));
        let types = btf.pairs(prototype).into_iter().map(|(_, _, type_id)| btf.record(type_id).unwrap().kind);
        types.collect::<Vec<_>>()
    };
    assert_eq!(parameters(&kernel()), [kind::PTR, kind::PTR, kind::INT]);
    assert_eq!(parameters(&mutated("tracepoint mark_victim called with (pid)")), [kind::PTR, kind::INT]);
    assert_eq!(
        parameters(&mutated("tracepoint mark_victim called with (uid, task)")),
        [kind::PTR, kind::INT, kind::PTR]
    );
}

/// Guards constants: two values change places.
#[test]
fn constants_are_swapped() {
    let btf = mutated("MM_FILEPAGES swapped with MM_ANONPAGES");
    let of = btf.record(btf.enum_with("MM_FILEPAGES").unwrap()).unwrap();
    assert_eq!(btf.pairs(of).into_iter().map(|(_, _, value)| value).collect::<Vec<_>>(), [1, 0, 3]);
}

/// Guards the catalogue: whatever oomtrace reads or attaches to is changed too.
#[test]
fn nothing_that_oomtrace_goes_by_is_left_out() {
    let quoted = |text: &'static str| text.split('"').skip(1).step_by(2);
    let fields: BTreeSet<(&str, &str)> = LAYOUT
        .lines()
        .filter(|line| line.contains("\".\"") && line.starts_with("    "))
        .flat_map(|line| {
            quoted(line).collect::<Vec<_>>().chunks(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>()
        })
        .collect();
    assert!(fields.len() > 40, "the list's form has changed: {fields:?}");
    let of_forks = BTreeSet::from(catalogue::OF_FORKS);
    assert_eq!(&BTreeSet::from(catalogue::FIELDS) | &of_forks, fields);
    let targets = HOOKS.split("Kind::").filter_map(|hook| {
        let (kind, rest) = hook.split_once(", \"")?;
        let (target, _) = rest.split_once("\")")?;
        let is_word = |text: &str| text.chars().all(|each| each.is_alphanumeric() || each == '_');
        (is_word(kind) && is_word(target)).then_some((kind, target))
    });
    let (tracepoints, functions): (BTreeSet<_>, BTreeSet<_>) =
        targets.partition(|(kind, _)| *kind == "RawTracepoint");
    let names = |targets: BTreeSet<(&'static str, &'static str)>| {
        targets.into_iter().map(|(_, name)| name).collect::<BTreeSet<_>>()
    };
    let of_forks = BTreeSet::from(catalogue::FUNCTIONS_OF_FORKS);
    assert_eq!(names(functions), &BTreeSet::from(catalogue::FUNCTIONS) | &of_forks);
    let of_runs = BTreeSet::from(catalogue::TRACEPOINTS_OF_RUNS);
    assert_eq!(names(tracepoints), &BTreeSet::from(catalogue::TRACEPOINTS) | &of_runs);
}

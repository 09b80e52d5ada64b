//! A Java heap that does not fit.

use super::{
    super::{
        command_line::{self, Server},
        finding::Fix,
    },
    Conclusion, Rule,
};
use crate::words::size;

pub const RULE: Rule =
    Rule { server: Some(holds), ..Rule::new("jvm-heap", include_str!("../../../docs/findings/jvm-heap.md")) };

fn holds(server: &Server<'_>) -> Option<Conclusion> {
    let arguments = server.named(&["java"])?;
    let options = options(server, arguments);
    let room = server.room?;
    let contained = blind(&options).is_none();
    let seen = if contained { Some(room.bytes) } else { server.memory_bytes };
    let (setting, heap_bytes) = heap(&options, seen)?;
    let misfit = server.misfit(heap_bytes)?;
    let told = misfit
        .told(&format!("the Java heap may grow to {} ({setting})", size(heap_bytes)), heap_bytes)
        .with("setting", setting);
    let fits = (misfit.room.bytes / 4 * 3) >> 20;
    Some(
        told.fix(Fix::advice(
            format!(
                "lower the heap to three quarters of it at the most (-Xmx{fits}m, or -XX:MaxRAMPercentage=75 in a container), or \
                 raise the limit: threads, classes, compiled code and buffers need room beside the heap"
            ),
            "a heap that is too small for the program ends in OutOfMemoryError, or in much garbage collection",
        )),
    )
}

/// An option, and the variable that it stands in; none: the command line.
type Set<'a> = (&'a str, Option<&'static str>);

/// All options of a JVM, what counts last behind: `JAVA_TOOL_OPTIONS` are taken before the command line, `_JAVA_OPTIONS` after it
/// (Arguments::parse_vm_init_args(), hotspot/share/runtime/arguments.cpp), and the launcher puts `JDK_JAVA_OPTIONS` in front of the
/// command line (JDK 9 and later).
fn options<'a>(server: &Server<'a>, arguments: &'a [String]) -> Vec<Set<'a>> {
    // What follows belongs to the program.
    let program = arguments.iter().position(|argument| argument == "-jar").unwrap_or(arguments.len());
    let on_command_line = arguments.get(1..program).unwrap_or_default();
    let of = |name: &'static str| server.variable(name).map(move |option| (option, Some(name)));
    of("JAVA_TOOL_OPTIONS")
        .chain(of("JDK_JAVA_OPTIONS"))
        .chain(on_command_line.iter().map(|option| (option.as_str(), None)))
        .chain(of("_JAVA_OPTIONS"))
        .collect()
}

/// The option that sets the largest size of the heap, and that size. Of several, the last counts. The default is a quarter of
/// what the JVM sees: too large only where it does not see the container.
fn heap(options: &[Set<'_>], seen_bytes: Option<u64>) -> Option<(String, u64)> {
    let called = |(option, variable): &Set<'_>| match variable {
        Some(variable) => format!("{option} in {variable}"),
        None => (*option).to_owned(),
    };
    let fixed = options.iter().rev().find_map(|set| {
        let value = set.0.strip_prefix("-Xmx").or_else(|| set.0.strip_prefix("-XX:MaxHeapSize="))?;
        Some((called(set), command_line::size(value, 1)?))
    });
    // An explicit size counts before a share, wherever it stands.
    fixed.or_else(|| {
        let share = options.iter().rev().find_map(|set| {
            let value = set.0.strip_prefix("-XX:MaxRAMPercentage=")?;
            Some((called(set), hundredths(value)?))
        });
        let by_default = || {
            let set = blind(options)?;
            Some((format!("a quarter of the machine's memory, since {}", called(&set)), 2500))
        };
        let (setting, hundredths) = share.or_else(by_default)?;
        Some((setting, share_of(seen_bytes?, hundredths)?))
    })
}

/// What tells the JVM not to look at its cgroup, if the last of these options does.
fn blind<'a>(options: &[Set<'a>]) -> Option<Set<'a>> {
    let last = options.iter().rev().find(|(option, _)| option.ends_with("UseContainerSupport"))?;
    (last.0 == "-XX:-UseContainerSupport").then_some(*last)
}

/// What a share of the memory comes to: where half of it (MinRAMPercentage) is less than the heap of a small machine, it is that half,
/// and else no less than such a heap (Arguments::set_heap_size()).
fn share_of(seen_bytes: u64, hundredths: u64) -> Option<u64> {
    const SMALL_HEAP: u64 = 130_862_280;
    let half = seen_bytes / 2;
    if half < SMALL_HEAP {
        return Some(half);
    }
    Some((seen_bytes.checked_mul(hundredths)? / 10_000).max(SMALL_HEAP))
}

/// A percentage such as `75` or `75.0`, in hundredths of a percent.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: String = fraction.chars().chain("00".chars()).take(2).collect();
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(fraction.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids, server, told, with_environment};

    /// Guards each way to set the heap, and that it explains the limit instead of the plain rule.
    #[test]
    fn a_heap_that_does_not_fit() {
        for line in [
            "/usr/bin/java -Xmx700m -jar shop.jar",
            "java -Xms1m -XX:MaxHeapSize=1g Main",
            "java -Xmx64m -Xmx512m Main",
            "java -XX:MaxRAMPercentage=90.0 -jar shop.jar",
            "java -Xmx450m Main",
        ] {
            assert_eq!(ids(&server(line, 512)), ["jvm-heap"], "{line}");
        }
        // A quarter of a machine of 1 GiB.
        assert_eq!(ids(&server("java -XX:-UseContainerSupport Main", 200)), ["jvm-heap"]);
        let over = told("jvm-heap", &server("java -Xmx700m -jar shop.jar", 512)).conclusion;
        assert_eq!(
            over.summary,
            "the Java heap may grow to 700.0 MiB (-Xmx700m), which is more than the limit of its memory cgroup (512.0 MiB)"
        );
        assert!(!over.likely && over.fix[0].what.contains("-Xmx384m"));
        assert!(told("jvm-heap", &server("java -Xmx450m Main", 512)).conclusion.likely);
    }

    /// Guards the order in which a JVM takes its options: JAVA_TOOL_OPTIONS, then JDK_JAVA_OPTIONS and the command line, then
    /// _JAVA_OPTIONS; the last counts.
    #[test]
    fn variables_count_as_the_jvm_takes_them() {
        const LINE: &str = "java -Xmx300m -jar shop.jar";
        let with = |line: &str, name: &str, value: &str| with_environment(server(line, 512), name, value);
        for name in ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"] {
            let set = with("java -jar shop.jar", name, "-Dx=y  -Xmx700m");
            let summary = told("jvm-heap", &set).conclusion.summary;
            assert!(
                summary.starts_with(&format!("the Java heap may grow to 700.0 MiB (-Xmx700m in {name}),")),
                "{summary}"
            );
            let expected = if name == "_JAVA_OPTIONS" { "jvm-heap" } else { "memcg-limit" };
            assert_eq!(ids(&with(LINE, name, "-Xmx700m")), [expected], "{name}");
        }
        assert_eq!(ids(&with("java -Xmx700m Main", "_JAVA_OPTIONS", "-Xmx300m")), ["memcg-limit"]);
        assert_eq!(ids(&with("java -Xmx700m Main", "JAVA_TOOL_OPTIONS", "-Xmx300m")), ["jvm-heap"]);
        let both = with("java Main", "JAVA_TOOL_OPTIONS", "-Xmx700m");
        assert_eq!(ids(&with_environment(both, "JDK_JAVA_OPTIONS", "-Xmx300m")), ["memcg-limit"]);
        assert_eq!(ids(&with("java Main", "JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=95")), ["jvm-heap"]);
        assert_eq!(ids(&with("java Main", "NODE_OPTIONS", "-Xmx700m")), ["memcg-limit"]);
        assert_eq!(ids(&with("javac Main.java", "JAVA_TOOL_OPTIONS", "-Xmx700m")), ["memcg-limit"]);
    }

    /// Guards against heaps that fit, defaults, other programs, and options of the program that Java runs.
    #[test]
    fn near_misses() {
        for line in [
            "java -Xmx384m -jar shop.jar",
            "java -Xmx2g -Xmx300m Main",
            "java -XX:MaxRAMPercentage=75 Main",
            "java -Xmx300m -XX:MaxRAMPercentage=95 Main",
            "java -jar shop.jar -Xmx9g",
            "java Main",
            "java -Xmxbig Main",
            "javac -Xmx9g Main.java",
        ] {
            assert_eq!(ids(&server(line, 512)), ["memcg-limit"], "{line}");
        }
        let mut machine = global();
        machine.victims[0].command = server("java -Xmx800m Main", 512).victims[0].command.clone();
        assert_eq!(ids(&machine), ["node-exhausted"]);
    }
}

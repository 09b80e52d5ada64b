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
    let room = server.room?;
    let contained = !arguments.iter().any(|argument| argument == "-XX:-UseContainerSupport");
    let seen = if contained { Some(room.bytes) } else { server.memory_bytes };
    let (setting, heap_bytes) = heap(arguments, seen)?;
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

/// The option that sets the largest size of the heap, and that size. Of several, the last counts. The default is a quarter of
/// what the JVM sees: too large only where it does not see the container.
fn heap(arguments: &[String], seen_bytes: Option<u64>) -> Option<(String, u64)> {
    // What follows belongs to the program.
    let program = arguments.iter().position(|argument| argument == "-jar").unwrap_or(arguments.len());
    let options = arguments.get(1..program).unwrap_or_default();
    let fixed = options.iter().rev().find_map(|option| {
        let value = option.strip_prefix("-Xmx").or_else(|| option.strip_prefix("-XX:MaxHeapSize="))?;
        Some((option.clone(), command_line::size(value, 1)?))
    });
    // An explicit size counts before a share, wherever it stands.
    fixed.or_else(|| {
        let share = options.iter().rev().find_map(|option| {
            let value = option.strip_prefix("-XX:MaxRAMPercentage=")?;
            Some((option.clone(), hundredths(value)?))
        });
        let blind = || {
            let option = options.iter().find(|option| *option == "-XX:-UseContainerSupport")?;
            Some((format!("a quarter of the machine's memory, since {option}"), 2500))
        };
        let (setting, hundredths) = share.or_else(blind)?;
        Some((setting, seen_bytes?.checked_mul(hundredths)? / 10_000))
    })
}

/// A percentage such as `75` or `75.0`, in hundredths of a percent.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: String = fraction.chars().chain("00".chars()).take(2).collect();
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(fraction.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids, server, told};

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

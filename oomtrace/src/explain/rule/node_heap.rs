//! A Node.js heap that does not fit.

use super::{
    super::{
        command_line::{self, Server, option},
        finding::Fix,
    },
    Conclusion, Rule,
};
use crate::words::size;

pub const RULE: Rule = Rule {
    server: Some(holds),
    ..Rule::new("node-heap", include_str!("../../../docs/findings/node-heap.md"))
};

fn holds(server: &Server<'_>) -> Option<Conclusion> {
    const NAME: &str = "--max-old-space-size";
    let arguments = server.named(&["node", "nodejs"])?;
    // The command line counts before the variable. option() leaves out the first, the program.
    let variable: Vec<_> =
        std::iter::once("").chain(server.variable("NODE_OPTIONS")).map(str::to_owned).collect();
    let (value, of) = match option(own(arguments), NAME) {
        Some(value) => (value, ""),
        None => (option(&variable, NAME)?, " in NODE_OPTIONS"),
    };
    // In MiB.
    let heap_bytes = command_line::size(value, 1 << 20)?;
    let misfit = server.misfit(heap_bytes)?;
    let told = misfit.told(
        &format!("the heap of Node.js may grow to {} ({NAME}={value}{of})", size(heap_bytes)),
        heap_bytes,
    );
    let fits = (misfit.room.bytes / 4 * 3) >> 20;
    Some(told.fix(Fix::advice(
        format!("set --max-old-space-size={fits} at the most, or raise the limit: buffers and code need room beside the heap"),
        "with too small a heap, Node.js ends with \"JavaScript heap out of memory\" instead",
    )))
}

/// The program and its own options: what follows its script belongs to that.
fn own(arguments: &[String]) -> &[String] {
    const WITH_VALUES: [&str; 6] =
        ["--max-old-space-size", "--max_old_space_size", "-r", "--require", "--import", "--loader"];
    let mut takes_value = true;
    let script = arguments.iter().position(|argument| {
        let is_script = !takes_value && !argument.starts_with('-');
        takes_value = WITH_VALUES.contains(&argument.as_str());
        is_script
    });
    arguments.get(..script.unwrap_or(arguments.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, server, told, with_environment};

    /// Guards the option in both forms, and that it explains the limit.
    #[test]
    fn a_heap_that_does_not_fit() {
        for line in
            ["node --max-old-space-size=4096 app.js", "/usr/bin/nodejs --max_old_space_size 450 app.js"]
        {
            assert_eq!(ids(&server(line, 512)), ["node-heap"], "{line}");
        }
        assert!(told("node-heap", &server("node --max-old-space-size=450 app.js", 512)).conclusion.likely);
    }

    /// Guards the option in the environment: it counts where the command line has none.
    #[test]
    fn the_variable_counts_unless_the_command_line_has_it() {
        let with = |line: &str, value: &str| with_environment(server(line, 512), "NODE_OPTIONS", value);
        let set = with("node app.js", "--enable-source-maps --max_old_space_size=4096");
        assert!(told("node-heap", &set).conclusion.summary.contains("=4096 in NODE_OPTIONS)"));
        for (line, value) in [
            ("node --max-old-space-size=64 app.js", "--max-old-space-size=4096"),
            ("node app.js", "--max-old-space-size=64"),
            ("node app.js", "--max-semi-space-size=4096"),
            ("npm start", "--max-old-space-size=4096"),
        ] {
            assert_eq!(ids(&with(line, value)), ["memcg-limit"], "{line} {value}");
        }
        assert_eq!(
            ids(&with("node --max-old-space-size=4096 app.js", "--max-old-space-size=64")),
            ["node-heap"]
        );
    }

    /// Guards against heaps that fit, defaults and other programs.
    #[test]
    fn near_misses() {
        for line in ["node --max-old-space-size=384 app.js", "node app.js", "npm --max-old-space-size=4096"] {
            assert_eq!(ids(&server(line, 512)), ["memcg-limit"], "{line}");
        }
    }
}

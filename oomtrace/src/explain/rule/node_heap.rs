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
    let arguments = server.named(&["node", "nodejs"])?;
    // In MiB.
    let value = option(arguments, "--max-old-space-size")?;
    let heap_bytes = command_line::size(value, 1 << 20)?;
    let misfit = server.misfit(heap_bytes)?;
    let told = misfit.told(
        &format!("the heap of Node.js may grow to {} (--max-old-space-size={value})", size(heap_bytes)),
        heap_bytes,
    );
    let fits = (misfit.room.bytes / 4 * 3) >> 20;
    Some(told.fix(Fix::advice(
        format!("set --max-old-space-size={fits} at the most, or raise the limit: buffers and code need room beside the heap"),
        "with too small a heap, Node.js ends with \"JavaScript heap out of memory\" instead",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, server, told};

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

    /// Guards against heaps that fit, defaults and other programs.
    #[test]
    fn near_misses() {
        for line in ["node --max-old-space-size=384 app.js", "node app.js", "npm --max-old-space-size=4096"] {
            assert_eq!(ids(&server(line, 512)), ["memcg-limit"], "{line}");
        }
    }
}

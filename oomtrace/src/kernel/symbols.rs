//! Where the kernel's functions and variables are: /proc/kallsyms.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

/// Where the running kernel lists them.
pub const KALLSYMS: &str = "/proc/kallsyms";

/// A function or a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its address.
    pub address: u64,
    /// The next symbol's, if there is one above it: where a function's code ends at the latest.
    pub end: Option<u64>,
}

/// Those that were looked for.
#[derive(Debug)]
pub struct Symbols(Result<BTreeMap<String, Found>, String>);

#[derive(Debug)]
enum Found {
    One(Symbol),
    /// More than one have the name.
    Several,
}

impl Symbols {
    /// Looks for these, in one pass that ends once all are found.
    #[must_use]
    pub fn of(kallsyms: &Path, names: &[&str]) -> Self {
        let file = File::open(kallsyms).map_err(|error| format!("{}: {error}", kallsyms.display()));
        Self(file.and_then(|file| find(BufReader::with_capacity(1 << 16, file), names)))
    }

    /// One of them; else why it is not known.
    pub fn get(&self, name: &str) -> Result<Symbol, String> {
        match self.0.as_ref().map_err(Clone::clone)?.get(name) {
            Some(Found::One(Symbol { address: 0, .. })) => {
                Err("the kernel hides its symbols' addresses (CAP_SYSLOG shows them, unless kernel.kptr_restrict=2)".to_owned())
            }
            Some(Found::One(symbol)) => Ok(*symbol),
            Some(Found::Several) => Err(format!("the kernel has several symbols named {name}")),
            None => Err(format!("the kernel's symbols lack {name}")),
        }
    }
}

/// Lines are `address kind name`, and `[module]` where it is not the kernel's own. They come sorted by address, the modules'
/// last; but that order is not promised, so the pass goes on as long as something is wanting.
fn find(mut kallsyms: impl BufRead, names: &[&str]) -> Result<BTreeMap<String, Found>, String> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = kallsyms.read_until(b'\n', &mut line);
        if read.map_err(|error| format!("the kernel's symbols cannot be read: {error}"))? == 0 {
            return Ok(found);
        }
        let mut words = line.trim_ascii_end().split(u8::is_ascii_whitespace);
        let (Some(address), Some(_), Some(name), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let Some(address) = str::from_utf8(address).ok().and_then(|word| u64::from_str_radix(word, 16).ok())
        else {
            continue;
        };
        for symbol in found.values_mut() {
            if let Found::One(symbol) = symbol
                && address > symbol.address
                && symbol.end.is_none_or(|end| address < end)
            {
                symbol.end = Some(address);
            }
        }
        if let Some(name) = names.iter().find(|wanted| wanted.as_bytes() == name) {
            let symbol = Found::One(Symbol { address, end: None });
            if found.insert((*name).to_owned(), symbol).is_some() {
                found.insert((*name).to_owned(), Found::Several);
            }
        } else if found.len() == names.len() {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(text: &str, names: &[&str]) -> Symbols {
        Symbols(find(text.as_bytes(), names))
    }

    /// Guards the bounds of a function and the address of a variable, in whatever order they come, and that modules have none.
    #[test]
    fn symbols_have_an_address_and_an_end() {
        let text = "ffffffff81801230 T __percpu_counter_sum\nffffffff81200000 T oom_badness\n\
                    ffffffff812001c0 t oom_evaluate_task\nffffffff82000010 b max_threads\n\
                    ffffffff82000018 B nr_threads\nffffffffc0000000 t pid_max\t[module]\n";
        let found = symbols(text, &["oom_badness", "nr_threads", "pid_max", "__percpu_counter_sum"]);
        let of = |name| found.get(name).map(|symbol| (symbol.address, symbol.end));
        assert_eq!(of("oom_badness"), Ok((0xffff_ffff_8120_0000, Some(0xffff_ffff_8120_01c0))));
        assert_eq!(of("nr_threads"), Ok((0xffff_ffff_8200_0018, None)));
        assert_eq!(of("__percpu_counter_sum"), Ok((0xffff_ffff_8180_1230, Some(0xffff_ffff_8200_0010))));
        assert!(of("pid_max").unwrap_err().contains("lack pid_max"));
    }

    /// Guards against reading address 0 where the kernel hides addresses, and the wrong one of two.
    #[test]
    fn hidden_and_doubtful_symbols_are_none() {
        let hidden = symbols("0000000000000000 B nr_threads\n", &["nr_threads"]);
        assert!(hidden.get("nr_threads").unwrap_err().contains("hides"));
        let twice = "ffffffff82000010 b limit\nffffffff82000018 b limit\nffffffff82000020 b x\n";
        assert!(symbols(twice, &["limit"]).get("limit").unwrap_err().contains("several"));
        assert!(symbols("", &["limit"]).get("limit").is_err());
        let damaged = "\u{fffd}\nffff\nzzzz b limit\nffffffff82000010 b limit extra\n\n";
        assert!(symbols(damaged, &["limit"]).get("limit").is_err());
        assert!(Symbols::of(Path::new("/nonexistent"), &["limit"]).get("limit").is_err());
    }
}

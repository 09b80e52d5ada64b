//! Standard error, which may be gone: what is said there must not end what is done.

use std::{
    fmt,
    io::{Write as _, stderr},
};

/// Writes a line beginning with `oomtrace: ` to standard error, if it can be written to.
pub fn line(words: fmt::Arguments<'_>) {
    // At once, so that lines of several threads do not mix.
    let _ = stderr().write_all(format!("oomtrace: {words}\n").as_bytes());
}

/// [`line()`] with the arguments of `format!`.
macro_rules! say {
    ($($words:tt)*) => { $crate::say::line(format_args!($($words)*)) };
}
pub(crate) use say;

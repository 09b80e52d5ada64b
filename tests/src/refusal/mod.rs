//! oomtrace where it is not welcome: started without rights, without files, without a reader, or with nonsense.
//!
//! * [`conditions`]: what an oomtrace is started under; [`denial`]: system calls that fail there.
//! * [`run`]: how such an oomtrace is started.
//! * [`ending`]: how a run has to end.
//! * [`usage`], [`types`], [`disk`], [`replays`] and [`readers`]: the cases, as tables.
//! * [`privilege`] and [`rights`]: those cases that are judged by one kill; [`one_kill`]: how they are.

pub mod conditions;
pub mod denial;
pub mod disk;
pub mod ending;
pub mod one_kill;
pub mod privilege;
pub mod readers;
pub mod replays;
pub mod rights;
pub mod run;
pub mod types;
pub mod usage;

//! Forks that fail: what brings each cause about knows the truth of it, and has no part in oomtrace.
//!
//! * [`child`], [`call`], [`state`], [`execution`] and [`trap`]: the process that forks, from inside.
//! * [`forker`] and [`order`]: the same process from outside, and what passes between.
//! * [`cause`], [`ground`], [`setting`] and [`truth`]: how each cause is brought about, and what is known then.
//! * [`cure`]: what is done about each cause.
//! * [`witness`]: what the kernel's functions returned.
//! * [`compare`]: whether oomtrace tells it so.
//! * [`selftest`]: all of it without oomtrace.
//! * [`mix`]: two causes at once.
//! * [`storm`]: one cause, as fast as it goes.

pub mod call;
pub mod cause;
pub mod child;
pub mod compare;
pub mod cure;
pub mod execution;
pub mod forker;
pub mod ground;
pub mod mix;
pub mod order;
pub mod selftest;
pub mod setting;
pub mod state;
pub mod storm;
pub mod trap;
pub mod truth;
pub mod witness;

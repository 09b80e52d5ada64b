//! The only place that knows the running kernel: its types, its hooks, and how to attach to them.

pub mod btf;
mod disguise;
pub mod hooks;
pub mod hurt;
mod info;
pub mod layout;
pub mod limits;
pub mod load;
mod mirror;
pub mod missed;
pub(crate) mod own;
pub mod pressure;
pub mod rights;
pub mod roles;
pub mod symbols;
pub mod tasks;
pub mod text;
mod trampoline;
pub mod untold;
pub mod used;
pub mod variables;
pub mod zones;

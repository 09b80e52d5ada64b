//! What the reader promises: on BTF made here, on damaged BTF, and on excerpts of real kernels.

mod builder;
mod fixtures;
mod format;
mod hostile;
mod kernels;
mod questions;

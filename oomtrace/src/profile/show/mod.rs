//! What the terminal shows of a run: a line while it goes on, and a summary when it has ended; and of comparisons.

mod chart;
mod comparison;
mod rows;
mod status;
mod summary;
#[cfg(test)]
mod tests;
mod text;

pub use self::{
    comparison::comparison,
    status::{CLEAR, Status, status},
    summary::summary,
};

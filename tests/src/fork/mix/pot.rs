//! A mixture in the making.

use super::ingredient::Ingredient;
use crate::fork::truth::Level;

/// What is known of a mixture so far.
#[derive(Debug, Default)]
pub struct Pot {
    /// The user without rights that the forker is, if so.
    pub user: Option<u32>,
    /// How many tasks that user has.
    pub tasks_of_user: u64,
    /// How many threads the forker has.
    pub threads: u64,
    /// The id below which all are used up.
    pub full_below: Option<i32>,
    /// What is known of each limit that is reached: its place, itself, what is used of it, and what that counts.
    pub known: Vec<(Ingredient, Known)>,
}

/// What is known of a limit.
pub type Known = (Level, Option<u64>, Option<u64>, &'static str);

impl Pot {
    /// Notes what is known of a limit.
    pub fn know(&mut self, one: Ingredient, known: Known) {
        self.known.push((one, known));
    }
}

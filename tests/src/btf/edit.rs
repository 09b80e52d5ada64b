//! Changes to a file of type information.

use super::{Btf, kind};

/// The name that a renamed thing gets. Nothing in a kernel has it.
const NOBODY: &[u8] = b"oomtrace_mutated";

/// One change. Places are those of the unchanged section of types, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Puts another word there.
    Word {
        /// Where.
        at: usize,
        /// The word.
        word: u32,
    },
    /// Gives what has its name there another that nothing has.
    Rename {
        /// Where the name's word is.
        at: usize,
    },
    /// Makes a pointer to a function of such parameters and no result, and puts its type there.
    Prototype {
        /// Where.
        at: usize,
        /// The types of the parameters.
        parameters: Vec<u32>,
    },
    /// Takes so many bytes out. The last change, since what follows moves.
    Cut {
        /// Where.
        at: usize,
        /// How many.
        bytes: usize,
    },
}

impl Btf {
    /// The file with these changes.
    #[must_use]
    pub fn edited(&self, edits: &[Edit]) -> Vec<u8> {
        let (mut types, mut strings) = (self.types.clone(), self.strings.clone());
        let mut count = u32::try_from(self.types()).unwrap_or(u32::MAX);
        for edit in edits {
            match edit {
                Edit::Word { at, word } => put(&mut types, *at, *word),
                Edit::Rename { at } => {
                    let name = u32::try_from(strings.len()).unwrap_or(u32::MAX);
                    strings.extend(NOBODY.iter().chain(&[0]));
                    put(&mut types, *at, name);
                }
                Edit::Prototype { at, parameters } => {
                    let parts = u32::try_from(parameters.len()).unwrap_or(0);
                    let prototype = [0, kind::FUNC_PROTO << 24 | parts, 0];
                    let parameters = parameters.iter().flat_map(|&parameter| [0, parameter]);
                    let pointer = [0, kind::PTR << 24, count + 1];
                    let words = prototype.into_iter().chain(parameters).chain(pointer);
                    types.extend(words.flat_map(u32::to_ne_bytes));
                    count += 2;
                    put(&mut types, *at, count);
                }
                Edit::Cut { at, bytes } => drop(types.drain(*at..*at + *bytes)),
            }
        }
        Self::file(&types, &strings)
    }
}

/// Puts a word there.
fn put(types: &mut [u8], at: usize, word: u32) {
    if let Some(place) = types.get_mut(at..at + 4) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
}

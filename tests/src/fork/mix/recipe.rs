//! Mixtures as chance has them, and which of their causes must refuse.

use serde::Serialize;

use super::ingredient::{Ingredient, State};
use crate::fork::call::Call;
use crate::random::Random;

/// A mixture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// What is in it, in the kernel's order.
    pub ingredients: Vec<(Ingredient, State)>,
    /// How the forker tries to make children.
    pub call: Call,
    /// How often.
    pub times: u64,
}

impl Recipe {
    /// Draws one of what is available: two causes, now and then three.
    pub fn draw(random: &mut Random, available: &[Ingredient]) -> Self {
        let wanted = if random.below(5) == 0 { 3 } else { 2 };
        let mut chosen: Vec<Ingredient> = Vec::new();
        while chosen.len() < wanted {
            let fitting: Vec<Ingredient> = available
                .iter()
                .copied()
                .filter(|new| chosen.iter().all(|old| new.goes_with(*old)) && is_feasible(&chosen, *new))
                .collect();
            let Some(one) = random.one(&fitting) else { break };
            chosen.push(one);
        }
        chosen.sort();
        let state = |random: &mut Random, of: Ingredient| {
            if of.can_be_near() && random.below(3) == 0 { State::Near } else { State::Reached }
        };
        let ingredients: Vec<_> = chosen.iter().map(|one| (*one, state(random, *one))).collect();
        let mut recipe = Self { call: draw_call(random, &chosen), ingredients, times: 1 + random.below(4) };
        if recipe.call.makes_thread() && recipe.refuses().is_none() {
            // Nobody can tell when a thread is quite gone, and the next one would find no room.
            recipe.call = Call::Fork;
        }
        recipe
    }

    /// The one that refuses: the first in the kernel's order of those that are reached and have to do with the call.
    /// None if a child can be made.
    #[must_use]
    pub fn refuses(&self) -> Option<Ingredient> {
        let refusing =
            |(one, state): &(Ingredient, State)| *state == State::Reached && one.concerns(self.call);
        self.ingredients.iter().filter(|each| refusing(each)).map(|(one, _)| *one).min()
    }

    /// How far `one` goes; None if it is not in it.
    #[must_use]
    pub fn state(&self, one: Ingredient) -> Option<State> {
        self.ingredients.iter().find(|(each, _)| *each == one).map(|(_, state)| *state)
    }

    /// Whether `one` is in it.
    #[must_use]
    pub fn has(&self, one: Ingredient) -> bool {
        self.state(one).is_some()
    }
}

/// Whether a third one goes with two: who lowers pid_max in a PID namespace must still be root, and what comes after
/// that needs ids.
fn is_feasible(chosen: &[Ingredient], new: Ingredient) -> bool {
    let all = |set: &[Ingredient]| set.contains(&new) || chosen.iter().any(|one| set.contains(one));
    !(all(&[Ingredient::NestedPidMax])
        && all(&[Ingredient::UserLimit, Ingredient::Namespaces])
        && all(&[Ingredient::Execution, Ingredient::DeadNamespace]))
}

/// Draws a call that most of the causes have to do with.
fn draw_call(random: &mut Random, chosen: &[Ingredient]) -> Call {
    let mut flags = 0;
    let wishes = [
        (Ingredient::Execution, libc::CLONE_FS, 3),
        (Ingredient::Namespaces, libc::CLONE_NEWUTS, 3),
        (Ingredient::Pidfd, libc::CLONE_PIDFD, 3),
        (Ingredient::Overcommit, libc::CLONE_VM, 1),
        (Ingredient::Table, libc::CLONE_FILES, 1),
    ];
    for (one, flag, quarters) in wishes {
        if chosen.contains(&one) && random.quarters(quarters) {
            flags |= u64::from(flag.cast_unsigned());
        }
    }
    let mut calls = vec![Call::Clone { flags }, Call::Clone3 { flags }];
    if flags == 0 {
        calls.extend([Call::Fork, Call::Vfork]);
    }
    // A thread is in its process's PID namespace, and has no descriptor of its own.
    let apart = chosen.iter().any(|one| matches!(one, Ingredient::DeadNamespace | Ingredient::Pidfd));
    if flags == 0 && !apart {
        calls.push(Call::Thread { flags });
    }
    random.one(&calls).unwrap_or(Call::Fork)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Guards that a seed stands for the same mixtures everywhere, and that every pair that goes together comes up.
    #[test]
    fn a_seed_is_a_row_of_mixtures() {
        let row = |seed| {
            let mut random = Random::new(seed);
            (0..2000).map(|_| Recipe::draw(&mut random, &Ingredient::ALL)).collect::<Vec<_>>()
        };
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
        let pairs: BTreeSet<_> = row(7)
            .iter()
            .flat_map(|recipe| {
                let one: Vec<_> = recipe.ingredients.iter().map(|(one, _)| *one).collect();
                (1..one.len()).map(move |nth| (one[nth - 1], one[nth])).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(pairs.len(), 14 * 13 / 2 - 1, "{pairs:?}");
    }

    /// Guards what the comparison rests on: the first in the kernel's order refuses, unless it is only near or the call
    /// does not ask for what it is about.
    #[test]
    fn the_first_that_is_reached_refuses() {
        use Ingredient::{OuterTasks, Overcommit, Tasks, UserLimit};
        use State::{Near, Reached};

        let refuses = |ingredients: &[(Ingredient, State)], call| {
            Recipe { ingredients: ingredients.to_vec(), call, times: 1 }.refuses()
        };
        let both = [(UserLimit, Reached), (Tasks, Reached)];
        assert_eq!(refuses(&both, Call::Fork), Some(UserLimit));
        assert_eq!(refuses(&[(UserLimit, Near), (OuterTasks, Reached)], Call::Fork), Some(OuterTasks));
        assert_eq!(refuses(&[(UserLimit, Near), (Tasks, Near)], Call::Fork), None);
        let promised = [(Overcommit, Reached), (Tasks, Reached)];
        assert_eq!(refuses(&promised, Call::Fork), Some(Overcommit));
        assert_eq!(refuses(&promised, Call::Vfork), Some(Tasks));
    }

    /// Guards against threads that come about: the next one might find the one before still there.
    #[test]
    fn threads_are_only_refused() {
        let mut random = Random::new(1);
        for _ in 0..5000 {
            let recipe = Recipe::draw(&mut random, &Ingredient::ALL);
            assert!(!recipe.call.makes_thread() || recipe.refuses().is_some(), "{recipe:?}");
            assert!(recipe.ingredients.len() >= 2 && recipe.ingredients.is_sorted_by_key(|(one, _)| *one));
        }
    }
}

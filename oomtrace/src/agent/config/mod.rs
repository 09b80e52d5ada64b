//! The agent's settings: each is an option on the command line, a variable in the environment and a key in a TOML file, by one
//! definition, and the first of these that says something counts.

mod file;
mod options;
mod settings;
mod units;

pub use file::{ConfigError, DEFAULT_FILE};
pub use options::{AgentArgs, Options};
pub use settings::{Settings, StandardOutput};
pub use units::{Age, Size};

#[cfg(test)]
mod tests;

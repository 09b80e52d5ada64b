//! The file with settings.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{AgentArgs, Options, Settings};

/// Read where no other is named, if there is one.
pub const DEFAULT_FILE: &str = "/etc/oomtrace/oomtrace.toml";
/// No file with settings has more, bytes.
const LIMIT_BYTES: u64 = 1 << 20;

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too long to be settings.
    #[error("{} has more than 1 MiB: these are no settings", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It says something that is no setting.
    #[error("{} cannot be used: {why}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Which line, and what is wrong with it.
        why: String,
    },
    /// Settings that do not go together, or out of bounds.
    #[error("{0}")]
    Unsound(String),
}

impl AgentArgs {
    /// What all places together come to.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        self.settings_from(Path::new(DEFAULT_FILE))
    }

    pub(super) fn settings_from(&self, default: &Path) -> Result<Settings, ConfigError> {
        let file = match &self.config {
            Some(path) => Some((path.clone(), read(path)?)),
            None => match read(default) {
                Ok(text) => Some((default.to_owned(), text)),
                Err(ConfigError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    None
                }
                Err(error) => return Err(error),
            },
        };
        let (path, options) = match file {
            Some((path, text)) => {
                let options = parse(&text).map_err(|why| ConfigError::Wrong { path: path.clone(), why })?;
                (Some(path), options)
            }
            None => (None, Options::default()),
        };
        Settings::new(path, self.options.clone().or(options))
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let about = fs::metadata(path).map_err(unreadable)?;
    if about.len() > LIMIT_BYTES {
        return Err(ConfigError::TooLong { path: path.to_owned() });
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// What the text says, or where it says what cannot be.
pub(super) fn parse(text: &str) -> Result<Options, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim_end().replace('\n', "\n  "))
}

//! The agent's settings.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    machine::read,
    part::{Content, Part},
};
use crate::agent::config::DEFAULT_FILE;

/// How the variables begin that the agent goes by.
const PREFIX: &str = "OOMTRACE_";

/// The file that was named, or the usual one, and the variables.
pub fn parts(config: Option<&Path>) -> Vec<Part> {
    let file = config.map_or_else(|| PathBuf::from(DEFAULT_FILE), Path::to_owned);
    vec![
        Part::new("settings.json", "the agent's settings, from its file", from_file(&file)),
        Part::new("environment.json", "variables that oomtrace goes by", Ok(environment())),
    ]
}

/// As JSON, where every secret has a name; of a file that cannot be understood nobody knows what is one.
fn from_file(path: &Path) -> Result<Content, String> {
    let text = read(path)?;
    let settings = toml::from_str::<Value>(&text)
        .map_err(|error| format!("{} is no TOML: {}", path.display(), error.message()))?;
    Ok(Content::Json(settings))
}

fn environment() -> Content {
    let ours = env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, Value::String(value.to_string_lossy().into_owned())))
    });
    Content::Json(Value::Object(ours.collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Guards the settings' secrets, whatever form TOML gives them, and a file that is none.
    #[test]
    fn settings_have_no_secrets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let toml = "[webhook]\nurl = \"https://me:hunter2@host/?token=hunter2\"\n# password = \"hunter2\"\n\
                    headers = { Authorization = \"Bearer hunter2\" }\n\
                    [exec]\ncommand = [\n  \"notify\",\n  \"--password\",\n  \"hunter2\",\n]\n";
        fs::write(file.path(), toml).unwrap();
        let text = String::from_utf8(from_file(file.path()).unwrap().bytes()).unwrap();
        assert!(text.contains("notify") && text.contains("@host/") && !text.contains("hunter2"), "{text}");
        fs::write(file.path(), "password = hunter2").unwrap();
        let reason = from_file(file.path()).unwrap_err();
        assert!(reason.contains("is no TOML") && !reason.contains("hunter2"), "{reason}");
        assert!(from_file(Path::new("/nonexistent")).unwrap_err().contains("/nonexistent"));
    }
}

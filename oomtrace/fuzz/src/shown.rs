//! What every output owes its reader, whatever the records say.

use jiff::tz::TimeZone;
use oomtrace::{
    explain::Explainer,
    host::settings::Settings,
    incident::Event,
    output::{Format as _, Human, Json, Message},
};

/// Both forms of output, and the promises that they keep.
pub struct Shown {
    human: Human,
    json: Json,
    explainer: Explainer,
    /// How the machine is set up.
    pub settings: Option<Settings>,
}

impl Default for Shown {
    fn default() -> Self {
        Self { human: Human::new(false, TimeZone::UTC, None), json: Json, explainer: Explainer::default(), settings: None }
    }
}

impl Shown {
    /// Formats an event and panics where a promise is broken.
    pub fn check(&mut self, event: &Event) {
        let mut event = event.clone();
        self.explainer.complete(&mut event, self.settings.as_ref());
        let event = &event;
        let message = Message::Incident(event.clone());
        let mut text = Vec::new();
        self.human.format(&message, &mut text);
        block(&String::from_utf8(text).expect("the block is UTF-8"), event);
        let mut line = Vec::new();
        self.json.format(&message, &mut line);
        match event {
            Event::AllocFailure(failure) => {
                let object: serde_json::Value = serde_json::from_slice(&line).expect("the line is JSON");
                assert_eq!(object["type"], "alloc_failure");
                assert_eq!(object["seq"], failure.common.seq);
                assert!(failure.count > 0, "a failure that did not happen");
            }
            Event::ForkFailure(failure) => {
                let object: serde_json::Value = serde_json::from_slice(&line).expect("the line is JSON");
                assert_eq!(object["type"], "fork_failure");
                assert_eq!(object["seq"], failure.common.seq);
                assert!(failure.count > 0, "a fork that did not fail");
            }
            Event::UserKill(kill) => {
                let object: serde_json::Value = serde_json::from_slice(&line).expect("the line is JSON");
                assert_eq!(object["type"], "userspace_kill");
                assert_eq!(object["seq"], kill.common.seq);
                assert!(kill.victims.iter().all(|victim| !victim.signals.is_empty()), "a victim of nothing");
                assert!(!kill.victims.is_empty(), "a kill of nobody");
            }
            Event::Opened(_) => assert!(line.is_empty(), "a line is written once, at the end"),
            Event::Closed(incident) => {
                let object = object(&line, "oom", (&incident.id, incident.common.seq, incident.common.boot_ns));
                assert_eq!(object["victims"].as_array().map(Vec::len), Some(incident.victims.len()));
                assert_eq!(object["missing"].as_object().map(serde_json::Map::len), Some(incident.missing.len()));
            }
            Event::Relieved(relief) => {
                let object = object(&line, "relief", (&relief.id, relief.common.seq, relief.common.boot_ns));
                assert_eq!(object["victims"].as_array().map(Vec::len), Some(relief.victims.len()));
            }
        }
    }
}

/// A block is a headline and rows, and no name can add a line or a control character to it.
fn block(text: &str, event: &Event) {
    let control = text.chars().find(|letter| letter.is_control() && *letter != '\n');
    assert_eq!(control, None, "a control character reached the terminal: {text:?}");
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    let headlines = text.lines().filter(|line| !line.starts_with("  ")).count();
    match event {
        Event::Opened(_) => assert!(headlines == 1 && text.lines().count() == 1, "{text:?}"),
        Event::AllocFailure(_) => assert!(headlines == 1 && text.lines().count() <= 2, "{text:?}"),
        Event::ForkFailure(_) => assert!(headlines == 1 && text.lines().count() <= 9, "{text:?}"),
        Event::UserKill(_) => assert!(headlines == 1, "{text:?}"),
        Event::Relieved(_) => assert!(headlines <= 1 && (1..=4).contains(&text.lines().count()), "{text:?}"),
        Event::Closed(_) => assert!(headlines <= 1 && text.lines().count() >= 1, "{text:?}"),
    }
}

/// A line is one JSON object that says of what it is.
fn object(line: &[u8], kind: &str, (id, seq, boot_ns): (&str, u64, Option<u64>)) -> serde_json::Value {
    let [object @ .., b'\n'] = line else { panic!("no line: {line:?}") };
    assert!(!object.contains(&b'\n'), "more than one line");
    let object: serde_json::Value = serde_json::from_slice(object).expect("the line is JSON");
    assert_eq!(object["schema"], "oomtrace/1");
    assert_eq!(object["type"], kind);
    assert_eq!(object["id"], id);
    assert_eq!(object["seq"], seq);
    assert_eq!(object["boot_ns"].as_u64(), boot_ns);
    object
}

//! What must come out of a log, beside what came out.

use serde_json::Value;

/// What is wrong: nothing, if each event that was expected is there, in order, and no other.
pub fn compare(expected: &[Value], told: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    if expected.len() != told.len() {
        let kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap_or("?")).collect();
        wrong.push(format!("{} events were expected, these are told: {kinds:?}", expected.len()));
    }
    for (at, expected) in expected.iter().enumerate() {
        let found = if expected["any_place"] == true {
            let better = |event: &&Value| differences(expected, event).len();
            told.iter().min_by_key(better)
        } else {
            told.get(at)
        };
        let Some(found) = found else { continue };
        wrong
            .extend(differences(expected, found).into_iter().map(|what| format!("event {}: {what}", at + 1)));
    }
    wrong
}

/// What an event says otherwise than was expected. What was not written down is not compared.
fn differences(expected: &Value, told: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, wanted) in expected.as_object().expect("an object a line") {
        let found = match key.as_str() {
            "event" => &told["type"],
            // Not written down: the log leaves it open.
            "outcome" | "killed" if wanted.is_null() => continue,
            "outcome" | "kernel" | "host" | "boot_id" | "time" | "kmsg_seq" => &told[key],
            "cgroup" => &told["task"]["cgroup"],
            "killed" => {
                wrong.extend(victims(wanted, &told["victims"], expected["any_order"] == true));
                continue;
            }
            "any_order" | "any_place" => continue,
            "scope" => &told["scope"]["kind"],
            "cause" => &told["scope"]["cause"],
            "memcg" => &told["scope"]["memcg"]["path"],
            "limit_bytes" => {
                &told["scope"]["limits"].as_array().and_then(|limits| limits.last()).unwrap_or(&Value::Null)["limit_bytes"]
            }
            "trigger" => &told["trigger"]["comm"],
            "order" if told["type"] == "oom" => &told["trigger"]["order"],
            "order" => &told["order"],
            "comm" => &told["task"]["comm"],
            "pid" => &told["victims"][0]["pid"],
            "boot_us" => {
                let found = told["boot_ns"].as_u64().map(|ns| ns / 1000);
                if found != wanted.as_u64() {
                    wrong.push(format!("boot_us is {found:?}, not {wanted}"));
                }
                continue;
            }
            // A time of which the log does not say all: to the second, or without the year.
            "wall_near" | "time_at" => {
                let time = told["time"].as_str().unwrap_or_default();
                let part = if key == "time_at" { time.get(5..19) } else { time.get(..19) };
                if part != wanted.as_str() {
                    wrong.push(format!("time is {time}, not {wanted}"));
                }
                continue;
            }
            unknown => panic!("{unknown} is not known to the test"),
        };
        if found != wanted {
            wrong.push(format!("{key} is {found}, not {wanted}"));
        }
    }
    wrong
}

fn victims(expected: &Value, told: &Value, any_order: bool) -> Vec<String> {
    let none = Vec::new();
    let (expected, told) = (expected.as_array().expect("a list"), told.as_array().unwrap_or(&none));
    let mut wrong = Vec::new();
    if expected.len() != told.len() {
        let pids: Vec<_> = told.iter().map(|victim| &victim["pid"]).collect();
        wrong.push(format!("{} victims were expected, these are told: {pids:?}", expected.len()));
    }
    for (at, expected) in expected.iter().enumerate() {
        let same = |victim: &&Value| victim["pid"] == expected["pid"];
        let found = if any_order { told.iter().find(same) } else { told.get(at) };
        let found = found.unwrap_or(&Value::Null);
        for (key, wanted) in expected.as_object().expect("a victim is an object") {
            let value = if key == "rss_bytes" { &found["rss_kernel"]["total_bytes"] } else { &found[key] };
            if value != wanted {
                wrong.push(format!("victim {}: {key} is {value}, not {wanted}", expected["pid"]));
            }
        }
    }
    wrong
}

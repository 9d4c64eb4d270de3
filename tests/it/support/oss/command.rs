//! The commands that scripts give over HTTP.

use super::answers::{Answer, empty, full, set};
use super::{CorsRule, State, lock};

pub fn command_answer(state: &State, command: &str, query: &[(String, Option<String>)]) -> Answer {
    let text = |name: &str| {
        query
            .iter()
            .find(|(n, _)| n == name)
            .and_then(|(_, v)| v.clone())
            .unwrap_or_default()
    };
    let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
    let status = u16::try_from(number("status"))
        .ok()
        .filter(|s| *s > 0)
        .unwrap_or(503);
    match command {
        "fail_next" => {
            let mut faults = lock(&state.faults);
            faults.fail_next = u32::try_from(number("count")).unwrap_or(u32::MAX);
            faults.fail_next_status = status;
        }
        "fail_always" => lock(&state.faults).fail_always = Some(status),
        "stall" => drop(state.stalled.send_replace(text("on") != "false")),
        "hold_answers" => drop(state.held.send_replace(text("on") != "false")),
        "cut_after" => lock(&state.faults).cut_after = Some(number("bytes")),
        "slow" => lock(&state.faults).bytes_per_second = Some(number("bytes_per_second").max(1)),
        "recover" => state.recover(),
        "allow_origin" => {
            let (methods, headers) = (vec!["GET".into(), "PUT".into(), "HEAD".into()], vec!["*".into()]);
            lock(&state.cors).push(CorsRule {
                origin: text("origin"),
                methods,
                headers,
            });
        }
        "objects" => {
            let objects = lock(&state.objects);
            return json(
                objects
                    .iter()
                    .map(|(key, object)| (key.clone(), object.size))
                    .collect(),
            );
        }
        "puts" => {
            return json(
                lock(&state.puts)
                    .iter()
                    .map(|(key, (_, stored))| (key.clone(), *stored))
                    .collect(),
            );
        }
        _ => return empty(404),
    }
    empty(204)
}

/// Keys need no escaping in JSON.
fn json(numbers: Vec<(String, u64)>) -> Answer {
    let members: Vec<String> = numbers
        .iter()
        .map(|(key, number)| format!("\"{key}\": {number}"))
        .collect();
    let mut answer = empty(200);
    set(answer.headers_mut(), "content-type", "application/json");
    *answer.body_mut() = full(format!("{{{}}}\n", members.join(", ")));
    answer
}

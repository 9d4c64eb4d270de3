//! The document and the codes are what is checked in, and good.

use serde_json::Value;

use super::repository;

/// What a checked-in file says; absent before the first export.
fn checked_in(path: &str) -> Option<String> {
    std::fs::read_to_string(repository(path)).ok()
}

#[test]
fn the_document_has_no_problems() {
    assert_eq!(yunque::app::document().problems(), Vec::<String>::new());
}

#[test]
fn the_checked_in_document_is_the_current_one() {
    let Some(text) = checked_in("openapi/openapi.json") else {
        return;
    };
    let current = yunque::app::document().json();
    if text != current {
        let line = text
            .lines()
            .zip(current.lines())
            .position(|(a, b)| a != b)
            .map_or(0, |n| n + 1);
        panic!("openapi/openapi.json differs from line {line} on; write it with: yunque openapi export");
    }
}

#[test]
fn no_error_code_disappears_or_changes_its_status() {
    let Some(text) = checked_in("openapi/error-codes.json") else {
        return;
    };
    let (old, new): (Value, Value) = (
        serde_json::from_str(&text).expect("JSON"),
        serde_json::from_str(&yunque::app::error_codes()).expect("JSON"),
    );
    if let Some(lost) = difference("", &old, &new) {
        panic!("openapi/error-codes.json: {lost}");
    }
}

/// What of `old` is no longer so in `new`. Additions are fine; texts may be improved.
fn difference(at: &str, old: &Value, new: &Value) -> Option<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old.iter().find_map(|(key, value)| match new.get(key) {
            None => Some(format!("{at}/{key} is gone")),
            Some(now) => difference(&format!("{at}/{key}"), value, now),
        }),
        (Value::Array(old), Value::Array(new)) => old.iter().find_map(|row| {
            let same = |other: &&Value| row["code"] == other["code"] && row["status"] == other["status"];
            let gone = !new.contains(row) && (row["code"].is_null() || !new.iter().any(|n| same(&n)));
            gone.then(|| format!("{at}: {row} is gone"))
        }),
        (Value::Number(old), Value::Number(new)) => (old != new).then(|| format!("{at}: {old} became {new}")),
        _ => None,
    }
}

#[test]
fn every_code_an_operation_names_is_one_of_the_table() {
    let codes = yunque::app::error_codes();
    let document = yunque::app::document();
    let empty = serde_json::Map::new();
    for (path, item) in document.value()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, answer) in operation["responses"].as_object().unwrap_or(&empty) {
                if status.starts_with(['1', '2', '3']) {
                    continue;
                }
                let text = answer["description"].as_str().unwrap_or_default();
                for code in text.split('`').skip(1).step_by(2) {
                    assert!(
                        codes.contains(&format!("\"{code}\"")),
                        "{method} {path} {status}: {code}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_documented_paths_are_those_of_the_contract() {
    let document = yunque::app::document();
    let paths: Vec<&String> = document.value()["paths"].as_object().unwrap().keys().collect();
    for path in [
        "/user/register/",
        "/user/login/",
        "/user/refresh-token/",
        "/user/logout/",
        "/user/profile/",
        "/user/change-password/",
        "/user/update-display-name/",
        "/user/update-email/",
        "/user/",
        "/user/{id}/",
        "/user/sessions/",
        "/user/sessions/{sid}/",
        "/user/logout-all/",
        "/user-settings/change-password/",
        "/user-settings/update-display-name/",
        "/user-settings/update-email/",
        "/user/forgot-password/",
        "/user/reset-password/",
        "/api/token/",
        "/api/token/refresh/",
        "/api/token/verify/",
        "/api/token/logout/",
        "/api/users/",
        "/api/users/{id}/",
        "/api/users/{id}/delete_user/",
        "/api/users/{id}/disable_user/",
        "/api/users/{id}/start_user/",
        "/api/users/{id}/set_password/",
        "/api/users/create_sub_agent/",
        "/api/users/create_agent/",
        "/api/users/create_customer/",
        "/api/users/register/",
        "/api/users/reset_password/",
        "/api/users/forgot_password/",
        "/api/users/verify_code/",
        "/api/users/profile/",
        "/api/users/update_profile/",
        "/api/users/change_password/",
        "/api/users/upload_avatar/",
        "/api/users/sub_agents/",
        "/api/users/customers/",
        "/file/",
        "/file/upload_status/",
        "/file/{id}/retry_upload/",
        "/file/{id}/",
        "/file/{id}/delete/",
        "/file/{id}/download/",
        "/file/storage-info/",
        "/file/new-folder/",
        "/file/upload/",
        "/file/presign/",
        "/file/{id}/complete/",
        "/file/{id}/cancel/",
        "/file/batch_delete/",
        "/file/{id}/content/",
        "/api/chat/sessions/",
        "/api/chat/sessions/{id}/",
        "/api/chat/sessions/{id}/messages/",
        "/api/chat/sessions/{id}/messages/{message_id}/",
        "/api/chat/sessions/{id}/mark_read/",
        "/api/chat/sessions/{id}/clear_messages/",
        "/api/chat/sessions/{id}/close/",
        "/api/chat/sessions/{id}/reopen/",
        "/api/chat/sessions/{id}/assign/",
        "/api/chat/sessions/unread_total/",
        "/api/chat/sessions/agent_chat_users/",
        "/api/chat/sessions/user_chat_history/",
        "/media/chat_images/{file}/",
        "/media/avatars/{file}/",
    ] {
        assert!(paths.iter().any(|p| *p == path), "{path} is not documented");
    }
}

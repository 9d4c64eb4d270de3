//! `.env.example` lists every setting and nothing else.

use std::collections::BTreeMap;

use yunque::app::Settings;
use yunque_kernel::config::Env;

use super::repository;

/// Names and values of the file, whether commented out or not: `# NAME=value`.
fn listed(text: &str) -> Vec<(String, String)> {
    let name = |n: &str| {
        n.len() > 1
            && n.starts_with(|c: char| c.is_ascii_uppercase())
            && n.chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let line = |line: &str| {
        let (key, value) = line.trim_start_matches(['#', ' ']).split_once('=')?;
        name(key).then(|| (key.to_owned(), value.trim().to_owned()))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn the_example_file_lists_every_setting_and_nothing_else() {
    let Ok(text) = std::fs::read_to_string(repository(".env.example")) else {
        return;
    };
    let read = Settings::read(&Env::fixed::<&str, &str>([])).unwrap_or_else(|e| panic!("{e}"));
    let known: BTreeMap<&str, _> = read.views.iter().map(|v| (v.setting.name, v.setting)).collect();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in listed(&text) {
        assert!(
            seen.insert(name.clone(), value).is_none(),
            "{name} stands twice in .env.example"
        );
    }
    let missing: Vec<_> = known.keys().filter(|name| !seen.contains_key(**name)).collect();
    assert!(missing.is_empty(), "not in .env.example: {missing:#?}");
    let unknown: Vec<_> = seen
        .keys()
        .filter(|name| !known.contains_key(name.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "in .env.example, but no setting: {unknown:#?}"
    );
    for (name, value) in &seen {
        let setting = known[name.as_str()];
        assert!(
            value == setting.default || setting.default.is_empty(),
            "{name}: {value:?} is not the default {:?}",
            setting.default
        );
    }
}

#[test]
fn defaults_are_valid_and_secrets_are_never_shown() {
    let secret = "f3a91c5e7d2b4860918273645fedcba9f3a91c5e";
    let read = Settings::read(&Env::fixed([
        ("SECRET_KEY", secret),
        ("DATABASE_URL", "mysql://user:db-secret-canary@localhost/x"),
        ("REDIS_URL", "redis://:redis-secret-canary@localhost/"),
        ("SMTP_URL", "smtp://user:smtp-secret-canary@localhost:25"),
        ("ALIYUN_ACCESS_KEY", "oss-key"),
        ("ALIYUN_ACCESS_KEY_SECRET", "oss-secret-canary"),
        ("OSS_ENDPOINT", "oss-cn-hangzhou.aliyuncs.com"),
        ("OSS_BUCKET_NAME", "bucket"),
        ("METRICS_TOKEN", "metrics-secret-canary-0123456789abcdef"),
    ]))
    .unwrap_or_else(|e| panic!("{e}"));
    for view in &read.views {
        let shown = view.value.as_deref().unwrap_or_default();
        assert!(
            !shown.contains("canary") && !shown.contains(secret),
            "{} is shown",
            view.setting.name
        );
    }
}

#[test]
fn all_faults_are_reported_at_once_and_by_name() {
    let faults = Settings::read(&Env::fixed([
        ("LISTEN", "nowhere"),
        ("SECRET_KEY", "short"),
        ("JWT_CLOUD_ACCESS_TTL", "soon"),
        ("RATE_LIMIT_USER", "many"),
        ("APP_ENV", "staging"),
        ("DATABASE_URL", "oracle://x"),
    ]))
    .expect_err("six faults")
    .0;
    let names: Vec<&str> = faults.iter().map(|f| f.name.as_str()).collect();
    for name in [
        "LISTEN",
        "SECRET_KEY",
        "JWT_CLOUD_ACCESS_TTL",
        "RATE_LIMIT_USER",
        "APP_ENV",
        "DATABASE_URL",
    ] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    assert!(
        faults
            .iter()
            .all(|f| !f.problem.is_empty() && !f.remedy.is_empty()),
        "{faults:#?}"
    );
}

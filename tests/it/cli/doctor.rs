//! `doctor`: what it finds and what it says about it.

use serde_json::Value;

use super::Shell;
use super::jobs::{PARKED, park};
use crate::support::TestServer;
use crate::support::oss::OssEmulator;

/// Status and text of a check.
fn check(report: &Value, name: &str) -> (String, String) {
    let all = report["checks"].as_array().expect("checks");
    let found = all
        .iter()
        .find(|c| c["check"] == name)
        .unwrap_or_else(|| panic!("{name}: {report}"));
    let text = |key: &str| found[key].as_str().unwrap_or("").to_owned();
    (text("status"), format!("{} {}", text("detail"), text("remedy")))
}

#[tokio::test]
async fn a_sound_installation_passes_and_servers_that_are_gone_are_named() {
    let shell = Shell::new().await;
    let report = shell.run(&["doctor", "--json"]).await.expect(0).json();
    for name in [
        "configuration",
        "data folder",
        "database",
        "charset",
        "isolation",
        "migrations",
        "storage",
        "mail",
    ] {
        assert_eq!(check(&report, name).0, "ok", "{name}: {report}");
    }
    let gone = [
        ("REDIS_URL", "redis://127.0.0.1:1/0"),
        ("SMTP_URL", "smtp://127.0.0.1:1"),
        ("MAIL_FROM", "a@example.com"),
        ("DATABASE_URL", "mysql://u:p@127.0.0.1:1/x"),
        ("DATABASE_ACQUIRE_TIMEOUT", "300ms"),
    ];
    let report = shell
        .run_with(&["doctor", "--json"], &gone, "")
        .await
        .expect(1)
        .json();
    for name in ["redis", "mail", "database"] {
        assert_eq!(check(&report, name).0, "failed", "{name}: {report}");
    }
    assert_eq!(
        (
            check(&report, "application").0.as_str(),
            check(&report, "storage").0.as_str()
        ),
        ("unknown", "ok")
    );
    let wrong = shell
        .run_with(&["doctor"], &[("LISTEN", "nowhere")], "")
        .await
        .expect(2);
    assert!(wrong.out.contains("LISTEN"), "{wrong:?}");
}

#[tokio::test]
async fn uploads_that_nobody_can_store_are_named_with_their_folder() {
    let server = TestServer::start().await;
    park(&server, 2).await;
    let report = Shell::beside(&server)
        .run(&["doctor", "--json"])
        .await
        .expect(1)
        .json();
    let (status, text) = check(&report, "staged uploads");
    assert_eq!(status, "failed");
    assert!(
        text.contains("2 uploads") && text.contains(PARKED.trim_start_matches("upload@")),
        "{text}"
    );
    assert_eq!(check(&report, "workers").0, "ok", "{report}");
}

#[tokio::test]
async fn a_bucket_is_tried_through_its_public_name_and_asked_for_its_cors_rules() {
    let oss = OssEmulator::start().await;
    let mut shell = Shell::new().await;
    shell.env.extend(oss.env());
    let report = shell.run(&["doctor", "--json"]).await.expect(0).json();
    assert_eq!(
        (
            check(&report, "storage").0.as_str(),
            check(&report, "presigned URLs").0.as_str()
        ),
        ("ok", "ok")
    );
    assert_eq!(check(&report, "bucket CORS").0, "warn");
    let known = [("CORS_ALLOWED_ORIGINS", "https://app.example.com")];
    let report = shell
        .run_with(&["doctor", "--json"], &known, "")
        .await
        .expect(1)
        .json();
    assert!(
        check(&report, "bucket CORS")
            .1
            .contains("https://app.example.com")
    );
    let report = shell
        .run_with(
            &["doctor", "--json"],
            &[("ALIYUN_ACCESS_KEY_SECRET", "wrong")],
            "",
        )
        .await
        .expect(1)
        .json();
    let (status, text) = check(&report, "storage");
    assert_eq!(status, "failed");
    assert!(text.contains("ALIYUN_ACCESS_KEY_SECRET"), "{text}");
}

//! `config`: what is set and what is wrong with it.

use super::Shell;

#[tokio::test]
async fn config_check_lists_every_fault_and_exits_with_2() {
    let shell = Shell::bare();
    let wrong = [
        ("LISTEN", "nowhere"),
        ("WORKER_CONCURRENCY", "0"),
        ("SMTP_URL", "http://user:hunter22@host"),
    ];
    let said = shell.run_with(&["config", "check"], &wrong, "").await.expect(2);
    for name in ["LISTEN", "WORKER_CONCURRENCY", "SMTP_URL"] {
        assert!(
            said.out.contains(&format!("fault: {name}: ")),
            "{name}: {}",
            said.out
        );
    }
    assert!(!said.out.contains("hunter22"), "{}", said.out);
    let report = shell
        .run_with(&["config", "check", "--json"], &wrong, "")
        .await
        .expect(2)
        .json();
    assert_eq!(report["faults"].as_array().map(Vec::len), Some(3), "{report}");
    assert!(
        report["faults"][0]["remedy"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    // Other commands refuse to start, with the same names.
    let said = shell.run_with(&["serve"], &wrong, "").await.expect(2);
    assert!(
        said.err.contains("LISTEN") && said.err.contains("WORKER_CONCURRENCY"),
        "{said:?}"
    );
}

#[tokio::test]
async fn config_check_refuses_a_missing_secret_where_serve_does() {
    let shell = Shell::bare();
    for (name, value) in [
        ("APP_ENV", "production"),
        ("DATABASE_URL", "postgres://yunque@127.0.0.1:1/yunque"),
    ] {
        let mut env = vec![(name, value)];
        if name == "APP_ENV" {
            // Cheap hashes are another fault there.
            env.extend([("ARGON2_MEMORY_KIB", "19456"), ("ARGON2_ITERATIONS", "2")]);
        }
        let report = shell
            .run_with(&["config", "check", "--json"], &env, "")
            .await
            .expect(2)
            .json();
        let faults = report["faults"].as_array().expect("faults");
        assert!(faults.len() == 1 && faults[0]["name"] == "SECRET_KEY", "{report}");
        env.push(("SECRET_KEY", "f3a91c5e7d2b4860918273645fedcba9f3a91c5e"));
        shell.run_with(&["config", "check"], &env, "").await.expect(0);
    }
}

#[tokio::test]
async fn config_show_tells_each_source_and_hides_secrets() {
    let shell = Shell::bare();
    let file = shell.folder.path().join(".env");
    std::fs::write(
        &file,
        "LISTEN=127.0.0.1:1\nUPLOAD_WORKERS=3\nMETRICS_TOKEN=0123456789abcdefg\nLISTN=1\n",
    )
    .expect("written");
    let args = ["--log-level", "debug", "config", "show", "--json"];
    let report = shell
        .run_with(&args, &[("LISTEN", "127.0.0.1:2")], "")
        .await
        .expect(0)
        .json();
    let all = report["settings"].as_array().expect("settings");
    let setting = |name: &str| {
        let found = all.iter().find(|s| s["name"] == name).expect("listed");
        (
            found["value"].as_str().unwrap_or(""),
            found["source"].as_str().unwrap_or(""),
        )
    };
    assert_eq!(setting("LISTEN"), ("127.0.0.1:2", "environment"));
    assert_eq!(setting("UPLOAD_WORKERS"), ("3", ".env"));
    assert_eq!(setting("LOG_LEVEL"), ("debug", "command line"));
    assert_eq!(setting("APP_ENV"), ("development", "default"));
    assert_eq!(setting("METRICS_TOKEN"), ("***", ".env"));
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("LISTN") && warnings.contains("chmod 600"),
        "{warnings}"
    );
}

#[tokio::test]
async fn the_example_of_all_settings_is_the_one_checked_in() {
    let shell = Shell::bare();
    let printed = shell.run(&["config", "example"]).await.expect(0).out;
    let file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example")).expect("checked in");
    assert!(
        printed == file,
        "out of date: yunque config example > .env.example"
    );
}

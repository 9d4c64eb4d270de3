//! API keys, groups, and what other processes write.

use std::net::IpAddr;

use secrecy::ExposeSecret as _;
use yunque_kernel::auth::RevocationBus as _;
use yunque_kernel::auth::revocation::ChangeFollower;

use super::*;
use crate::{DemoUser, NewGroup};

fn ip() -> IpAddr {
    "203.0.113.7".parse().expect("address")
}

#[tokio::test]
async fn a_key_works_until_it_is_revoked_or_expires() {
    let srv = Server::start().await;
    let bob = srv.user("bob").await;
    let scopes = ["cloud:read".to_owned()];
    let key = srv
        .accounts
        .create_api_key(bob, "laptop", &scopes, Some(2))
        .await
        .expect("made");
    let text = key.text.expose_secret().to_owned();
    assert_eq!(
        srv.count("SELECT count(*) FROM auth_api_keys WHERE key_hash LIKE 'ak_%'")
            .await,
        0
    );
    let caller = srv.accounts.api_key(&text, ip()).await.expect("accepted");
    assert_eq!((caller.user_id, caller.session), (bob, None));
    assert!(!caller.key.expect("a key").scopes.allow(Some("cloud"), true));
    assert_eq!(
        code(
            srv.accounts
                .create_api_key(bob, "laptop", &[], None)
                .await
                .expect_err("name")
        ),
        "name_taken"
    );
    assert_eq!(
        code(
            srv.accounts
                .create_api_key(bob, "x", &["x:y".into()], None)
                .await
                .expect_err("scope")
        ),
        "unknown_permission"
    );
    assert_eq!(
        code(
            srv.accounts
                .create_api_key(bob, "x", &["staff".into()], None)
                .await
                .expect_err("staff")
        ),
        "permission_denied"
    );
    srv.accounts.flush().await;
    assert_eq!(
        srv.count("SELECT count(*) FROM auth_api_keys WHERE last_used_ip = '203.0.113.7'")
            .await,
        1
    );

    srv.pass(2 * 86_400);
    assert_eq!(
        code(srv.accounts.api_key(&text, ip()).await.expect_err("expired")),
        "token_invalid"
    );
    let key = srv
        .accounts
        .create_api_key(bob, "desk", &[], None)
        .await
        .expect("made");
    let text = key.text.expose_secret().to_owned();
    assert!(srv.accounts.api_key(&text, ip()).await.is_ok());
    srv.accounts.revoke_api_key(key.view.id).await.expect("revoked");
    assert_eq!(
        code(srv.accounts.api_key(&text, ip()).await.expect_err("revoked")),
        "token_invalid"
    );
}

#[tokio::test]
async fn a_key_has_admin_rights_only_by_name() {
    let srv = Server::start().await;
    let admin = srv.admin("boss").await;
    for (scopes, staff) in [
        (vec!["*".to_owned()], false),
        (vec!["*".to_owned(), "staff".to_owned()], true),
    ] {
        let key = srv
            .accounts
            .create_api_key(admin.user_id, &format!("{staff}"), &scopes, None)
            .await
            .expect("made");
        assert_eq!(
            srv.accounts
                .api_key(key.text.expose_secret(), ip())
                .await
                .expect("accepted")
                .is_staff,
            staff
        );
    }
}

#[tokio::test]
async fn no_more_keys_than_the_limit() {
    let srv = Server::with(&[("AUTH_MAX_API_KEYS", "2")]).await;
    let bob = srv.user("bob").await;
    for name in ["a", "b"] {
        srv.accounts
            .create_api_key(bob, name, &[], None)
            .await
            .expect("made");
    }
    assert_eq!(
        code(
            srv.accounts
                .create_api_key(bob, "c", &[], None)
                .await
                .expect_err("full")
        ),
        "api_key_limit_reached"
    );
}

#[tokio::test]
async fn what_another_process_revokes_is_found_in_the_table() {
    let srv = Server::start().await;
    let bob = srv.user("bob").await;
    let login = srv.login("bob").await;
    let mut follower = ChangeFollower::start(srv.ctx.db.clone()).await.expect("started");
    assert!(srv.who(&login.tokens.access).await.is_ok());
    // A command is another process: it has its own cache and bus.
    let command = Accounts::new(
        Ctx {
            realtime: Hub::local(Metrics::new()),
            ..srv.ctx.clone()
        },
        srv.accounts.settings().clone(),
    );
    command.console_revoke_sessions(bob).await.expect("revoked");
    assert!(srv.who(&login.tokens.access).await.is_ok(), "not heard of yet");
    for change in follower.poll().await.expect("polled") {
        srv.accounts.bus().deliver(change);
    }
    assert!(srv.who(&login.tokens.access).await.is_err());
    assert!(follower.poll().await.expect("polled").is_empty());
}

#[tokio::test]
async fn groups_are_made_once_with_the_test_account() {
    let srv = Server::start().await;
    srv.user("bob").await;
    let new = NewGroup {
        name: "developer".into(),
        members: vec!["BOB".into()],
        demo_user: Some(DemoUser::default()),
        ..Default::default()
    };
    let report = srv.accounts.create_group(new.clone()).await.expect("made");
    assert_eq!(
        (report.is_new, report.demo_user_created, report.added.len()),
        (false, true, 2)
    );
    let again = srv.accounts.create_group(new).await.expect("made");
    assert!(again.added.is_empty() && !again.demo_user_created);
    assert!(srv.accounts.demo_password_in_use().await.expect("checked"));
    let demo = srv.accounts.resolve_user("developer").await.expect("found");
    assert!(srv.accounts.is_in_group(demo, "developer").await.expect("read"));
    srv.accounts
        .console_set_password(demo, &"a private password".into())
        .await
        .expect("set");
    assert!(!srv.accounts.demo_password_in_use().await.expect("checked"));
    let missing = NewGroup {
        name: "x".into(),
        members: vec!["nobody".into()],
        ..Default::default()
    };
    assert_eq!(
        code(srv.accounts.create_group(missing).await.expect_err("unknown")),
        "not_found"
    );
}

#[tokio::test]
async fn the_sweep_removes_what_is_old_and_nothing_else() {
    let srv = Server::start().await;
    let bob = srv.user("bob").await;
    srv.login("bob").await;
    assert!(srv.try_login("bob", "wrong").await.is_err());
    srv.accounts.sweep().await.expect("swept");
    assert_eq!(srv.count("SELECT count(*) FROM auth_sessions").await, 1);
    srv.accounts.console_revoke_sessions(bob).await.expect("revoked");
    srv.pass(200 * 86_400);
    srv.accounts.sweep().await.expect("swept");
    for table in [
        "auth_sessions",
        "auth_login_attempts",
        "auth_changes",
        "user_login_logs",
    ] {
        assert_eq!(
            srv.count(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
    assert_eq!(srv.count("SELECT count(*) FROM users").await, 1);
}

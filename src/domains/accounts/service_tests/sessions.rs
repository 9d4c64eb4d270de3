//! Registration, login, rotation, logout.

use std::time::Duration;

use yunque_kernel::http::idempotency::Claim;

use super::*;

#[tokio::test]
async fn a_new_account_has_a_profile_and_can_log_in_by_name_and_address() {
    let srv = Server::start().await;
    let id = srv.user("Alice").await;
    assert_eq!(srv.count("SELECT count(*) FROM user_profiles").await, 1);
    for name in [
        "Alice",
        "alice",
        " ALICE ",
        "alice@example.com",
        "ALICE@Example.com",
        "Ａlice",
    ] {
        let login = srv.login(name).await;
        assert_eq!(
            (login.account.id, login.account.display_name.as_str()),
            (id.0, "Alice"),
            "{name}"
        );
    }
    assert_eq!(
        srv.count("SELECT count(*) FROM user_profiles WHERE login_count = 6")
            .await,
        1
    );
    assert_eq!(
        srv.count("SELECT count(*) FROM user_login_logs WHERE is_successful")
            .await,
        6
    );
}

#[tokio::test]
async fn of_parallel_registrations_of_one_name_one_succeeds() {
    let srv = std::sync::Arc::new(Server::start().await);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let srv = srv.clone();
            yunque_kernel::task::spawn(async move { srv.register("bob").await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.expect("joined") {
            Ok(_) => made += 1,
            Err(e) => assert_eq!(code(e), "username_taken"),
        }
    }
    assert_eq!((made, srv.count("SELECT count(*) FROM users").await), (1, 1));
}

#[tokio::test]
async fn both_taken_names_the_username_first() {
    let srv = Server::start().await;
    srv.user("bob").await;
    let error = |new| async {
        srv.accounts
            .register(new, &srv.client(), &Claim::none())
            .await
            .expect_err("taken")
    };
    let both = ApiError::from(error(registration("BOB", "Bob@Example.com")).await);
    assert_eq!(both.code, "username_taken");
    assert!(both.faults.has("username") && both.faults.has("email"));
    assert_eq!(
        code(error(registration("carol", "BOB@example.com")).await),
        "email_taken"
    );
    assert_eq!(
        code(error(registration("Admin", "a@example.com")).await),
        "validation_error"
    );
}

#[tokio::test]
async fn wrong_unknown_and_inactive_are_answered_alike() {
    let srv = Server::start().await;
    let (bob, admin) = (srv.user("bob").await, srv.admin("root1").await);
    assert_eq!(
        code(srv.try_login("bob", "wrong password").await.expect_err("wrong")),
        "invalid_credentials"
    );
    assert_eq!(
        code(srv.try_login("nobody", PASSWORD).await.expect_err("unknown")),
        "invalid_credentials"
    );
    srv.accounts
        .console_set_active(bob, false)
        .await
        .expect("disabled");
    assert_eq!(
        code(srv.try_login("bob", PASSWORD).await.expect_err("inactive")),
        "invalid_credentials"
    );
    assert!(admin.is_staff);
}

#[tokio::test]
async fn a_used_refresh_token_ends_the_session() {
    let srv = Server::start().await;
    srv.user("bob").await;
    let (login, other) = (srv.login("bob").await, srv.login("bob").await);
    let r1 = login.tokens;
    let r2 = srv.refresh(&r1.refresh).await.expect("rotated");
    assert!(srv.who(&r1.access).await.is_ok() && srv.who(&r2.access).await.is_ok());
    srv.pass(1);
    assert_eq!(
        code(srv.refresh(&r1.refresh).await.expect_err("used")),
        "token_reused"
    );
    assert_eq!(
        code(srv.refresh(&r2.refresh).await.expect_err("revoked")),
        "token_invalid"
    );
    for access in [&r1.access, &r2.access] {
        assert_eq!(code(srv.who(access).await.expect_err("revoked")), "token_invalid");
    }
    assert!(srv.who(&other.tokens.access).await.is_ok());
    assert_eq!(
        srv.count("SELECT count(*) FROM security_events WHERE kind = 'refresh_token_reused'")
            .await,
        1
    );
}

#[tokio::test]
async fn a_session_with_an_impossible_life_is_unusable() {
    let srv = Server::start().await;
    srv.user("bob").await;
    for life in [i64::MAX, i64::MIN, 9_000_000_000_000, 1_000_000_000_000] {
        let fresh = srv.login("bob").await.tokens;
        let spoil = format!("UPDATE auth_sessions SET refresh_ttl = {life}");
        srv.execute(&spoil).await;
        assert_eq!(
            code(srv.refresh(&fresh.refresh).await.expect_err("unusable")),
            "token_invalid",
            "{life}"
        );
    }
    let used = srv.login("bob").await.tokens;
    srv.refresh(&used.refresh).await.expect("rotated");
    srv.pass(1);
    srv.execute(&format!("UPDATE auth_sessions SET refresh_ttl = {}", i64::MAX))
        .await;
    assert_eq!(
        code(srv.refresh(&used.refresh).await.expect_err("unusable")),
        "token_invalid"
    );
}

#[tokio::test]
async fn of_parallel_refreshes_one_wins_and_its_tokens_stay_valid() {
    let srv = std::sync::Arc::new(Server::start().await);
    srv.user("bob").await;
    let token = srv.login("bob").await.tokens.refresh;
    let client = srv.client();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (srv, token, client) = (srv.clone(), token.clone(), client.clone());
            yunque_kernel::task::spawn(async move {
                srv.accounts.refresh(Surface::Cloud, Some(&token), &client).await
            })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        match task.await.expect("joined") {
            Ok(pair) => winners.push(pair),
            Err(e) => assert_eq!(code(e), "token_invalid"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert!(srv.who(&winners[0].access).await.is_ok());
    assert!(srv.refresh(&winners[0].refresh).await.is_ok());
}

#[tokio::test]
async fn within_the_grace_a_used_token_is_refused_without_harm() {
    let srv = Server::with(&[("JWT_REUSE_GRACE", "10s")]).await;
    srv.user("bob").await;
    let r1 = srv.login("bob").await.tokens;
    let r2 = srv.refresh(&r1.refresh).await.expect("rotated");
    srv.pass(5);
    assert_eq!(
        code(srv.refresh(&r1.refresh).await.expect_err("used")),
        "token_invalid"
    );
    assert!(srv.who(&r2.access).await.is_ok());
    srv.pass(6);
    assert_eq!(
        code(srv.refresh(&r1.refresh).await.expect_err("used")),
        "token_reused"
    );
    assert!(srv.who(&r2.access).await.is_err());
}

#[tokio::test]
async fn tokens_are_refused_outside_their_purpose_and_time() {
    let srv = Server::start().await;
    srv.user("bob").await;
    let tokens = srv.login("bob").await.tokens;
    assert_eq!(
        code(srv.refresh(&tokens.access).await.expect_err("access")),
        "token_invalid"
    );
    assert_eq!(
        code(srv.who(&tokens.refresh).await.expect_err("refresh")),
        "token_invalid"
    );
    let on_api = srv
        .accounts
        .refresh(Surface::Api, Some(&tokens.refresh), &srv.client())
        .await;
    assert_eq!(code(on_api.expect_err("other surface")), "token_invalid");
    assert_eq!(
        code(
            srv.accounts
                .refresh(Surface::Cloud, Some("  "), &srv.client())
                .await
                .expect_err("blank")
        ),
        "refresh_required"
    );
    srv.pass(3600);
    assert_eq!(
        code(srv.who(&tokens.access).await.expect_err("expired")),
        "token_expired"
    );
    let tokens = srv
        .refresh(&tokens.refresh)
        .await
        .expect("another surface's refusal revoked nothing");
    srv.pass(604_800);
    assert_eq!(
        code(srv.refresh(&tokens.refresh).await.expect_err("expired")),
        "token_expired"
    );
}

#[tokio::test]
async fn logout_ends_this_session_and_logout_all_every_one() {
    let srv = Server::start().await;
    srv.user("bob").await;
    let (a, b, c) = (
        srv.login("bob").await,
        srv.login("bob").await,
        srv.login("bob").await,
    );
    let caller = srv.session(&a).await;
    assert_eq!(
        srv.accounts.list_sessions(&caller).await.expect("listed").len(),
        3
    );
    srv.accounts
        .logout(&caller, Some(&b.tokens.refresh))
        .await
        .expect("logged out");
    for gone in [&a, &b] {
        assert!(srv.who(&gone.tokens.access).await.is_err());
        assert!(srv.refresh(&gone.tokens.refresh).await.is_err());
    }
    let caller = srv.session(&c).await;
    assert_eq!(
        code(
            srv.accounts
                .end_session(&caller, srv_session(&a))
                .await
                .expect_err("gone")
        ),
        "not_found"
    );
    let d = srv.login("bob").await;
    srv.accounts.logout_everywhere(&caller).await.expect("logged out");
    assert!(srv.who(&c.tokens.access).await.is_err() && srv.who(&d.tokens.access).await.is_err());
    assert!(srv.try_login("bob", PASSWORD).await.is_ok());
}

fn srv_session(login: &Login) -> yunque_kernel::ids::SessionId {
    // The id stands in the token; whose session it is decides the service.
    use base64::Engine as _;
    let claims = login.tokens.access.split('.').nth(1).expect("three parts");
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(claims)
        .expect("base64");
    let claims: serde_json::Value = serde_json::from_slice(&json).expect("json");
    yunque_kernel::ids::SessionId(claims["sid"].as_i64().expect("a number"))
}

#[tokio::test]
async fn a_password_change_keeps_only_the_calling_session() {
    let srv = Server::start().await;
    srv.user("bob").await;
    let (mine, other) = (srv.login("bob").await, srv.login("bob").await);
    let caller = srv.session(&mine).await;
    let old = CurrentPassword::parse(PASSWORD).expect("not empty");
    let new = Password::parse("another fine password").expect("valid");
    let same = Password::parse(PASSWORD).expect("valid");
    let change = async |old: &CurrentPassword, new: &Password| {
        srv.accounts
            .change_password(&caller, old, new, &srv.client())
            .await
    };
    let error = ApiError::from(change(&old, &same).await.expect_err("equal"));
    assert!(error.faults.has("new_password"));
    let wrong = CurrentPassword::parse("wrong").expect("not empty");
    let error = ApiError::from(change(&wrong, &new).await.expect_err("wrong"));
    assert_eq!(
        (error.code, error.text.zh.as_ref()),
        ("wrong_password", "旧密码错误")
    );
    change(&old, &new).await.expect("changed");
    assert!(srv.who(&mine.tokens.access).await.is_ok());
    assert!(srv.refresh(&mine.tokens.refresh).await.is_ok());
    assert!(srv.who(&other.tokens.access).await.is_err());
    assert!(srv.try_login("bob", PASSWORD).await.is_err());
    assert!(srv.try_login("bob", "another fine password").await.is_ok());
    assert_eq!(srv.count("SELECT count(*) FROM outgoing_mails").await, 1);
}

#[tokio::test]
async fn the_sixth_wrong_password_is_throttled_whatever_it_is() {
    let srv = Server::start().await;
    srv.user("bob").await;
    let caller = srv.session(&srv.login("bob").await).await;
    let new = Password::parse("another fine password").expect("valid");
    let change = async |old: &str| {
        let old = CurrentPassword::parse(old).expect("not empty");
        srv.accounts
            .change_password(&caller, &old, &new, &srv.client())
            .await
            .map_err(code)
    };
    for _ in 0..5 {
        assert_eq!(change("wrong").await, Err("wrong_password"));
    }
    assert_eq!(change(PASSWORD).await, Err("throttled"));
    srv.ctx.clock.advance(Duration::from_secs(15 * 60 + 1));
    assert_eq!(change(PASSWORD).await, Ok(()));
}

//! Login throttling.

use super::*;

#[tokio::test]
async fn ten_failures_block_the_pair_even_for_the_right_password() {
    let srv = Server::start().await;
    srv.user("bob").await;
    srv.user("carol").await;
    for _ in 0..10 {
        assert_eq!(
            code(srv.try_login("bob", "wrong").await.expect_err("wrong")),
            "invalid_credentials"
        );
    }
    let blocked = ApiError::from(srv.try_login("BOB", PASSWORD).await.expect_err("blocked"));
    assert_eq!((blocked.status, blocked.code), (429, "login_blocked"));
    assert!(
        blocked
            .headers
            .iter()
            .any(|(name, value)| *name == "retry-after" && value.parse::<u64>().expect("seconds") <= 300)
    );
    assert!(srv.try_login("carol", PASSWORD).await.is_ok());
    let password = CurrentPassword::parse(PASSWORD).expect("not empty");
    let elsewhere = srv
        .accounts
        .login(Surface::Cloud, "bob", &password, &srv.client_at("198.51.100.1"))
        .await;
    assert!(elsewhere.is_ok(), "nobody locks anybody else out");
    srv.pass(301);
    assert!(srv.try_login("bob", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_success_forgets_the_failures_of_its_pair() {
    let srv = Server::start().await;
    srv.user("bob").await;
    for _ in 0..3 {
        for _ in 0..9 {
            assert!(srv.try_login("bob", "wrong").await.is_err());
        }
        assert!(srv.try_login("bob", PASSWORD).await.is_ok());
    }
}

#[tokio::test]
async fn an_address_is_blocked_for_all_names() {
    let srv = Server::with(&[("AUTH_IP_MAX_FAILURES", "12")]).await;
    srv.user("bob").await;
    for n in 0..12 {
        assert!(srv.try_login(&format!("name{n}"), "wrong").await.is_err());
    }
    assert_eq!(
        code(srv.try_login("bob", PASSWORD).await.expect_err("blocked")),
        "login_blocked"
    );
    srv.pass(901);
    assert!(srv.try_login("bob", PASSWORD).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_wrong_guesses_are_verified_no_more_often_than_the_limit() {
    let srv = std::sync::Arc::new(Server::with(&[("AUTH_LOGIN_MAX_FAILURES", "5")]).await);
    srv.user("bob").await;
    let guess = |password: &'static str| {
        let srv = srv.clone();
        yunque_kernel::task::spawn(
            async move { srv.try_login("bob", password).await.map(drop).map_err(code) },
        )
    };
    let tasks: Vec<_> = (0..20).map(|_| guess("wrong password")).collect();
    let mut verified = 0;
    for task in tasks {
        match task.await.expect("joined") {
            Err("invalid_credentials") => verified += 1,
            other => assert_eq!(other, Err("login_blocked")),
        }
    }
    assert_eq!(verified, 5);
    srv.pass(301);
    let tasks: Vec<_> = (0..20).map(|_| guess(PASSWORD)).collect();
    for task in tasks {
        assert_eq!(
            task.await.expect("joined"),
            Ok(()),
            "right passwords only wait for each other"
        );
    }
    assert_eq!(
        srv.count("SELECT count(*) FROM auth_login_attempts WHERE failure_reason = 'pending'")
            .await,
        0
    );
}

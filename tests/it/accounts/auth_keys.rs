//! API keys as credentials of the cloud surface.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;
use yunque_kernel::auth::api_key::sha256_hex;
use yunque_kernel::ids::UserId;

use super::{PASSWORD, account, answered, api_key, detailed, is_in, lives};
use crate::support::{Client, TestServer, sql};

fn with_key(srv: &TestServer, key: &str) -> Client {
    srv.client.with_header("x-api-key", key)
}

#[tokio::test]
async fn a_key_works_in_both_headers() {
    let (srv, alice, bob) = TestServer::with_users().await;
    let key = api_key(&srv, &alice, &["*"]).await;
    assert!(key.starts_with("ak_") && key.len() == 51, "{key}");
    let profile = account(alice.id, "alice", "alice@example.com", "alice");
    answered(
        with_key(&srv, &key).get("/user/profile/").await,
        200,
        profile.clone(),
    );
    answered(
        srv.client.with_token(&key).get("/user/profile/").await,
        200,
        profile.clone(),
    );
    let both = srv.client.with_token(&key).with_header("x-api-key", &key);
    answered(both.get("/user/profile/").await, 200, profile.clone());
    // With a token of the same user it is as good as the token.
    answered(
        alice
            .client
            .with_header("x-api-key", &key)
            .get("/user/profile/")
            .await,
        200,
        profile,
    );

    let disagree = bob
        .client
        .with_header("x-api-key", &key)
        .get("/user/profile/")
        .await;
    answered(disagree, 401, detailed("token无效或已过期", "token_invalid"));
    let bobs = api_key(&srv, &bob, &["*"]).await;
    let two_keys = srv.client.with_token(&bobs).with_header("x-api-key", &key);
    two_keys.get("/user/profile/").await.refused(401, "token_invalid");
    let good_and_garbage = alice.client.with_header("x-api-key", "ak_garbage");
    good_and_garbage
        .get("/user/profile/")
        .await
        .refused(401, "token_invalid");
    let stale_and_good = srv.client.with_token("stale").with_header("x-api-key", &key);
    stale_and_good
        .get("/user/profile/")
        .await
        .refused(401, "token_invalid");
}

#[tokio::test]
async fn scopes_open_reading_and_writing_of_their_module_only() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let rename = json!({ "display_name": "x" });
    for (scopes, reads, writes) in [
        (&["*"][..], true, true),
        (&["cloud:read"], true, false),
        (&["cloud:write"], true, true),
        (&["chat:write", "agents:write", "users:write"], false, false),
        (&["chat:read", "cloud:read"], true, false),
    ] {
        let client = with_key(&srv, &api_key(&srv, &alice, scopes).await);
        let read = client.get("/user/profile/").await;
        assert_eq!(read.status, if reads { 200 } else { 403 }, "{scopes:?}");
        let list = client.get("/file/").await;
        assert_eq!(list.status, if reads { 200 } else { 403 }, "{scopes:?}");
        let write = client.post("/user/update-display-name/", rename.clone()).await;
        assert_eq!(write.status, if writes { 200 } else { 403 }, "{scopes:?}");
        let alias = client
            .post("/user-settings/update-display-name/", rename.clone())
            .await;
        assert_eq!(alias.status, if writes { 200 } else { 403 }, "{scopes:?}");
        if !writes {
            answered(write, 403, detailed("密钥权限不足", "insufficient_scope"));
        }
    }
}

#[tokio::test]
async fn keys_never_reach_credentials_tokens_sessions_or_the_address() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let client = with_key(&srv, &api_key(&srv, &alice, &["*"]).await);
    let refused = detailed("该操作不支持 API 密钥", "api_key_not_allowed");
    let change = json!({ "old_password": PASSWORD, "new_password": "another-one-9" });
    let email = json!({ "email": "new@example.com", "password": PASSWORD });
    for (path, body) in [
        ("/user/change-password/", change.clone()),
        ("/user-settings/change-password/", change),
        ("/user/update-email/", email.clone()),
        ("/user-settings/update-email/", email.clone()),
        ("/user/logout/", json!({})),
        ("/user/logout-all/", json!({})),
    ] {
        answered(client.post(path, body).await, 403, refused.clone());
    }
    answered(client.get("/user/sessions/").await, 403, refused.clone());
    answered(client.delete("/user/sessions/1/").await, 403, refused.clone());
    let own = format!("/user/{}/", alice.id);
    answered(client.patch(&own, email.clone()).await, 403, refused.clone());
    answered(client.put(&own, email).await, 403, refused.clone());
    answered(
        client.delete_with(&own, json!({ "password": PASSWORD })).await,
        403,
        refused,
    );
    assert!(is_in(&alice).await);
    let renamed = client.patch(&own, json!({ "display_name": "by key" })).await;
    answered(
        renamed,
        200,
        account(alice.id, "alice", "alice@example.com", "by key"),
    );
}

#[tokio::test]
async fn admin_rights_need_the_staff_scope() {
    let srv = TestServer::start().await;
    let (alice, admin) = (srv.user("alice").await, srv.admin("boss").await);
    let other = format!("/user/{}/", alice.id);
    let star = with_key(&srv, &api_key(&srv, &admin, &["*"]).await);
    answered(
        star.get("/user/").await,
        403,
        detailed("权限不足", "permission_denied"),
    );
    star.get(&other).await.refused(404, "not_found");
    star.patch(&other, json!({ "is_active": false }))
        .await
        .refused(404, "not_found");
    star.post("/user/", super::registration("carol"))
        .await
        .refused(403, "permission_denied");
    let staff = with_key(&srv, &api_key(&srv, &admin, &["*", "staff"]).await);
    assert_eq!(staff.get("/user/").await.expect(200).as_array().unwrap().len(), 2);
    staff.get(&other).await.expect(200);
    let only_staff = with_key(&srv, &api_key(&srv, &admin, &["staff"]).await);
    only_staff.get("/user/").await.refused(403, "insufficient_scope");
    let scopes = vec!["staff".to_owned()];
    let refused = srv
        .app
        .accounts
        .create_api_key(UserId(alice.id), "k", &scopes, None)
        .await;
    assert!(
        matches!(refused, Err(yunque_accounts::AccountsError::PermissionDenied)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn expired_revoked_and_orphaned_keys_are_refused_at_once() {
    let srv = TestServer::start().await;
    let (alice, bob) = (srv.user("alice").await, srv.user("bob").await);
    srv.admin("boss").await;
    let accounts = &srv.app.accounts;
    let short = accounts
        .create_api_key(UserId(alice.id), "short", &[], Some(1))
        .await
        .expect("key");
    let long = accounts
        .create_api_key(UserId(alice.id), "long", &[], None)
        .await
        .expect("key");
    let client = |key: &yunque_accounts::CreatedApiKey| with_key(&srv, key.text.expose_secret());
    assert!(lives(&client(&short).get("/user/profile/").await));
    assert!(lives(&client(&long).get("/user/profile/").await));
    srv.clock.advance(Duration::from_secs(86_400));
    client(&short)
        .get("/user/profile/")
        .await
        .refused(401, "token_invalid");
    assert!(lives(&client(&long).get("/user/profile/").await));
    accounts.revoke_api_key(long.view.id).await.expect("revoked");
    client(&long)
        .get("/user/profile/")
        .await
        .refused(401, "token_invalid");

    let bobs = with_key(&srv, &api_key(&srv, &bob, &["*"]).await);
    assert!(lives(&bobs.get("/user/profile/").await));
    let admin = srv.login("boss", PASSWORD).await.client.clone();
    admin
        .patch(&format!("/user/{}/", bob.id), json!({ "is_active": false }))
        .await
        .expect(200);
    bobs.get("/user/profile/").await.refused(401, "token_invalid");
}

#[tokio::test]
async fn malformed_keys_are_refused_and_only_the_hash_is_stored() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let key = api_key(&srv, &alice, &["*"]).await;
    for bad in [
        "ak_",
        "ak_x",
        &key[..50],
        &format!("{key}x"),
        &key.replace("ak_", "AK_"),
        &format!("ak_{}", "0".repeat(48)),
        "' OR 1=1 --",
        "*",
    ] {
        with_key(&srv, bad)
            .get("/user/profile/")
            .await
            .refused(401, "token_invalid");
    }
    let twice = with_key(&srv, &key).with_header("x-api-key", &key);
    twice.get("/user/profile/").await.refused(401, "token_invalid");
    assert_eq!(
        sql::text(&srv, "SELECT key_hash FROM auth_api_keys").await,
        sha256_hex(&key)
    );
    let shown = sql::text(&srv, "SELECT prefix FROM auth_api_keys").await;
    assert_eq!(shown, key[..8]);
}

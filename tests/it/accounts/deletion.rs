//! `DELETE /user/{id}/`.

use base64::Engine as _;
use serde_json::{Value, json};

use super::{PASSWORD, answered, api_key, detailed, is_in, registration, try_login};
use crate::support::{TestServer, User, sql};

async fn delete(user: &User, id: i64, body: Value) -> crate::support::Reply {
    user.client.delete_with(&format!("/user/{id}/"), body).await
}

#[tokio::test]
async fn ones_own_account_needs_the_password() {
    let (srv, alice, bob) = TestServer::with_users().await;
    delete(&alice, alice.id, json!({}))
        .await
        .refused(400, "wrong_password");
    delete(&alice, alice.id, json!({ "password": null }))
        .await
        .refused(400, "wrong_password");
    delete(&alice, alice.id, json!({ "password": "wrong-password" }))
        .await
        .refused(400, "wrong_password");
    alice
        .client
        .delete(&format!("/user/{}/", alice.id))
        .await
        .refused(400, "wrong_password");
    super::fault_of(
        delete(&alice, alice.id, json!({ "password": 5 })).await,
        "password",
    );
    answered(
        delete(&alice, bob.id, json!({ "password": PASSWORD })).await,
        404,
        detailed("资源不存在", "not_found"),
    );
    assert!(is_in(&alice).await && is_in(&bob).await);
    let reply = delete(&alice, alice.id, json!({ "password": PASSWORD })).await;
    assert!(reply.bytes.is_empty(), "{}", reply.text());
    reply.expect(204);
    assert!(!is_in(&alice).await);
    assert!(is_in(&bob).await);
    let _ = srv;
}

#[tokio::test]
async fn an_admin_deletes_without_the_password_and_once() {
    let srv = TestServer::start().await;
    let (alice, admin) = (srv.user("alice").await, srv.admin("boss").await);
    delete(&admin, alice.id, json!({})).await.expect(204);
    try_login(&srv, "alice", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    srv.settle().await;
    delete(&admin, alice.id, json!({}))
        .await
        .refused(404, "not_found");
    delete(&admin, 999_999, json!({})).await.refused(404, "not_found");
}

#[tokio::test]
async fn the_row_stays_without_personal_data_and_the_name_is_free_again() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let key = api_key(&srv, &alice, &["*"]).await;
    let content = base64::engine::general_purpose::STANDARD.encode(b"private");
    let body = json!({ "name": "a.txt", "content_type": "text/plain", "size": 7, "file_content": content });
    alice.client.post("/file/", body).await.expect(201);
    srv.settle().await;
    alice
        .client
        .post(
            "/user/update-display-name/",
            json!({ "display_name": "Alice Secret" }),
        )
        .await
        .expect(200);
    delete(&alice, alice.id, json!({ "password": PASSWORD }))
        .await
        .expect(204);
    srv.client
        .with_header("x-api-key", &key)
        .get("/user/profile/")
        .await
        .refused(401, "token_invalid");
    srv.settle().await;

    let of = |column: &str| format!("SELECT {column} FROM users WHERE id = {}", alice.id);
    assert_eq!(
        sql::text(&srv, &of("username")).await,
        format!("deleted_{}", alice.id)
    );
    assert!(sql::text(&srv, &of("email")).await.ends_with("@invalid"));
    for column in ["username_key", "email", "email_key", "display_name", "password"] {
        let value = sql::text(&srv, &of(column)).await;
        assert!(!value.to_lowercase().contains("alice"), "{column}: {value}");
    }
    assert!(!sql::text(&srv, &of("password")).await.starts_with("$argon2"));
    let left = |table: &str| format!("SELECT COUNT(*) FROM {table} WHERE user_id = {}", alice.id);
    assert_eq!(
        sql::number(&srv, &format!("{} AND deleted_at IS NULL", left("files"))).await,
        0
    );
    assert_eq!(
        sql::number(&srv, &format!("{} AND is_active = TRUE", left("auth_api_keys"))).await,
        0
    );
    assert_eq!(
        sql::number(&srv, &format!("{} AND revoked_at IS NULL", left("auth_sessions"))).await,
        0
    );

    let again = srv
        .client
        .post("/user/register/", registration("alice"))
        .await
        .expect(201);
    assert_ne!(again["id"], alice.id);
    assert!(is_in(&srv.login("alice", PASSWORD).await).await);
}

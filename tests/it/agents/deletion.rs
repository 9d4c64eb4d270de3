//! `DELETE /api/users/{id}/` and `/api/users/{id}/delete_user/`.

use serde_json::json;

use super::*;
use crate::support::sql;

#[tokio::test]
async fn a_deleted_user_is_gone_at_once_and_anonymised_by_a_job() {
    let forest = Forest::grown().await;
    let reply = forest.sub.client.delete(&one(&forest.customer)).await;
    assert!(reply.bytes.is_empty(), "{}", reply.text());
    reply.expect(204);
    assert!(!is_in(&forest.customer).await);
    token(&forest.srv.client, "customer", PASSWORD).await.expect(401);
    for by in [&forest.sub, &forest.agent, &forest.admin] {
        let client = &by.client;
        client.get(&one(&forest.customer)).await.refused(404, "not_found");
        client
            .delete(&one(&forest.customer))
            .await
            .refused(404, "not_found");
        let start = format!("{}start_user/", one(&forest.customer));
        client.post(&start, json!({})).await.refused(404, "not_found");
        client
            .patch(&one(&forest.customer), json!({ "is_active": true }))
            .await
            .refused(404, "not_found");
        let seen = listed(by, "/api/users/?page_size=100").await;
        assert!(!seen.contains(&"customer".to_owned()), "{seen:?}");
    }
    let list = forest
        .agent
        .client
        .get("/api/users/sub_agents/")
        .await
        .expect(200);
    assert_eq!(list["results"][0]["customer_count"], 0);
    forest.srv.settle().await;
    let row = format!(
        "SELECT username || '/' || email || '/' || name FROM users WHERE id = {}",
        forest.customer.id
    );
    let row = if forest.srv.app.ctx.db.kind() == yunque_kernel::db::DbKind::MySql {
        row.replace(
            "username || '/' || email || '/' || name",
            "CONCAT(username, '/', email, '/', name)",
        )
    } else {
        row
    };
    let id = forest.customer.id;
    assert_eq!(
        sql::text(&forest.srv, &row).await,
        format!("deleted_{id}/deleted_{id}@invalid/")
    );
    forest
        .admin
        .client
        .get(&one(&forest.customer))
        .await
        .refused(404, "not_found");
    // The name is free again.
    made_by(&forest.srv, &forest.agent, "create_customer", "customer").await;
}

#[tokio::test]
async fn the_other_spellings_answer_with_a_message() {
    let forest = Forest::grown().await;
    let path = format!("{}delete_user/", one(&forest.customer));
    let reply = forest.agent.client.delete(&path).await;
    answered(reply, 200, json!({ "message": "用户已删除" }));
    let path = format!("{}delete_user/", one(&forest.own_customer));
    let reply = forest.agent.client.post(&path, json!({})).await;
    answered(reply, 200, json!({ "message": "用户已删除" }));
    assert_eq!(listed(&forest.agent, "/api/users/").await, ["sub"]);
}

#[tokio::test]
async fn an_agent_with_users_below_is_only_deleted_with_an_heir() {
    let forest = Forest::grown().await;
    let refused = error("该账户仍有下级用户", "has_children");
    for (by, target) in [
        (&forest.agent, &forest.sub),
        (&forest.admin, &forest.sub),
        (&forest.admin, &forest.agent),
    ] {
        answered(by.client.delete(&one(target)).await, 409, refused.clone());
    }
    // Not on the other surface either.
    let path = format!("/user/{}/", forest.sub.id);
    answered(forest.admin.client.delete(&path).await, 409, refused.clone());
    let body = json!({ "password": PASSWORD });
    answered(forest.sub.client.delete_with(&path, body).await, 409, refused);
    assert!(is_in(&forest.sub).await);

    for heir in [
        forest.other_sub.id,
        forest.other_agent.id,
        forest.sub.id,
        forest.customer.id,
        forest.own_customer.id,
        999_999,
    ] {
        let path = format!("{}?reassign_to={heir}", one(&forest.sub));
        let body = forest
            .agent
            .client
            .delete(&path)
            .await
            .refused(400, "agent_not_found");
        assert_eq!(body["errors"], json!({ "reassign_to": ["未找到匹配的代理"] }));
    }
    for heir in ["", "me", "-1", "1e3"] {
        let path = format!("{}?reassign_to={heir}", one(&forest.sub));
        forest
            .agent
            .client
            .delete(&path)
            .await
            .refused(400, "agent_not_found");
    }
    // An admin is no agent.
    let path = format!("{}?reassign_to=self", one(&forest.sub));
    forest
        .admin
        .client
        .delete(&path)
        .await
        .refused(400, "agent_not_found");
    assert!(is_in(&forest.sub).await);

    forest.agent.client.delete(&path).await.expect(204);
    let moved = forest.agent.client.get(&one(&forest.customer)).await.expect(200);
    assert_eq!(
        (&moved["parent_id"], &moved["parent_username"]),
        (&json!(forest.agent.id), &json!("agent"))
    );
    assert!(is_in(&forest.customer).await, "customers stay signed in");
}

#[tokio::test]
async fn customers_go_to_another_sub_agent() {
    let forest = Forest::grown().await;
    let heir = made_by(&forest.srv, &forest.agent, "create_sub_agent", "heir").await;
    let path = format!("{}delete_user/?reassign_to={}", one(&forest.sub), heir.id);
    forest.agent.client.delete(&path).await.expect(200);
    assert_eq!(listed(&heir, "/api/users/customers/").await, ["customer"]);
    let path = format!("{}?reassign_to={}", one(&heir), heir.id);
    forest
        .agent
        .client
        .delete(&path)
        .await
        .refused(400, "agent_not_found");
    let disabled = made_by(&forest.srv, &forest.agent, "create_sub_agent", "disabled").await;
    let disable = format!("{}disable_user/", one(&disabled));
    forest.agent.client.post(&disable, json!({})).await.expect(200);
    let path = format!("{}?reassign_to={}", one(&heir), disabled.id);
    forest
        .agent
        .client
        .delete(&path)
        .await
        .refused(400, "agent_not_found");
}

#[tokio::test]
async fn sub_agents_of_a_deleted_agent_go_to_a_first_level_agent_only() {
    let forest = Forest::grown().await;
    let path = format!("{}?reassign_to={}", one(&forest.agent), forest.other_sub.id);
    forest
        .admin
        .client
        .delete(&path)
        .await
        .refused(400, "agent_not_found");
    let path = format!("{}?reassign_to={}", one(&forest.agent), forest.other_agent.id);
    forest.admin.client.delete(&path).await.expect(204);
    assert_eq!(
        listed(&forest.other_agent, "/api/users/").await,
        ["customer", "other_customer", "other_sub", "own_customer", "sub"]
    );
    assert!(is_in(&forest.sub).await);
}

#[tokio::test]
async fn deleted_customers_do_not_hold_their_agent() {
    let forest = Forest::grown().await;
    forest.sub.client.delete(&one(&forest.customer)).await.expect(204);
    forest.agent.client.delete(&one(&forest.sub)).await.expect(204);
    forest.srv.settle().await;
    let astray = "SELECT COUNT(*) FROM users WHERE purged_at IS NOT NULL AND parent_id IS NOT NULL";
    assert_eq!(sql::number(&forest.srv, astray).await, 0);
}

#[tokio::test]
async fn never_oneself_and_never_the_last_admin() {
    let forest = Forest::grown().await;
    let own = one(&forest.admin);
    for reply in [
        forest.admin.client.delete(&own).await,
        forest.admin.client.delete(&format!("{own}delete_user/")).await,
    ] {
        answered(reply, 400, error("不能对自己执行该操作", "cannot_target_self"));
    }
    let deputy = forest.srv.admin("deputy").await;
    let (a, b) = futures_util::future::join(
        forest.admin.client.delete(&one(&deputy)),
        deputy.client.delete(&one(&forest.admin)),
    )
    .await;
    let admins = "SELECT COUNT(*) FROM users WHERE user_type = 'admin' AND is_active";
    let left = sql::number(&forest.srv, admins).await;
    assert_eq!(left, 1, "{} {}", a.text(), b.text());
}

/// A customer that is being made below an agent that is being deleted: it is refused, or its agent
/// stays.
#[tokio::test]
async fn nobody_is_made_below_an_agent_that_goes() {
    let forest = Forest::grown().await;
    for round in 0..6 {
        let name = format!("round{round}");
        let agent = made_by(&forest.srv, &forest.agent, "create_sub_agent", &name).await;
        let body = newcomer(&format!("child{round}"));
        let (made, deleted) = futures_util::future::join(
            agent.client.post("/api/users/create_customer/", body),
            forest.agent.client.delete(&one(&agent)),
        )
        .await;
        match (made.status, deleted.status) {
            (201, 409) | (400 | 401, 204) => {}
            other => panic!("{other:?} {} {}", made.text(), deleted.text()),
        }
    }
}

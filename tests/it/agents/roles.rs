//! `user_type` and `parent_id`: what an admin may write, and that the tree stays one.

use futures_util::future::join;
use serde_json::json;

use super::*;
use crate::support::sql;

async fn patch(forest: &Forest, target: &User, body: Value) -> Reply {
    forest.admin.client.patch(&one(target), body).await
}

#[tokio::test]
async fn a_customer_is_moved_and_stays_signed_in() {
    let forest = Forest::grown().await;
    for (parent, name) in [
        (json!(forest.other_sub.id), json!("other_sub")),
        (json!(forest.agent.id), json!("agent")),
        (Value::Null, Value::Null),
    ] {
        let moved = patch(&forest, &forest.customer, json!({ "parent_id": parent }))
            .await
            .expect(200);
        assert_eq!((&moved["parent_id"], &moved["parent_username"]), (&parent, &name));
    }
    assert!(is_in(&forest.customer).await);
    assert_eq!(
        listed(&forest.agent, "/api/users/customers/").await,
        ["own_customer"]
    );
    let moved = patch(
        &forest,
        &forest.sub,
        json!({ "parent_id": forest.other_agent.id }),
    )
    .await
    .expect(200);
    assert_eq!(moved["parent_username"], "other_agent");
    forest
        .agent
        .client
        .get(&one(&forest.sub))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn parents_are_agents_of_the_right_level() {
    let forest = Forest::grown().await;
    let editor = forest.editor().await;
    let cases = [
        (&forest.customer, forest.own_customer.id),
        (&forest.customer, forest.customer.id),
        (&forest.customer, forest.admin.id),
        (&forest.customer, editor.id),
        (&forest.customer, 999_999),
        (&forest.sub, forest.other_sub.id),
        (&forest.sub, forest.sub.id),
        (&forest.sub, forest.customer.id),
    ];
    for (target, parent) in cases {
        let body = patch(&forest, target, json!({ "parent_id": parent })).await;
        let body = body.refused(400, "agent_not_found");
        assert_eq!(body["errors"], json!({ "parent_id": ["未找到匹配的代理"] }));
    }
    for target in [&forest.agent, &forest.admin, &editor] {
        let reply = patch(&forest, target, json!({ "parent_id": forest.other_agent.id })).await;
        assert_eq!(fault_of(reply, "parent_id"), "该类型的账户不能有上级");
    }
    for bad in [json!(0), json!(-1)] {
        fault_of(
            patch(&forest, &forest.customer, json!({ "parent_id": bad })).await,
            "parent_id",
        );
    }
    let reply = patch(&forest, &forest.customer, json!({ "user_type": "root" })).await;
    assert_eq!(fault_of(reply, "user_type"), "无效的选项");
}

#[tokio::test]
async fn a_new_kind_ends_all_sessions_and_keeps_the_tree_whole() {
    let forest = Forest::grown().await;
    // With users below that could not stay.
    for (target, kind) in [
        (&forest.agent, "agent_l2"),
        (&forest.agent, "customer"),
        (&forest.sub, "customer"),
        (&forest.sub, "editor"),
        (&forest.sub, "admin"),
    ] {
        let body = patch(&forest, target, json!({ "user_type": kind })).await;
        answered(body, 409, error("该账户仍有下级用户", "has_children"));
        assert!(is_in(target).await);
    }
    // A first-level agent may have customers: the sub-agent goes up, and has no parent then.
    let raised = patch(&forest, &forest.sub, json!({ "user_type": "agent_l1" }))
        .await
        .expect(200);
    assert_eq!(
        (&raised["user_type"], &raised["parent_id"]),
        (&json!("agent_l1"), &Value::Null)
    );
    assert!(!is_in(&forest.sub).await, "a role change revokes all");
    let sub = sign_in(&forest.srv, "sub", PASSWORD).await;
    made_by(&forest.srv, &sub, "create_sub_agent", "below").await;
    // A customer of a second-level agent cannot become one below it.
    let reply = patch(
        &forest,
        &forest.other_customer,
        json!({ "user_type": "agent_l2" }),
    )
    .await;
    reply.refused(400, "agent_not_found");
    let body = json!({ "user_type": "agent_l2", "parent_id": forest.other_agent.id });
    let made = patch(&forest, &forest.other_customer, body).await.expect(200);
    assert_eq!(
        (&made["user_type"], &made["parent_id"]),
        (&json!("agent_l2"), &json!(forest.other_agent.id))
    );
    // Admin and back: rights follow the kind.
    let made = patch(&forest, &forest.own_customer, json!({ "user_type": "admin" }))
        .await
        .expect(200);
    assert_eq!(made["parent_id"], Value::Null);
    let second = sign_in(&forest.srv, "own_customer", PASSWORD).await;
    second.client.get("/user/").await.expect(200);
    patch(&forest, &second, json!({ "user_type": "editor" }))
        .await
        .expect(200);
    assert!(!is_in(&second).await);
    let second = sign_in(&forest.srv, "own_customer", PASSWORD).await;
    second
        .client
        .get("/user/")
        .await
        .refused(403, "permission_denied");
    let wrong = "SELECT COUNT(*) FROM users WHERE (user_type = 'admin') <> is_staff";
    assert_eq!(sql::number(&forest.srv, wrong).await, 0);
}

#[tokio::test]
async fn the_last_admin_stays_one() {
    let forest = Forest::grown().await;
    let body = patch(&forest, &forest.admin, json!({ "user_type": "customer" })).await;
    answered(body, 409, error("至少需要保留一名管理员", "last_staff"));
    let deputy = forest.srv.admin("deputy").await;
    let (first, second) = join(
        forest
            .admin
            .client
            .patch(&one(&deputy), json!({ "user_type": "customer" })),
        deputy
            .client
            .patch(&one(&forest.admin), json!({ "user_type": "customer" })),
    )
    .await;
    let admins = "SELECT COUNT(*) FROM users WHERE user_type = 'admin' AND is_active";
    assert_eq!(
        sql::number(&forest.srv, admins).await,
        1,
        "{} {}",
        first.text(),
        second.text()
    );
}

/// Somebody is hung below an agent that is just ceasing to be one: one of the two is refused.
#[tokio::test]
async fn a_parent_cannot_change_its_kind_while_it_gets_children() {
    let forest = Forest::grown().await;
    for round in 0..6 {
        let name = format!("round{round}");
        let agent = made_by(&forest.srv, &forest.agent, "create_sub_agent", &name).await;
        let mut body = newcomer(&format!("child{round}"));
        body["agent_id"] = json!(agent.id);
        let (made, changed) = join(
            forest.agent.client.post("/api/users/create_customer/", body),
            patch(
                &forest,
                &agent,
                json!({ "user_type": "customer", "parent_id": null }),
            ),
        )
        .await;
        match (made.status, changed.status) {
            (201, 409) | (400, 200) => {}
            other => panic!("{other:?} {} {}", made.text(), changed.text()),
        }
    }
    let astray = "SELECT COUNT(*) FROM users u JOIN users p ON p.id = u.parent_id \
                  WHERE p.user_type NOT IN ('agent_l1', 'agent_l2')";
    assert_eq!(sql::number(&forest.srv, astray).await, 0);
}

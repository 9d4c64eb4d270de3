//! Who sees whom: `GET /api/users/`, `/{id}/`, `sub_agents/`, `customers/`.

use serde_json::json;

use super::*;

const EVERYBODY: [&str; 8] = [
    "agent",
    "boss",
    "customer",
    "other_agent",
    "other_customer",
    "other_sub",
    "own_customer",
    "sub",
];

#[tokio::test]
async fn everybody_lists_those_below_and_admins_and_editors_all() {
    let forest = Forest::grown().await;
    assert_eq!(listed(&forest.admin, "/api/users/").await, EVERYBODY);
    assert_eq!(
        listed(&forest.agent, "/api/users/").await,
        ["customer", "own_customer", "sub"]
    );
    assert_eq!(listed(&forest.sub, "/api/users/").await, ["customer"]);
    assert_eq!(listed(&forest.customer, "/api/users/").await, ["customer"]);
    let editor = forest.editor().await;
    let mut all = EVERYBODY.to_vec();
    all.insert(3, "editor");
    assert_eq!(listed(&editor, "/api/users/?page_size=100").await, all);
    // A key of an admin has no admin rights without the scope `staff`.
    let key = api_key(&forest.srv, &forest.admin, &["agents:read"]).await;
    let by_key = forest.srv.client.with_header("x-api-key", &key);
    assert_eq!(names(&by_key.get("/api/users/").await.expect(200)), ["boss"]);
}

#[tokio::test]
async fn one_user_is_shown_to_itself_its_ancestors_admins_and_editors() {
    let forest = Forest::grown().await;
    let editor = forest.editor().await;
    let everybody = [
        &forest.admin,
        &forest.agent,
        &forest.sub,
        &forest.own_customer,
        &forest.customer,
        &forest.other_agent,
        &forest.other_sub,
        &forest.other_customer,
        &editor,
    ];
    let ancestors: [(&User, Vec<i64>); 4] = [
        (&forest.agent, vec![]),
        (&forest.sub, vec![forest.agent.id]),
        (&forest.customer, vec![forest.sub.id, forest.agent.id]),
        (&forest.own_customer, vec![forest.agent.id]),
    ];
    for (target, above) in ancestors {
        let shown = forest.admin.client.get(&one(target)).await.expect(200);
        for who in everybody {
            let reply = who.client.get(&one(target)).await;
            let sees = who.id == target.id
                || above.contains(&who.id)
                || [forest.admin.id, editor.id].contains(&who.id);
            if sees {
                answered(reply, 200, shown.clone());
            } else {
                answered(reply, 404, detailed("资源不存在", "not_found"));
            }
        }
    }
    for id in ["999999", "0", "-1", "x", "9223372036854775808", "+1"] {
        let reply = forest.admin.client.get(&format!("/api/users/{id}/")).await;
        answered(reply, 404, detailed("资源不存在", "not_found"));
    }
}

#[tokio::test]
async fn a_page_has_the_documented_form() {
    let forest = Forest::grown().await;
    let base = forest.srv.client.base();
    let page = forest
        .agent
        .client
        .get("/api/users/?page_size=2&page=2")
        .await
        .expect(200);
    let oldest = forest.admin.client.get(&one(&forest.sub)).await.expect(200);
    assert_eq!(
        page,
        json!({
            "count": 3, "next": null, "previous": format!("{base}/api/users/?page_size=2&page=1"),
            "results": [oldest],
        })
    );
    let page = forest
        .agent
        .client
        .get("/api/users/?page_size=2")
        .await
        .expect(200);
    assert_eq!(names(&page), ["customer", "own_customer"], "the newest first");
    assert_eq!(page["next"], format!("{base}/api/users/?page_size=2&page=2"));
    let past = forest.agent.client.get("/api/users/?page=9").await.expect(200);
    assert_eq!((&past["count"], &past["results"]), (&json!(3), &json!([])));
    for bad in ["page=0", "page=x", "page_size=0", "page_size=101", "page_size=-1"] {
        for list in ["", "sub_agents/", "customers/"] {
            let path = format!("/api/users/{list}?{bad}");
            forest
                .agent
                .client
                .get(&path)
                .await
                .refused(400, "validation_error");
        }
    }
}

#[tokio::test]
async fn lists_are_filtered_and_sorted() {
    let forest = Forest::grown().await;
    let admin = &forest.admin;
    let body = json!({ "name": "王小明", "phone": "+86 139" });
    admin.client.patch(&one(&forest.customer), body).await.expect(200);
    let disable = format!("{}disable_user/", one(&forest.other_sub));
    admin.client.post(&disable, json!({})).await.expect(200);
    for (query, expected) in [
        ("user_type=agent_l1", vec!["agent", "other_agent"]),
        ("user_type=admin", vec!["boss"]),
        ("is_active=false", vec!["other_sub"]),
        ("search=王小", vec!["customer"]),
        ("search=%2B86", vec!["customer"]),
        ("search=OTHER_AGENT@example", vec!["other_agent"]),
        ("search=OTHER", vec!["other_agent", "other_customer", "other_sub"]),
        ("search=%25", vec![]),
        ("search=other&user_type=customer", vec!["other_customer"]),
        ("search=", EVERYBODY.to_vec()),
    ] {
        let seen = listed(admin, &format!("/api/users/?page_size=100&{query}")).await;
        assert_eq!(seen, expected, "{query}");
    }
    let sorted = async |query: &str| {
        let path = format!("/api/users/?page_size=100&ordering={query}");
        names(&admin.client.get(&path).await.expect(200))
    };
    assert_eq!(sorted("username").await, EVERYBODY);
    let mut backwards = EVERYBODY.to_vec();
    backwards.reverse();
    assert_eq!(sorted("-username").await, backwards);
    let mut by_id = sorted("id").await;
    assert_eq!(sorted("created_at").await, by_id);
    by_id.reverse();
    assert_eq!(sorted("-created_at").await, by_id);
    for bad in [
        "ordering=password",
        "ordering=--id",
        "user_type=root",
        "is_active=maybe",
    ] {
        let path = format!("/api/users/?{bad}");
        admin.client.get(&path).await.refused(400, "validation_error");
    }
}

#[tokio::test]
async fn sub_agents_come_with_the_number_of_their_customers() {
    let forest = Forest::grown().await;
    let path = "/api/users/sub_agents/";
    let list = forest.agent.client.get(path).await.expect(200);
    let mut sub = forest.agent.client.get(&one(&forest.sub)).await.expect(200);
    sub["customer_count"] = json!(1);
    assert_eq!(
        list,
        json!({ "count": 1, "next": null, "previous": null, "results": [sub] })
    );
    // Of others not even when they are named.
    let named = format!("{path}?parent_id={}", forest.other_agent.id);
    assert_eq!(listed(&forest.agent, &named).await, ["sub"]);
    assert_eq!(listed(&forest.admin, path).await, ["other_sub", "sub"]);
    assert_eq!(listed(&forest.admin, &named).await, ["other_sub"]);
    assert_eq!(
        listed(&forest.admin, &format!("{path}?search=other")).await,
        ["other_sub"]
    );
    let editor = forest.editor().await;
    for refused in [&forest.sub, &forest.customer, &editor] {
        let reply = refused.client.get(path).await;
        answered(reply, 403, detailed("权限不足", "permission_denied"));
    }
    let reply = forest.admin.client.get(&format!("{path}?parent_id=0")).await;
    fault_of(reply, "parent_id");
}

#[tokio::test]
async fn customers_are_those_of_oneself_and_of_ones_sub_agents() {
    let forest = Forest::grown().await;
    let path = "/api/users/customers/";
    assert_eq!(listed(&forest.agent, path).await, ["customer", "own_customer"]);
    assert_eq!(listed(&forest.sub, path).await, ["customer"]);
    assert_eq!(
        listed(&forest.admin, path).await,
        ["customer", "other_customer", "own_customer"]
    );
    let of = |agent: &User| format!("{path}?agent_id={}", agent.id);
    assert_eq!(listed(&forest.agent, &of(&forest.sub)).await, ["customer"]);
    assert_eq!(listed(&forest.agent, &of(&forest.agent)).await, ["own_customer"]);
    assert_eq!(
        listed(&forest.admin, &of(&forest.other_sub)).await,
        ["other_customer"]
    );
    assert!(listed(&forest.agent, &of(&forest.other_sub)).await.is_empty());
    assert_eq!(
        listed(&forest.agent, &format!("{path}?search=own")).await,
        ["own_customer"]
    );
    let editor = forest.editor().await;
    for refused in [&forest.customer, &editor] {
        let reply = refused.client.get(path).await;
        answered(reply, 403, detailed("权限不足", "permission_denied"));
    }
}

#[tokio::test]
async fn a_list_costs_the_same_queries_whatever_its_size() {
    let forest = Forest::grown().await;
    for i in 0..12 {
        let body = newcomer(&format!("more{i}"));
        forest
            .sub
            .client
            .post("/api/users/create_customer/", body)
            .await
            .expect(201);
    }
    let page = forest
        .agent
        .client
        .get("/api/users/customers/?page_size=100")
        .await
        .expect(200);
    assert_eq!(page["count"], 14);
    assert!(
        page["results"]
            .as_array()
            .unwrap()
            .iter()
            .all(|user| user["parent_username"].is_string())
    );
    let default = forest.agent.client.get("/api/users/customers/").await.expect(200);
    assert_eq!(default["results"].as_array().unwrap().len(), 10);
}

//! Account operations without a browser.

use serde_json::json;

use super::Shell;
use crate::support::server::PASSWORD;
use crate::support::{TestServer, eventually};

#[tokio::test]
async fn createsuperuser_takes_flags_variables_and_standard_input_and_names_the_wrong_field() {
    let shell = Shell::new().await;
    let flags = [
        "createsuperuser",
        "--username",
        "root",
        "--email",
        "root@example.com",
        "--password-stdin",
    ];
    let said = shell.run(&["createsuperuser"]).await.expect(2);
    assert!(
        said.err.contains("username: ") && said.err.contains("YUNQUE_SUPERUSER_USERNAME"),
        "{said:?}"
    );
    let said = shell.run_with(&flags, &[], "short\n").await.expect(2);
    assert!(
        said.err.contains("password: ") && !said.err.contains("short"),
        "{said:?}"
    );
    let said = shell.run_with(&flags, &[], "").await.expect(2);
    assert!(said.err.contains("password: "), "{said:?}");
    shell.run_with(&flags, &[], "correct horse\n").await.expect(0);
    let said = shell.run_with(&flags, &[], "correct horse\n").await.expect(1);
    assert!(
        said.err.contains("username: ") && said.err.contains("email: "),
        "{said:?}"
    );
    let variables = [
        ("YUNQUE_SUPERUSER_USERNAME", "second"),
        ("YUNQUE_SUPERUSER_EMAIL", "second@example.com"),
        ("YUNQUE_SUPERUSER_PASSWORD", "battery staple"),
    ];
    let made = shell
        .run_with(&["createsuperuser", "--json"], &variables, "")
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&made["username"], &made["is_staff"], &made["user_type"]),
        (&json!("second"), &json!(true), &json!("admin"))
    );
    assert!(
        shell.run(&["createsuperuser", "--password", "x"]).await.code == 2,
        "a password is never a flag"
    );
}

#[tokio::test]
async fn a_group_needs_members_that_exist() {
    let shell = Shell::new().await;
    let said = shell
        .run(&["create-group", "editors", "--member", "nobody"])
        .await
        .expect(1);
    assert!(said.err.contains("nobody"), "{said:?}");
}

#[tokio::test]
async fn what_a_command_takes_away_a_running_server_refuses() {
    let (server, alice, bob) = TestServer::with_users().await;
    let shell = Shell::beside(&server);
    let key = shell
        .run(&["apikey", "create", "bob", "--name", "script"])
        .await
        .expect(0);
    let with_key = server.client.with_token(key.out.trim());
    with_key.get("/user/profile/").await.expect(200);
    let listed = shell
        .run(&["apikey", "list", "--user", "bob", "--json"])
        .await
        .expect(0)
        .json();
    assert!(
        !listed.to_string().contains(key.out.trim()),
        "the key is shown once"
    );
    let id = listed[0]["id"].to_string();
    shell.run(&["apikey", "revoke", &id]).await.expect(0);
    eventually("the key is refused", 6, || async {
        with_key.get("/user/profile/").await.status == 401
    })
    .await;

    shell.run(&["user", "disable", "alice"]).await.expect(0);
    eventually("the session is refused", 6, || async {
        alice.client.get("/user/profile/").await.status == 401
    })
    .await;
    shell
        .run(&["user", "enable", &alice.id.to_string()])
        .await
        .expect(0);
    server.login("alice", PASSWORD).await;

    let sessions = shell
        .run(&["user", "sessions", "bob", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(sessions.as_array().map(Vec::len), Some(1));
    shell
        .run(&["user", "revoke-sessions", "bob@example.com"])
        .await
        .expect(0);
    eventually("the session is over", 6, || async {
        bob.client.get("/user/profile/").await.status == 401
    })
    .await;
    shell.run(&["user", "show", "nobody"]).await.expect(1);
}

#[tokio::test]
async fn kinds_and_parents_are_shown() {
    let forest = crate::agents::Forest::grown().await;
    let shell = Shell::beside(&forest.srv);
    let list = shell
        .run(&["user", "list", "--type", "agent_l2", "--json"])
        .await
        .expect(0)
        .json();
    let rows: Vec<_> = list.as_array().expect("a list").iter().collect();
    let names: Vec<_> = rows.iter().map(|row| row["username"].clone()).collect();
    assert_eq!(names, [json!("sub"), json!("other_sub")]);
    assert_eq!(
        (&rows[0]["user_type"], &rows[0]["parent_id"]),
        (&json!("agent_l2"), &json!(forest.agent.id))
    );
    let table = shell.run(&["user", "list"]).await.expect(0);
    for word in ["TYPE", "PARENT", "admin", "agent_l1", "customer"] {
        assert!(table.out.contains(word), "{word}: {table:?}");
    }
    shell.run(&["user", "list", "--type", "root"]).await.expect(2);
    let shown = shell
        .run(&["user", "show", "sub", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (
            &shown["user_type"],
            &shown["parent_username"],
            &shown["customers"],
            &shown["sub_agents"]
        ),
        (&json!("agent_l2"), &json!("agent"), &json!(1), &json!(0))
    );
    let shown = shell.run(&["user", "show", "agent"]).await.expect(0);
    assert!(
        shown.out.contains("1 sub-agents, 1 customers") && shown.out.contains("none"),
        "{shown:?}"
    );
}

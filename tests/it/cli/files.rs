//! Commands that write files and need neither server nor database.

use super::Shell;

#[tokio::test]
async fn the_exported_document_is_the_same_on_every_run_and_check_finds_a_change() {
    let shell = Shell::bare();
    let check = ["openapi", "export", "--check"];
    let said = shell.run(&check).await.expect(1);
    assert!(said.err.contains("openapi.json is missing"), "{said:?}");
    shell.run(&["openapi", "export"]).await.expect(0);
    shell.run(&check).await.expect(0);

    let folder = shell.folder.path().join("openapi");
    let document = folder.join("openapi.json");
    let text = std::fs::read_to_string(&document).expect("written");
    let mut changed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    changed["paths"]
        .as_object_mut()
        .expect("paths")
        .remove("/user/login/");
    std::fs::write(&document, changed.to_string()).expect("written");
    let said = shell.run(&check).await.expect(1);
    assert!(said.err.contains("+ POST /user/login/"), "{said:?}");
    std::fs::write(&document, text).expect("written");

    let codes = folder.join("error-codes.json");
    let mut rows: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&codes).expect("written")).expect("JSON");
    rows.as_array_mut()
        .expect("rows")
        .push(serde_json::json!({ "code": "of_old", "status": 418 }));
    std::fs::write(&codes, rows.to_string()).expect("written");
    let said = shell.run(&check).await.expect(1);
    assert!(said.err.contains("code of_old is gone"), "{said:?}");
    assert!(
        !shell.folder.path().join("data").exists(),
        "no database was touched"
    );
}

#[tokio::test]
async fn the_document_comes_as_yaml_as_well() {
    let shell = Shell::bare();
    shell
        .run(&["openapi", "export", "--format", "yaml", "--dir", "api"])
        .await
        .expect(0);
    let text = std::fs::read_to_string(shell.folder.path().join("api/openapi.yaml")).expect("written");
    assert!(text.starts_with("openapi: "), "{}", &text[..40]);
    shell
        .run(&["openapi", "export", "--check", "--format", "yaml", "--dir", "api"])
        .await
        .expect(0);
}

#[tokio::test]
async fn completions_and_manual_pages_are_written() {
    let shell = Shell::bare();
    for name in ["bash", "zsh", "fish"] {
        let said = shell.run(&["completions", name]).await.expect(0);
        assert!(said.out.contains("createsuperuser"), "{name}");
    }
    shell.run(&["man", "pages"]).await.expect(0);
    let page =
        std::fs::read_to_string(shell.folder.path().join("pages/yunque-jobs-retry.1")).expect("written");
    assert!(page.starts_with(".ie"), "{}", &page[..20]);
}

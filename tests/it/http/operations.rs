//! The endpoints for operators and readers.

use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn the_probes_answer_anybody() {
    let srv = TestServer::start().await;
    for client in [srv.client.clone(), srv.client.with_token("garbage")] {
        client.get("/healthz").await.expect(200);
    }
    crate::support::eventually("ready", 20, || async {
        srv.client.get("/readyz").await.json()["status"] == json!("ready")
    })
    .await;
    let ready = srv.client.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(
        ready.json().as_object().unwrap().len() > 1,
        "a map of checks: {}",
        ready.text()
    );
}

#[tokio::test]
async fn the_document_is_served_in_both_notations_with_a_page() {
    let srv = TestServer::start().await;
    let served = srv.client.get("/openapi.json").await.expect(200);
    assert_eq!(served["openapi"], "3.0.3");
    assert_eq!(served["paths"], yunque::app::document().value()["paths"]);
    let yaml = srv.client.get("/openapi.yaml").await;
    assert_eq!(yaml.status, 200);
    assert!(yaml.text().starts_with("openapi:"));
    let page = srv.client.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let text = page.text();
    for attribute in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
        assert!(!text.contains(attribute), "nothing is loaded from elsewhere");
    }
}

#[tokio::test]
async fn metrics_need_their_token() {
    let srv = TestServer::with(&[("METRICS_TOKEN", "metrics-token-of-this-test-0123456789")]).await;
    for client in [srv.client.clone(), srv.client.with_token("wrong")] {
        let status = client.get("/metrics").await.status;
        assert!(matches!(status, 401 | 403 | 404), "{status}");
    }
    let reply = srv
        .client
        .with_token("metrics-token-of-this-test-0123456789")
        .get("/metrics")
        .await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("# TYPE"));
    assert!(!reply.text().contains("metrics-token-of-this-test"));
    let without = TestServer::start().await;
    let status = without.client.get("/metrics").await.status;
    assert!(matches!(status, 401 | 403 | 404), "{status}");
}

#[tokio::test]
async fn the_private_bucket_answers_403() {
    let srv = TestServer::start().await;
    for path in ["/oss/local/files/1/x.txt", "/oss/local/"] {
        let status = srv.client.get(path).await.status;
        assert!(matches!(status, 403 | 404), "{path}: {status}");
    }
    assert_eq!(srv.client.get("/oss/local/files/1/x.txt").await.status, 403);
}

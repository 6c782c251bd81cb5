//! The daemon's API over real sockets: who may use it, and that client and server mean the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::{Duration, Instant};

use peerage::control::Control;
use peerage::model::*;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use support::{FakeDaemon, FakeNode, a_transfer, content, install_tls};
use tokio::io::AsyncReadExt;

async fn daemon(node: FakeNode) -> (FakeDaemon, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (FakeDaemon::start(folder.path(), node).await, folder)
}

fn http() -> reqwest::Client {
    install_tls();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

fn request(daemon: &FakeDaemon, method: Method, path: &str) -> RequestBuilder {
    http().request(method, daemon.url(path))
}

fn authorised(daemon: &FakeDaemon, method: Method, path: &str) -> RequestBuilder {
    request(daemon, method, path).bearer_auth(&daemon.endpoint.token)
}

async fn code(response: Response) -> String {
    response.json::<Problem>().await.unwrap().code
}

#[tokio::test]
async fn nothing_is_answered_without_the_token() {
    let (daemon, _folder) = daemon(FakeNode::default()).await;
    let paths = ["/api/v1/stats", "/api/v1/transfers", "/api/v1/openapi.json", "/metrics", "/", "/nowhere"];
    for path in paths {
        let response = request(&daemon, Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(code(response).await, "unauthorised");
    }
    let token = &daemon.endpoint.token;
    for wrong in [
        format!("Bearer {token}x"),
        format!("Bearer {}", &token[1..]),
        format!("Basic {token}"),
        token.clone(),
        String::new(),
    ] {
        let response = request(&daemon, Method::GET, "/api/v1/stats")
            .header("authorization", &wrong)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let response =
        request(&daemon, Method::GET, &format!("/api/v1/stats?token={token}")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        authorised(&daemon, Method::GET, "/api/v1/stats").send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_rebound_name_is_refused() {
    let (daemon, _folder) = daemon(FakeNode::default()).await;
    let port = daemon.endpoint.address.port();
    for (host, status) in [
        (format!("evil.example:{port}"), StatusCode::FORBIDDEN),
        ("evil.example".into(), StatusCode::FORBIDDEN),
        (format!("127.0.0.1.evil.example:{port}"), StatusCode::FORBIDDEN),
        (format!("localhost:{port}"), StatusCode::OK),
        (format!("[::1]:{port}"), StatusCode::OK),
    ] {
        let request = authorised(&daemon, Method::GET, "/api/v1/stats").header("host", &host);
        assert_eq!(request.send().await.unwrap().status(), status, "{host}");
    }
}

#[tokio::test]
async fn another_site_is_refused_even_with_the_token() {
    let (daemon, _folder) = daemon(FakeNode::default()).await;
    let own = format!("http://{}", daemon.endpoint.address);
    for (header, value, status) in [
        ("origin", "https://evil.example", StatusCode::FORBIDDEN),
        ("origin", "null", StatusCode::FORBIDDEN),
        ("origin", "http://127.0.0.1:1", StatusCode::FORBIDDEN),
        ("origin", &own, StatusCode::OK),
        ("sec-fetch-site", "cross-site", StatusCode::FORBIDDEN),
        ("sec-fetch-site", "same-site", StatusCode::FORBIDDEN),
        ("sec-fetch-site", "same-origin", StatusCode::OK),
        ("sec-fetch-site", "none", StatusCode::OK),
    ] {
        let request = authorised(&daemon, Method::GET, "/api/v1/stats").header(header, value);
        assert_eq!(request.send().await.unwrap().status(), status, "{header}: {value}");
    }
}

#[tokio::test]
async fn a_form_cannot_post() {
    let node = FakeNode::default();
    let (daemon, _folder) = daemon(node.clone()).await;
    let body = json!({ "kind": "get", "link": { "name": "x" }, "folder": "/tmp" }).to_string();
    for media in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=application/json"]
    {
        let request = authorised(&daemon, Method::POST, "/api/v1/transfers").header("content-type", media);
        let response = request.body(body.clone()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media}");
    }
    for path in ["/api/v1/stop", "/api/v1/transfers/1/pause"] {
        let response = authorised(&daemon, Method::POST, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
    }
    assert!(node.asked().is_empty());
    assert!(!daemon.stop.is_cancelled());
}

#[tokio::test]
async fn bodies_are_bounded_and_checked() {
    let (daemon, _folder) = daemon(FakeNode::default().with(a_transfer(1))).await;
    let long = format!("[{}\"127.0.0.1:1\"]", "\"127.0.0.1:1\",".repeat(30_000));
    let post = |path: &str, body: String| {
        authorised(&daemon, Method::POST, path).header("content-type", "application/json").body(body).send()
    };
    let response = post("/api/v1/transfers/1/peers", long).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(code(response).await, "too_large");
    for body in ["", "{", "[]", r#"{"kind":"give"}"#] {
        let response = post("/api/v1/transfers", body.into()).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(code(response).await, "bad_request");
    }
    // A torrent of a megabyte is welcome.
    let torrent = json!({ "kind": "get", "link": { "torrent": "A".repeat(1 << 20) }, "folder": "/tmp" });
    assert_eq!(post("/api/v1/transfers", torrent.to_string()).await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_path_that_begins_nowhere_is_refused() {
    let (daemon, _folder) = daemon(FakeNode::default()).await;
    for body in [
        r#"{"kind":"get","link":{"name":"0101010101010101010101010101010101010101"},"folder":"here"}"#,
        r#"{"kind":"share","path":"here"}"#,
        r#"{"kind":"share"}"#,
    ] {
        let request = authorised(&daemon, Method::POST, "/api/v1/transfers");
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(code(response).await, "refused");
    }
}

#[tokio::test]
async fn metrics_may_be_opened_but_not_to_other_sites() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = FakeDaemon::start_with(folder.path(), FakeNode::default(), true).await;
    let response = request(&daemon, Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert!(response.text().await.unwrap().contains("peerage_downloaded_bytes_total 7"));
    let foreign = request(&daemon, Method::GET, "/metrics").header("host", "evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let other = request(&daemon, Method::GET, "/api/v1/stats");
    assert_eq!(other.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_document_describes_every_path_and_every_type() {
    let (daemon, _folder) = daemon(FakeNode::default()).await;
    let document: Value =
        authorised(&daemon, Method::GET, "/api/v1/openapi.json").send().await.unwrap().json().await.unwrap();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths.len(), 17, "{paths:?}");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{name} is used and not described");
    }
    assert!(schemas.contains_key("Event") && schemas.contains_key("TransferView"));
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}

#[tokio::test]
async fn the_document_is_valid() {
    let document = serde_json::to_value(peerage::api::open_api()).unwrap();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let named: Vec<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = |parameter: &&Value| parameter["in"] == "path";
            let told: Vec<&str> = parameters
                .iter()
                .filter(in_path)
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(told, named, "{method} {path}");
            assert!(parameters.iter().filter(in_path).all(|parameter| parameter["required"] == true));
            let responses = operation["responses"].as_object().unwrap();
            for (status, response) in responses {
                assert!(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{method} {path} {status}"
                );
            }
            assert!(responses.contains_key("401") && responses.contains_key("403"), "{method} {path}");
            assert_eq!(responses.contains_key("415"), method == "post", "{method} {path}");
        }
    }
    assert_eq!(operations, 20);
}

#[tokio::test]
async fn connections_are_bounded() {
    let (daemon, _folder) = daemon(FakeNode::default()).await;
    // As many as fill every place, and say nothing.
    let mut silent = Vec::new();
    for _ in 0..256 {
        silent.push(tokio::net::TcpStream::connect(daemon.endpoint.address).await.unwrap());
    }
    let client = daemon.client();
    let stats = client.stats();
    tokio::pin!(stats);
    assert!(tokio::time::timeout(Duration::from_millis(300), stats.as_mut()).await.is_err());
    // One that goes makes room.
    silent.pop();
    stats.await.unwrap();
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect_references(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_references(value, into)),
        _ => {}
    }
}

#[tokio::test]
async fn client_and_server_mean_the_same() {
    let node = FakeNode::default().with(a_transfer(1)).with(a_transfer(2));
    let (daemon, _folder) = daemon(node.clone()).await;
    let client = daemon.client();
    let id = TransferId(1);
    assert_eq!(client.list().await, Control::list(&node).await);
    assert_eq!(client.view(id).await, Control::view(&node, id).await);
    assert_eq!(client.peers(id).await, node.peers(id).await);
    assert_eq!(client.files(id).await, node.files(id).await);
    assert_eq!(client.trackers(id).await, node.trackers(id).await);
    assert_eq!(client.torrent(id).await, node.torrent(id).await);
    assert_eq!(client.stats().await, node.stats().await);
    assert_eq!(client.find(&"0202".parse().unwrap()).await.unwrap(), TransferId(2));
    client.pause(id).await.unwrap();
    assert_eq!(client.view(id).await.unwrap().state, State::Paused);
    client.resume(id).await.unwrap();
    assert_eq!(client.view(id).await.unwrap().state, State::Seeding);
    client.verify(id).await.unwrap();
    client.limit(None, Limits { up: Some(5), down: None }).await.unwrap();
    client.limit(Some(id), Limits { up: None, down: Some(0) }).await.unwrap();
    client.add_peers(id, vec!["[::1]:6881".parse().unwrap()]).await.unwrap();
    let rule = PriorityRule { glob: "*.mkv".into(), priority: FilePriority::High };
    client.set_priorities(id, vec![rule.clone()]).await.unwrap();
    client.remove(id, true).await.unwrap();
    assert_eq!(
        node.asked(),
        [
            "limit None Some(5) None".to_owned(),
            "limit Some(TransferId(1)) None Some(0)".into(),
            "peers 1 [[::1]:6881]".into(),
            format!("priorities 1 {:?}", [rule]),
            "remove 1 files=true".into(),
        ]
    );
    let gone = client.view(id).await.unwrap_err();
    assert_eq!((&*gone.code, &*gone.message), ("no_such_transfer", "no transfer 1"));
    assert_eq!(client.find(&"abcd".parse().unwrap()).await.unwrap_err().message, "no transfer abcd");
}

#[tokio::test]
async fn what_is_added_arrives_whole() {
    let node = FakeNode::default();
    let (daemon, _folder) = daemon(node.clone()).await;
    let request = AddRequest::Get(GetRequest {
        link: Link::Torrent(Base64(vec![0, 1, 255])),
        folder: AnyPath::from(std::path::PathBuf::from("/tmp/a b")),
        only: vec!["*.mkv".into()],
        priorities: vec![PriorityRule { glob: "b".into(), priority: FilePriority::Low }],
        preallocate: true,
        overwrite: true,
        options: TransferOptions {
            paused: true,
            sequential: true,
            super_seeding: true,
            peers: vec!["192.0.2.1:1".parse().unwrap()],
            goal: Some(SeedGoal { ratio: Some(1.5), seconds: Some(60) }),
            limits: Limits { up: Some(1), down: Some(2) },
        },
    });
    let added = daemon.client().add(request.clone()).await.unwrap();
    assert_eq!(added, Added { id: TransferId(1), existing: false });
    let asked = node.asked().remove(0);
    assert_eq!(serde_json::from_str::<AddRequest>(asked.strip_prefix("add ").unwrap()).unwrap(), request);
}

#[tokio::test]
async fn refusals_keep_their_causes_and_hints() {
    let (daemon, _folder) = daemon(FakeNode::default()).await;
    let get = GetRequest {
        link: Link::Name("0".repeat(40)),
        folder: "/tmp".into(),
        only: vec![],
        priorities: vec![],
        preallocate: false,
        overwrite: false,
        options: TransferOptions::default(),
    };
    let problem = daemon.client().add(AddRequest::Get(get)).await.unwrap_err();
    assert_eq!(problem.causes, ["nobody is called zero"]);
    assert_eq!(problem.hint.as_deref(), Some("name another"));
}

#[tokio::test]
async fn events_stream_until_the_transfer_is_removed() {
    let mut view = a_transfer(1);
    view.sources.given = 1;
    let node = FakeNode::default().with(view);
    let (daemon, _folder) = daemon(node.clone()).await;
    let mut updates = daemon.client().watch(Some(TransferId(1)), Duration::from_millis(100)).await.unwrap();
    let mut seen = Vec::new();
    while let Some(update) = updates.recv().await {
        match update.unwrap() {
            Event::Progress { transfer } if transfer.state == State::Seeding => {
                seen.push("seeding");
                // More than one may be on its way.
                let _ = node.remove(TransferId(1), false).await;
            }
            Event::Progress { .. } => seen.push("progress"),
            Event::Removed { .. } => seen.push("removed"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen.first(), Some(&"progress"));
    assert_eq!(seen.last(), Some(&"removed"));
    assert!(seen.contains(&"seeding"));
    assert!(daemon.client().watch(Some(TransferId(9)), Duration::from_secs(1)).await.is_err());
}

#[tokio::test]
async fn files_are_served_by_range() {
    let (daemon, _folder) = daemon(FakeNode::default().with(a_transfer(1))).await;
    let url = "/api/v1/transfers/1/files/1/content";
    let whole = authorised(&daemon, Method::GET, url).send().await.unwrap();
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert_eq!(whole.headers()["x-content-type-options"], "nosniff");
    assert_eq!(whole.bytes().await.unwrap(), content(1));
    let part = authorised(&daemon, Method::GET, url).header("range", "bytes=100-149").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 100-149/400");
    assert_eq!(part.bytes().await.unwrap(), content(1)[100..150]);
    let outside = authorised(&daemon, Method::GET, url).header("range", "bytes=400-").send().await.unwrap();
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(outside.headers()["content-range"], "bytes */400");
    let head = authorised(&daemon, Method::HEAD, url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "400");
    let not_so = authorised(&daemon, Method::DELETE, url).send().await.unwrap();
    assert_eq!(not_so.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(code(not_so).await, "wrong_method");
    let missing =
        authorised(&daemon, Method::GET, "/api/v1/transfers/1/files/7/content").send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);

    let mut reader = daemon.client().read(TransferId(1), 0, 10..500).await.unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, content(0)[10..500]);
}

#[tokio::test]
async fn it_stops_in_time_although_somebody_listens() {
    let (daemon, _folder) = daemon(FakeNode::default().with(a_transfer(1))).await;
    let client = daemon.client();
    let mut updates = client.watch(Some(TransferId(1)), Duration::from_millis(100)).await.unwrap();
    updates.recv().await.unwrap().unwrap();
    let began = Instant::now();
    client.stop().await.unwrap();
    daemon.server.await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
}

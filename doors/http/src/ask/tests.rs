use hyper::Request;

use super::*;

const V0: &str = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
const V1: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

fn ask_with(target: &str, headers: &[(&str, &str)]) -> Result<Ask, Refusal> {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ask::of(&request.body(()).unwrap().into_parts().0, &Hosts::default())
}

fn ask(host: &str, target: &str) -> Result<Ask, Refusal> {
    ask_with(target, &[("host", host)])
}

fn content(host: &str, target: &str) -> ContentAsk {
    match ask(host, target) {
        Ok(Ask::Content(ask)) => *ask,
        other => panic!("{host}{target}: {other:?}"),
    }
}

fn redirect(host: &str, target: &str) -> String {
    match ask(host, target) {
        Ok(Ask::Redirect(location)) => location,
        other => panic!("{host}{target}: {other:?}"),
    }
}

#[test]
fn a_content_path_by_address() {
    let asked =
        content("127.0.0.1:8080", &format!("/ipfs/{V0}/a%20b/%C3%A9//c%2Fd/?filename=x+y.txt&download=true"));
    assert_eq!(asked.root, Root::parse("ipfs", V0).unwrap());
    assert_eq!(asked.segments, [&b"a b"[..], "é".as_bytes(), b"c", b"d"]);
    assert!(asked.is_folder && asked.download && !asked.is_isolated);
    assert_eq!(asked.filename.as_deref(), Some("x y.txt"));
    assert_eq!(asked.content_path(), format!("/ipfs/{V0}/a%20b/%C3%A9/c/d/"));
    assert!(!content("[::1]", &format!("/ipfs/{V0}")).is_folder);
}

#[test]
fn a_content_path_by_host() {
    let asked = content(&format!("{V1}.ipfs.localhost"), "/ipfs/readme.txt?format=raw");
    assert_eq!(asked.root, Root::parse("ipfs", V1).unwrap());
    assert_eq!(asked.segments, [&b"ipfs"[..], b"readme.txt"]);
    assert!(asked.is_isolated);
    assert_eq!(asked.negotiated.format, Format::Raw);
}

#[test]
fn paths_are_led_to_the_host_of_their_root() {
    let host = "localhost:8080";
    assert_eq!(
        redirect(host, &format!("/ipfs/{V0}/a%20b?x=%20")),
        format!("http://{V1}.ipfs.localhost:8080/a%20b?x=%20")
    );
    assert_eq!(redirect(host, &format!("/ipfs/{V0}")), format!("http://{V1}.ipfs.localhost:8080/"));
    assert_eq!(redirect(host, "/ipns/en.wiki-x.org/"), "http://en-wiki--x-org.ipns.localhost:8080/");
    let proto = [("host", "localhost"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")];
    let location = ask_with(&format!("/ipfs/{V1}"), &proto).unwrap();
    assert_eq!(location, Ask::Redirect(format!("https://{V1}.ipfs.localhost/")));
}

#[test]
fn addresses_of_ipfs_are_routed() {
    let at = "127.0.0.1";
    assert_eq!(redirect(at, &format!("/ipfs/?uri=ipfs%3A%2F%2F{V0}%2Fa%3Fb")), format!("/ipfs/{V0}/a?b"));
    assert_eq!(redirect(at, "/ipfs/?uri=ipns%3A%2F%2Fexample.org"), "/ipns/example.org");
    for uri in ["", "https://example.org", "ipfs://", "ipfs://x", "ipfs:/evil"] {
        assert_eq!(ask(at, &format!("/ipfs/?uri={uri}")).unwrap_err().status, 400, "{uri}");
    }
    let split = format!("/ipfs/?uri=ipfs://{V0}/%0d%0aSet-Cookie:a");
    assert_eq!(ask(at, &split).unwrap_err().status, 400);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for target in [
        "/ipfs/",
        "/ipfs",
        "/ipfs/x",
        "/ipns/x",
        &*format!("/ipfs/{V1}/%2e%2e/x"),
        &*format!("/ipfs/{V1}/a%00"),
    ] {
        assert_eq!(ask("127.0.0.1", target).unwrap_err().status, 400, "{target}");
    }
    let deep = format!("/ipfs/{V1}{}", "/a".repeat(SEGMENTS_MAX + 1));
    assert_eq!(ask("127.0.0.1", &deep).unwrap_err().status, 400);
    for target in ["/", "/x", "/api/v1/transfers", "/share", "/share/"] {
        assert_eq!(ask("127.0.0.1", target).unwrap_err().status, 404, "{target}");
    }
    let target = format!("/ipfs/{V1}/");
    assert_eq!(ask_with(&target, &[]).unwrap_err().status, 400);
    assert_eq!(ask_with(&target, &[("host", "127.0.0.1"), ("host", "127.0.0.1")]).unwrap_err().status, 400);
    assert_eq!(ask("evil.example", &target).unwrap_err().status, 400);
    let worker = [("host", "127.0.0.1"), ("service-worker", "script")];
    assert_eq!(ask_with(&format!("/ipfs/{V1}"), &worker).unwrap_err().status, 400);
    assert!(ask_with(&format!("/ipfs/{V1}/sw.js"), &worker).is_ok());
}

#[test]
fn conditions_are_read_once() {
    let headers = [
        ("host", "127.0.0.1"),
        ("range", "bytes=0-1"),
        ("if-none-match", "\"a\""),
        ("if-none-match", "\"b\""),
        ("cache-control", "no-transform, Only-If-Cached"),
    ];
    let Ok(Ask::Content(asked)) = ask_with(&format!("/ipfs/{V1}"), &headers) else { panic!("no content") };
    assert!(asked.only_if_cached);
    assert_eq!(asked.conditions.if_none_match.as_deref(), Some("\"a\",\"b\""));
    assert_eq!(asked.conditions.ranges, ByteRanges::parse("bytes=0-1"));
}

#[test]
fn a_share_has_a_path_of_its_own() {
    let Ok(Ask::Share(asked)) = ask("127.0.0.1", "/share/00ff/trip/a%20b.jpg") else { panic!("no share") };
    assert_eq!((asked.id.as_str(), asked.is_folder), ("00ff", false));
    assert_eq!(asked.segments, [&b"trip"[..], b"a b.jpg"]);
    for (site, status) in
        [("none", None), ("same-origin", None), ("cross-site", Some(403)), ("same-site", Some(403))]
    {
        let asked = ask_with("/share/00ff/trip/", &[("host", "127.0.0.1"), ("sec-fetch-site", site)]);
        assert_eq!(asked.err().map(|refusal| refusal.status.as_u16()), status, "{site}");
    }
}

#[test]
fn redirects_stay_on_the_host() {
    // Found by fuzzing: a host alone is a target without a path.
    let Ok(Ask::Content(asked)) = ask_with(&format!("{V1}.ipfs.localhost:80"), &[]) else {
        panic!("no content")
    };
    assert!(asked.is_folder);
    assert_eq!(asked.target.as_folder(), "/");
    let target = Target { path: "//evil.example/x".to_owned(), query: Some("a=b&format=raw".to_owned()) };
    assert_eq!(target.as_folder(), "/evil.example/x/?a=b&format=raw");
    assert_eq!(target.with_parameter("format", "car"), "/evil.example/x?a=b&format=car");
    assert_eq!(
        Target { path: "/a".to_owned(), query: None }.with_parameter("format", "raw"),
        "/a?format=raw"
    );
}

#[test]
fn only_reading_is_allowed() {
    for method in ["POST", "PUT", "DELETE"] {
        let request =
            Request::builder().method(method).uri("/").header("host", "127.0.0.1").body(()).unwrap();
        let refusal = Ask::of(&request.into_parts().0, &Hosts::default()).unwrap_err();
        assert_eq!(refusal.status, 405);
    }
    let request =
        Request::builder().method("OPTIONS").uri("/ipfs/x").header("host", "127.0.0.1").body(()).unwrap();
    assert_eq!(Ask::of(&request.into_parts().0, &Hosts::default()), Ok(Ask::Preflight));
}

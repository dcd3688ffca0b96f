//! DNS queries for the machine's resolver, which this server does not have.

use hyper::Method;

use super::harness::Server;

const PATH: &str = "/apis/nslab.dev/v1alpha1/dns-query";

#[tokio::test]
async fn queries_are_messages_of_a_bounded_length() {
    let server = Server::start();
    let post = |kind: &'static str, length: usize| {
        let server = &server;
        async move { server.send(Method::POST, PATH, &[("content-type", kind)], vec![0; length]).await }
    };
    assert_eq!(post("application/json", 12).await.code, 415);
    assert_eq!(post("application/dns-message", 65536).await.code, 413);
    let answer = post("application/dns-message", 12).await;
    assert_eq!((answer.code, answer.body["message"].as_str()), (502, Some("there is no resolver here")));
    assert_eq!(server.get(PATH).await.code, 405);
}

//! HTTP clients for machines as they are: some have no certificates to trust (minimal containers).

use reqwest::{Client, ClientBuilder};

/// A client, and whether it can judge servers.
#[derive(Clone, Debug)]
pub struct WebClient {
    /// The client.
    pub client: Client,
    /// Whether there are certificates to trust. Without them every HTTPS server is a stranger, and only plain HTTP works.
    pub has_roots: bool,
}

/// What is wrong when [`WebClient::has_roots`] is false, for people.
pub const NO_ROOTS: &str = "this machine has no CA certificates, so no https server can be trusted (Debian: apt install ca-certificates)";

/// Builds a client that trusts what the machine trusts. On a machine that has no certificates it trusts nobody, rather than not to be.
///
/// # Errors
/// [`reqwest::Error`], for other reasons than missing certificates.
pub fn client(builder: impl Fn() -> ClientBuilder) -> Result<WebClient, reqwest::Error> {
    match builder().build() {
        Ok(client) => Ok(WebClient { client, has_roots: true }),
        Err(error) => {
            let client = builder().tls_certs_only([]).build().map_err(|_| error)?;
            Ok(WebClient { client, has_roots: false })
        }
    }
}

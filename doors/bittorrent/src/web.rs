//! HTTP clients for machines and names as they are: some machines have no certificates to trust (minimal containers), and some names
//! lead elsewhere each time they are asked.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder};
use url::Url;

use crate::address::{Reach, reach};

/// Clients for names that lead inside that are kept.
const INSIDE_MAX: usize = 8;

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

/// Clients that connect only where a name was judged to lead: whoever owns a name may answer the next lookup differently (DNS
/// rebinding). The one for everybody reaches public hosts; a name that leads into this network gets a client of its own, tied to the
/// address that was judged.
#[derive(Clone)]
pub(crate) struct JudgedClients {
    builder: Arc<dyn Fn() -> ClientBuilder + Send + Sync>,
    /// Reaches public hosts, and addresses that URLs name themselves.
    public: WebClient,
    /// The youngest last.
    inside: Arc<Mutex<VecDeque<Inside>>>,
}

/// A client for one name that leads inside.
struct Inside {
    name: String,
    address: SocketAddr,
    client: Client,
}

/// Finds public addresses of names, and no others.
#[derive(Clone, Copy, Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<_> = found.filter(|address| reach(address.ip()) == Reach::Public).collect();
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

impl JudgedClients {
    /// Clients that are built like this, without a proxy: through one nobody knows where a name leads.
    ///
    /// # Errors
    /// [`reqwest::Error`], when no client can be set up.
    pub(crate) fn new(
        builder: impl Fn() -> ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, reqwest::Error> {
        let builder = Arc::new(move || builder().no_proxy());
        let public = client(|| builder().dns_resolver(PublicOnly))?;
        Ok(Self { builder, public, inside: Arc::default() })
    }

    /// Whether there are certificates to trust, as in [`WebClient::has_roots`].
    pub(crate) fn has_roots(&self) -> bool {
        self.public.has_roots
    }

    /// A client that reaches the host of `url`, which was judged to be at this address; inside, it reaches this address or none.
    ///
    /// # Errors
    /// [`reqwest::Error`], when no client can be set up.
    pub(crate) fn client_for(&self, url: &Url, address: SocketAddr) -> Result<Client, reqwest::Error> {
        match url.domain() {
            Some(name) if reach(address.ip()) != Reach::Public => self.inside(name, address),
            _ => Ok(self.public.client.clone()),
        }
    }

    fn inside(&self, name: &str, address: SocketAddr) -> Result<Client, reqwest::Error> {
        let mut kept = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inside) = kept.iter().find(|inside| inside.name == name && inside.address == address) {
            return Ok(inside.client.clone());
        }
        let client = client(|| (self.builder)().resolve(name, address))?.client;
        if kept.len() >= INSIDE_MAX {
            kept.pop_front();
        }
        kept.push_back(Inside { name: name.to_owned(), address, client: client.clone() });
        Ok(client)
    }
}

impl fmt::Debug for JudgedClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JudgedClients").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Whether a server was not trusted because its certificate is for other days than this machine's today: one of them is wrong.
pub fn is_of_another_day(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
            use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
            return matches!(
                reason,
                Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
            );
        }
        // An `io::Error` gives what is in it as its own words, not as its source.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

/// What a text lacks to be a URL, in words of those who write one; `None`: something else is wrong with it.
pub(crate) fn missing_part(error: url::ParseError) -> Option<&'static str> {
    match error {
        url::ParseError::RelativeUrlWithoutBase => Some("protocol"),
        url::ParseError::EmptyHost => Some("host"),
        _ => None,
    }
}

/// The innermost cause is what helps; the URL in reqwest's own words may hold a secret.
pub(crate) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use reqwest::Certificate;
    use rustls::ServerConfig;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// What a client hears from a server whose certificate is for these years alone.
    async fn refused_by_time(years: [i32; 2]) -> reqwest::Error {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        [params.not_before, params.not_after] = years.map(|year| date_time_ymd(year, 1, 1));
        let certificate = params.self_signed(&key).unwrap();
        let trusted = Certificate::from_der(certificate.der()).unwrap();
        let key = key.serialize_der().try_into().unwrap();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = TlsAcceptor::from(Arc::new(server)).accept(stream).await;
        });
        let client = Client::builder().tls_certs_only([trusted]).no_proxy().build().unwrap();
        client.get(format!("https://localhost:{port}/")).send().await.unwrap_err()
    }

    #[tokio::test]
    async fn a_certificate_of_another_day_is_told_from_other_faults() {
        assert!(is_of_another_day(&refused_by_time([2001, 2002]).await));
        assert!(is_of_another_day(&refused_by_time([2501, 2502]).await));
        let other = refused_by_time([2001, 2502]).await;
        assert!(!is_of_another_day(&other), "{other:?}");
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_followed_by_the_client_for_everybody() {
        let name = "localhost".parse().unwrap();
        let found: Vec<_> = PublicOnly.resolve(name).await.unwrap().collect();
        assert_eq!(found, [], "a name that was public when it was judged must not lead to this machine");
    }

    #[test]
    fn clients_for_the_inside_are_kept_and_bounded() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clients = JudgedClients::new(Client::builder).unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let url = Url::parse("http://nas.example/").unwrap();
        for port in [1, 2, 1, 2] {
            clients.client_for(&url, address(port)).unwrap();
        }
        assert_eq!(clients.inside.lock().unwrap().len(), 2);
        (0..20).for_each(|port| drop(clients.client_for(&url, address(port)).unwrap()));
        assert_eq!(clients.inside.lock().unwrap().len(), INSIDE_MAX);
    }
}

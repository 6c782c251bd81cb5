//! Which site a request is for: what its `Host` header says.
//!
//! A browser on this machine runs programs of strangers, and a name of theirs may be bound to this machine's address in the middle of
//! a visit. Only names that the gateway was given are answered, and addresses, which cannot be bound to anything.

use std::net::IpAddr;

use hyper::http::uri::Authority;

use super::root::Root;
use crate::Refusal;

/// The names that this gateway goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    named: Vec<NamedHost>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NamedHost {
    /// In lower case, without a port.
    name: String,
    kind: HostKind,
}

/// What a host name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// Everything by path: all content shares one origin.
    Paths,
    /// An origin for each root: `<cid>.ipfs.<name>`; requests by path are led there.
    Subdomains,
    /// A website: whatever the DNSLink record of the name points at.
    Website,
}

/// Which site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// All of them, by path.
    Paths,
    /// All of them, by path, but each has a host of its own below this one (with its port).
    Parent(String),
    /// One, by its host.
    Root(Root),
    /// One, but its host is another spelling of this one (with its port).
    Elsewhere(String),
}

/// `localhost` with an origin for each root; addresses need no naming.
impl Default for Hosts {
    fn default() -> Self {
        Self::none().with("localhost", HostKind::Subdomains)
    }
}

impl Hosts {
    /// No name: only addresses are answered.
    pub fn none() -> Self {
        Self { named: Vec::new() }
    }

    /// Adds a name.
    #[must_use]
    pub fn with(mut self, name: &str, kind: HostKind) -> Self {
        self.named.push(NamedHost { name: name.to_ascii_lowercase(), kind });
        self
    }

    /// Whether it is one of the names that roots have hosts below.
    pub fn has_subdomains(&self, host: &str) -> bool {
        let kind = split_port(host).and_then(|(name, _)| self.kind_of(&name));
        kind == Some(HostKind::Subdomains)
    }

    /// Reads a `Host` header.
    ///
    /// # Errors
    /// 400: no content is at that name.
    pub fn site(&self, host: &str) -> Result<Site, Refusal> {
        let (name, port) =
            split_port(host).ok_or_else(|| Refusal::malformed("no Host header that names a host"))?;
        if is_address(&name) {
            return Ok(Site::Paths);
        }
        match self.kind_of(&name) {
            Some(HostKind::Paths) => return Ok(Site::Paths),
            Some(HostKind::Subdomains) => return Ok(Site::Parent(format!("{name}{port}"))),
            Some(HostKind::Website) => return Ok(Site::Root(Root::parse("ipns", &name)?)),
            None => {}
        }
        let Some((label, namespace, parent)) = self.split_parent(&name) else {
            return Err(Refusal::malformed(format!("this gateway does not go by the name {name}")));
        };
        let root = Root::from_label(namespace, label)?;
        let canonical = root.label()?;
        if canonical == label {
            return Ok(Site::Root(root));
        }
        Ok(Site::Elsewhere(format!("{canonical}.{namespace}.{parent}{port}")))
    }

    fn kind_of(&self, name: &str) -> Option<HostKind> {
        self.named.iter().find(|host| host.name == name).map(|host| host.kind)
    }

    /// `<label>.<namespace>.<parent>` in its parts, when the parent is one of ours.
    fn split_parent<'a>(&self, name: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
        let parents = self.named.iter().filter(|host| host.kind == HostKind::Subdomains);
        parents.into_iter().find_map(|host| {
            let rest = name.strip_suffix(host.name.as_str())?.strip_suffix('.')?;
            let (label, namespace) = rest.rsplit_once('.')?;
            let is_namespace = matches!(namespace, "ipfs" | "ipns");
            is_namespace.then(|| (label, namespace, &name[name.len() - host.name.len()..]))
        })
    }
}

/// The name in lower case, and the port with its colon, which may be empty.
fn split_port(host: &str) -> Option<(String, String)> {
    let authority: Authority = host.parse().ok().filter(|_| !host.contains('@'))?;
    let port = authority.port().map(|port| format!(":{port}")).unwrap_or_default();
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    (!name.is_empty()).then_some((name, port))
}

fn is_address(name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

    fn hosts() -> Hosts {
        Hosts::default()
            .with("Gate.Example", HostKind::Subdomains)
            .with("paths.example", HostKind::Paths)
            .with("www.example", HostKind::Website)
    }

    #[test]
    fn addresses_and_our_own_names_are_answered() {
        for host in
            ["127.0.0.1", "127.0.0.1:8080", "192.0.2.1", "[::1]:8080", "paths.example", "PATHS.example."]
        {
            assert_eq!(hosts().site(host), Ok(Site::Paths), "{host}");
        }
        assert_eq!(hosts().site("localhost:8080"), Ok(Site::Parent("localhost:8080".to_owned())));
        assert_eq!(hosts().site("GATE.example"), Ok(Site::Parent("gate.example".to_owned())));
        assert_eq!(hosts().site("www.example"), Ok(Site::Root(Root::parse("ipns", "www.example").unwrap())));
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil-localhost",
            "ipfs.localhost",
            "x.localhost",
            "a@127.0.0.1",
            "127.0.0.1 ",
            "127.0.0.1.evil.example:80",
            "sub.paths.example",
            &format!("{V1}.ipfs.evil.example"),
            &format!("{V1}.ipld.localhost"),
            "nonsense.ipfs.localhost",
        ] {
            let refusal = hosts().site(host).expect_err(host);
            assert_eq!(refusal.status, 400, "{host}");
        }
    }

    #[test]
    fn a_root_has_a_host_of_its_own_in_one_spelling() {
        let root = Root::parse("ipfs", V1).unwrap();
        for host in
            [&*format!("{V1}.ipfs.localhost:8080"), &format!("{}.IPFS.Gate.Example", V1.to_uppercase())]
        {
            assert_eq!(hosts().site(host), Ok(Site::Root(root.clone())), "{host}");
        }
        let Root::Ipfs(cid) = root else { unreachable!() };
        let base36 = cid.to_string_of_base(cid::multibase::Base::Base36Lower).unwrap();
        let elsewhere = Site::Elsewhere(format!("{V1}.ipfs.localhost:8080"));
        assert_eq!(hosts().site(&format!("{base36}.ipfs.localhost:8080")), Ok(elsewhere));
    }

    #[test]
    fn a_domain_is_one_label() {
        let name = Root::parse("ipns", "en.wikipedia-on-ipfs.org").unwrap();
        assert_eq!(hosts().site("en-wikipedia--on--ipfs-org.ipns.localhost"), Ok(Site::Root(name)));
        let elsewhere = Site::Elsewhere("en-wikipedia--on--ipfs-org.ipns.localhost".to_owned());
        assert_eq!(hosts().site("en.wikipedia-on-ipfs.org.ipns.localhost"), Ok(elsewhere));
    }
}

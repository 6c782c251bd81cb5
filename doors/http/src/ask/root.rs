//! What a content path begins at: a CID, a key, or a name in the DNS. Each has a spelling for paths and one for host names.

use std::fmt;

use cid::Cid;
use cid::multibase::Base;
use peerage_identity::PeerId;

use crate::Refusal;

/// The longest CID that is read, characters: one with a digest of 64 bytes in hexadecimal has fewer. Reading takes time with the
/// square of the length in some bases.
const CID_TEXT_MAX: usize = 160;
/// The longest label of a host name, and the longest name (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;
const DNS_NAME_MAX: usize = 253;

/// The beginning of a content path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// Content that never changes.
    Ipfs(Cid),
    /// A pointer that its owner may move.
    Ipns(Name),
}

/// Who moves a pointer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// The owner of a key, by signed records.
    Key(PeerId),
    /// The owner of a domain, by a DNSLink record in the DNS. In lower case.
    Dns(String),
}

impl Root {
    /// Reads what follows `/ipfs/` or `/ipns/` in a path.
    ///
    /// # Errors
    /// 400, with what is wrong.
    pub fn parse(namespace: &str, text: &str) -> Result<Self, Refusal> {
        match namespace {
            "ipfs" => Ok(Self::Ipfs(parse_cid(text)?)),
            "ipns" => Ok(Self::Ipns(Name::parse(text)?)),
            _ => Err(Refusal::malformed(format!("no such namespace: {namespace}"))),
        }
    }

    /// Reads what stands before `.ipfs.` or `.ipns.` in a host name, in lower case.
    ///
    /// # Errors
    /// 400, with what is wrong.
    pub fn from_label(namespace: &str, label: &str) -> Result<Self, Refusal> {
        match Self::parse(namespace, label) {
            // A name in the DNS has a dot; in a label it is written another way.
            Err(_) if namespace == "ipns" && !label.contains('.') => {
                Ok(Self::Ipns(Name::Dns(dns_name(&name_of_label(label))?)))
            }
            parsed => parsed,
        }
    }

    /// As it stands in a host name: one label, in which upper and lower case are the same.
    ///
    /// # Errors
    /// 400, when it is longer than a label can be.
    pub fn label(&self) -> Result<String, Refusal> {
        let label = match self {
            Self::Ipfs(cid) => in_base(&version_1(cid), Base::Base32Lower),
            Self::Ipns(Name::Key(id)) => in_base(&id.to_cid(), Base::Base36Lower),
            Self::Ipns(Name::Dns(name)) => label_of_name(name),
        };
        if label.len() > LABEL_MAX {
            return Err(Refusal::malformed(format!(
                "{self} is longer than a host name can hold: ask for it by path, at an address instead of a name"
            )));
        }
        Ok(label)
    }

    /// `ipfs` or `ipns`.
    pub fn namespace(&self) -> &'static str {
        match self {
            Self::Ipfs(_) => "ipfs",
            Self::Ipns(_) => "ipns",
        }
    }
}

/// As a content path.
impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipfs(cid) => write!(f, "/ipfs/{cid}"),
            Self::Ipns(name) => write!(f, "/ipns/{name}"),
        }
    }
}

impl Name {
    /// Reads a key in any of its spellings, or a domain.
    ///
    /// # Errors
    /// 400, with what is wrong.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Key(id));
        }
        dns_name(text).map(Self::Dns)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => f.write_str(&in_base(&id.to_cid(), Base::Base36Lower)),
            Self::Dns(name) => f.write_str(name),
        }
    }
}

/// Reads a CID.
///
/// # Errors
/// 400, with what is wrong.
pub fn parse_cid(text: &str) -> Result<Cid, Refusal> {
    if text.len() > CID_TEXT_MAX {
        return Err(Refusal::malformed(format!("a CID has {CID_TEXT_MAX} characters at most")));
    }
    text.parse().map_err(|error| Refusal::malformed(format!("{text:?} is no CID: {error}")))
}

fn version_1(cid: &Cid) -> Cid {
    Cid::new_v1(cid.codec(), *cid.hash())
}

fn in_base(cid: &Cid, base: Base) -> String {
    // Of version 1, which can be written in every base.
    cid.to_string_of_base(base).unwrap_or_else(|_| cid.to_string())
}

/// Checks a fully qualified domain name, which has a dot, and makes it lower case.
fn dns_name(text: &str) -> Result<String, Refusal> {
    let is_label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_name = text.len() <= DNS_NAME_MAX && text.contains('.') && text.split('.').all(is_label);
    if !is_name {
        return Err(Refusal::malformed(format!("{text:?} is neither a key nor a domain")));
    }
    Ok(text.to_ascii_lowercase())
}

/// `en.wikipedia-on-ipfs.org` is `en-wikipedia--on--ipfs-org`.
fn label_of_name(name: &str) -> String {
    name.replace('-', "--").replace('.', "-")
}

fn name_of_label(label: &str) -> String {
    let mut name = String::with_capacity(label.len());
    let mut rest = label.chars().peekable();
    while let Some(char) = rest.next() {
        name.push(match char {
            '-' if rest.next_if_eq(&'-').is_some() => '-',
            '-' => '.',
            other => other,
        });
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const V0: &str = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
    const V1: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    const KEY: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

    #[test]
    fn a_root_fits_a_label_that_knows_no_case() {
        assert_eq!(Root::parse("ipfs", V0).unwrap().label().unwrap(), V1);
        let key = Root::parse("ipns", KEY).unwrap();
        let label = key.label().unwrap();
        assert!(label.starts_with("k51") && label.len() <= LABEL_MAX, "{label}");
        assert_eq!(Root::from_label("ipns", &label), Ok(key));
        let name = Root::parse("ipns", "en.Wikipedia-on-ipfs.org").unwrap();
        assert_eq!(name.label().unwrap(), "en-wikipedia--on--ipfs-org");
        assert_eq!(Root::from_label("ipns", "en-wikipedia--on--ipfs-org"), Ok(name.clone()));
        assert_eq!(name.to_string(), "/ipns/en.wikipedia-on-ipfs.org");
    }

    #[test]
    fn what_is_no_root_is_refused() {
        let long = "b".repeat(CID_TEXT_MAX + 1);
        for (namespace, text) in [
            ("ipfs", ""),
            ("ipfs", "bafy"),
            ("ipfs", KEY),
            ("ipfs", &*long),
            ("ipns", ""),
            ("ipns", "laptop"),
            ("ipns", "a..b"),
            ("ipns", "a.b/c"),
            ("ipns", "a b.c"),
            ("ipns", V1),
            ("ipld", V1),
        ] {
            let refusal = Root::parse(namespace, text).unwrap_err();
            assert_eq!(refusal.status, 400, "{namespace} {text}");
        }
        for label in ["", "-", "--", "a", "a---b", "-a"] {
            let parsed = Root::from_label("ipns", label);
            assert!(parsed.is_err() || label == "a---b", "{label}: {parsed:?}");
        }
    }

    #[test]
    fn a_cid_longer_than_a_label_has_none() {
        // SHA2-512, 64 bytes.
        let hash = cid::multihash::Multihash::wrap(0x13, &[7; 64]).unwrap();
        let root = Root::Ipfs(Cid::new_v1(0x55, hash));
        assert_eq!(root.label().unwrap_err().status, 400);
    }
}

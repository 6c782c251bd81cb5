//! What a block links to, whatever it is written in.

use cid::Cid;
use ipld_core::codec::Links;
use serde_ipld_dagcbor::codec::DagCborCodec;
use serde_ipld_dagjson::codec::DagJsonCodec;

use crate::pb::{Node, PbError};
use crate::verify::{Codec, UnknownCodec};

/// Why nobody knows what a block links to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinksError {
    /// A codec that this crate does not know.
    #[error(transparent)]
    UnknownCodec(#[from] UnknownCodec),
    /// No dag-pb node.
    #[error("read a dag-pb node")]
    DagPb(#[from] PbError),
    /// No dag-cbor.
    #[error("read dag-cbor: {0}")]
    DagCbor(String),
    /// No dag-json.
    #[error("read dag-json: {0}")]
    DagJson(String),
}

/// The links of a block, in order, each as often as it stands there.
///
/// # Errors
/// [`LinksError`]: it is not what its CID says, or of a codec that is unknown.
pub fn links(cid: &Cid, block: &[u8]) -> Result<Vec<Cid>, LinksError> {
    match Codec::of(cid)? {
        Codec::Raw | Codec::Libp2pKey => Ok(Vec::new()),
        Codec::DagPb => Ok(Node::decode(block)?.links.iter().map(|link| link.cid).collect()),
        Codec::DagCbor => {
            let links = DagCborCodec::links(block).map_err(|error| LinksError::DagCbor(error.to_string()))?;
            Ok(links.collect())
        }
        Codec::DagJson => {
            let links = DagJsonCodec::links(block).map_err(|error| LinksError::DagJson(error.to_string()))?;
            Ok(links.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::NodeWriter;
    use crate::verify::sha2_256;

    #[test]
    fn links_of_every_codec() {
        let (one, other) = (sha2_256(Codec::Raw, b"one"), sha2_256(Codec::DagPb, b"other"));
        let mut writer = NodeWriter::default();
        writer.link(&one.to_bytes(), [&b"a"[..]], 1);
        writer.link(&other.to_bytes(), [&b"b"[..]], 1);
        let (node, _) = writer.finish(&[]);
        assert_eq!(links(&sha2_256(Codec::DagPb, &node), &node).unwrap(), [one, other]);
        assert_eq!(links(&sha2_256(Codec::Raw, &node), &node).unwrap(), []);

        let list = vec![one, other];
        let cbor = serde_ipld_dagcbor::to_vec(&list).unwrap();
        assert_eq!(links(&sha2_256(Codec::DagCbor, &cbor), &cbor).unwrap(), list);
        let json = serde_ipld_dagjson::to_vec(&list).unwrap();
        assert_eq!(links(&sha2_256(Codec::DagJson, &json), &json).unwrap(), list);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for codec in [Codec::DagPb, Codec::DagCbor, Codec::DagJson] {
            let block = b"\xff\xff";
            assert!(links(&sha2_256(codec, block), block).is_err(), "{codec:?}");
        }
        let git = Cid::new_v1(0x78, *sha2_256(Codec::Raw, b"").hash());
        assert_eq!(links(&git, b"").unwrap_err().to_string(), "unknown codec 0x78");
    }
}

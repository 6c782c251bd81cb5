//! The datagrams of the DHT (BEP 5, with IPv6 of BEP 32, addresses of BEP 42 and read-only nodes of BEP 43).

use std::net::SocketAddr;

use crate::bencode::{self, Dict, Item, Keys};
use crate::hash::SwarmHash;
use crate::tracker::udp::{peers_v4, peers_v6};

use super::id::NodeId;

/// Tells others which program this is.
const VERSION: &[u8; 4] = b"PG\x00\x01";

/// Bytes of a transaction id that is sent back; what is longer is not answered.
const TRANSACTION_MAX: usize = 32;

/// Bytes of a token that is kept to announce with.
const TOKEN_MAX: usize = 64;

/// Nodes taken from one reply; more do not fit a datagram of 1,500 bytes anyway.
const NODES_MAX: usize = 32;

/// Peers taken from one reply.
const VALUES_MAX: usize = 200;

/// A node as others name it.
pub(super) type Contact = (NodeId, SocketAddr);

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) transaction: Vec<u8>,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Query {
        id: NodeId,
        /// It will not answer queries itself.
        read_only: bool,
        query: Query,
    },
    Reply {
        reply: Reply,
        /// Our address, as the sender sees it.
        seen_as: Option<SocketAddr>,
    },
    /// A refusal, with its code.
    Error(i64, &'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Query {
    Ping,
    FindNode {
        target: NodeId,
        want: Want,
    },
    GetPeers {
        swarm: SwarmHash,
        want: Want,
    },
    Announce {
        swarm: SwarmHash,
        port: u16,
        implied_port: bool,
        token: Vec<u8>,
    },
    /// A query of another specification.
    Unknown,
}

/// Nodes of which family are wanted (BEP 32); neither: that of the datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) v4: bool,
    pub(super) v6: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) id: NodeId,
    /// Nodes of both families.
    pub(super) nodes: Vec<Contact>,
    pub(super) values: Vec<SocketAddr>,
    pub(super) token: Option<Vec<u8>>,
}

impl Reply {
    pub(super) fn of(id: NodeId) -> Self {
        Self { id, nodes: Vec::new(), values: Vec::new(), token: None }
    }
}

/// Reads a datagram; `None` when it is none of the DHT's.
pub(super) fn parse(datagram: &[u8]) -> Option<Message> {
    let message = bencode::decode(datagram, Keys::AnyOrder).ok()?.as_dict()?;
    let transaction = message.bytes("t").filter(|id| id.len() <= TRANSACTION_MAX)?.to_vec();
    let body = match message.bytes("y")? {
        b"q" => {
            let arguments = message.dict("a")?;
            let read_only = message.int("ro") == Some(1);
            let query = query(message.bytes("q")?, &arguments).unwrap_or(Query::Unknown);
            Body::Query { id: id(&arguments, "id")?, read_only, query }
        }
        b"r" => {
            let seen_as = message.bytes("ip").and_then(address);
            Body::Reply { reply: reply(&message.dict("r")?)?, seen_as }
        }
        b"e" => {
            let code = message.list("e").and_then(|mut error| error.next()?.as_int()).unwrap_or(0);
            Body::Error(code, "")
        }
        _ => return None,
    };
    Some(Message { transaction, body })
}

fn query(name: &[u8], arguments: &Dict<'_>) -> Option<Query> {
    Some(match name {
        b"ping" => Query::Ping,
        b"find_node" => Query::FindNode { target: id(arguments, "target")?, want: want(arguments) },
        b"get_peers" => {
            Query::GetPeers { swarm: SwarmHash(id(arguments, "info_hash")?.0), want: want(arguments) }
        }
        b"announce_peer" => Query::Announce {
            swarm: SwarmHash(id(arguments, "info_hash")?.0),
            implied_port: arguments.int("implied_port") == Some(1),
            port: arguments.uint("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
            token: arguments.bytes("token")?.to_vec(),
        },
        _ => return None,
    })
}

fn reply(arguments: &Dict<'_>) -> Option<Reply> {
    let contact = |bytes: &[u8]| {
        let (id, place) = bytes.split_first_chunk::<20>()?;
        Some((NodeId(*id), address(place)?))
    };
    let nodes = |key, size| {
        let bytes = arguments.bytes(key).unwrap_or_default();
        bytes.chunks_exact(size).take(NODES_MAX).filter_map(contact).collect::<Vec<_>>()
    };
    let values = arguments.list("values").into_iter().flatten().take(VALUES_MAX);
    Some(Reply {
        id: id(arguments, "id")?,
        nodes: nodes("nodes", 26).into_iter().chain(nodes("nodes6", 38)).collect(),
        values: values.filter_map(|value| address(value.as_bytes()?)).collect(),
        token: arguments.bytes("token").filter(|token| token.len() <= TOKEN_MAX).map(<[u8]>::to_vec),
    })
}

fn id(arguments: &Dict<'_>, key: &str) -> Option<NodeId> {
    Some(NodeId(arguments.bytes(key)?.try_into().ok()?))
}

fn want(arguments: &Dict<'_>) -> Want {
    let mut want = Want::default();
    for family in arguments.list("want").into_iter().flatten().take(4) {
        match family.as_bytes() {
            Some(b"n4") => want.v4 = true,
            Some(b"n6") => want.v6 = true,
            _ => {}
        }
    }
    want
}

/// An address in the compact form of BEP 23 or BEP 7, by its length.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    match bytes.len() {
        6 => peers_v4(bytes).pop(),
        18 => peers_v6(bytes).pop(),
        _ => None,
    }
}

fn compact(address: SocketAddr) -> Vec<u8> {
    let mut bytes = match address {
        SocketAddr::V4(v4) => v4.ip().octets().to_vec(),
        SocketAddr::V6(v6) => v6.ip().octets().to_vec(),
    };
    bytes.extend(address.port().to_be_bytes());
    bytes
}

/// Writes a datagram for `to`, who is told in replies under which address we see it.
pub(super) fn print(message: &Message, to: SocketAddr) -> Vec<u8> {
    let mut pairs: Vec<(&'static str, Item)> =
        vec![("t", message.transaction.clone().into()), ("v", (*VERSION).into())];
    match &message.body {
        Body::Query { id, read_only, query } => {
            let (name, arguments) = arguments(*id, query);
            pairs.extend([("y", "q".into()), ("q", name.into()), ("a", Item::dict(arguments))]);
            if *read_only {
                pairs.push(("ro", 1.into()));
            }
        }
        Body::Reply { reply, .. } => {
            pairs.extend([("y", "r".into()), ("ip", compact(to).into()), ("r", results(reply))]);
        }
        Body::Error(code, text) => {
            pairs.extend([("y", "e".into()), ("e", Item::List(vec![(*code).into(), (*text).into()]))]);
        }
    }
    Item::dict(pairs).encode()
}

fn arguments(id: NodeId, query: &Query) -> (&'static str, Vec<(&'static str, Item)>) {
    let mut arguments = vec![("id", id.0.into())];
    let wanted = |want: &Want| {
        let families = [(want.v4, "n4"), (want.v6, "n6")];
        ("want", Item::list(families.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name)))
    };
    let name = match query {
        Query::Ping | Query::Unknown => "ping",
        Query::FindNode { target, want } => {
            arguments.extend([("target", target.0.into()), wanted(want)]);
            "find_node"
        }
        Query::GetPeers { swarm, want } => {
            arguments.extend([("info_hash", swarm.0.into()), wanted(want)]);
            "get_peers"
        }
        Query::Announce { swarm, port, implied_port, token } => {
            arguments.extend([
                ("info_hash", swarm.0.into()),
                ("port", (*port).into()),
                ("implied_port", (*implied_port).into()),
                ("token", token.clone().into()),
            ]);
            "announce_peer"
        }
    };
    (name, arguments)
}

fn results(reply: &Reply) -> Item {
    let mut results: Vec<(&'static str, Item)> = vec![("id", reply.id.0.into())];
    for (key, ipv6) in [("nodes", false), ("nodes6", true)] {
        let nodes: Vec<u8> = reply
            .nodes
            .iter()
            .filter(|(_, address)| address.is_ipv6() == ipv6)
            .flat_map(|(id, address)| [id.0.to_vec(), compact(*address)].concat())
            .collect();
        if !nodes.is_empty() {
            results.push((key, nodes.into()));
        }
    }
    if !reply.values.is_empty() {
        results.push(("values", Item::list(reply.values.iter().map(|value| compact(*value)))));
    }
    if let Some(token) = &reply.token {
        results.push(("token", token.clone().into()));
    }
    Item::dict(results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUERYING: NodeId = NodeId(*b"abcdefghij0123456789");
    const QUERIED: NodeId = NodeId(*b"mnopqrstuvwxyz123456");

    fn parsed(text: &[u8]) -> Body {
        let message = parse(text).unwrap();
        assert_eq!(message.transaction, b"aa");
        message.body
    }

    fn asked(text: &[u8]) -> Query {
        let Body::Query { id, read_only: false, query } = parsed(text) else { panic!("not a query") };
        assert_eq!(id, QUERYING);
        query
    }

    /// The examples of BEP 5.
    #[test]
    fn the_queries_of_bep_5() {
        assert_eq!(asked(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"), Query::Ping);
        let find =
            b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe";
        assert_eq!(asked(find), Query::FindNode { target: QUERIED, want: Want::default() });
        let get = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe";
        assert_eq!(asked(get), Query::GetPeers { swarm: SwarmHash(QUERIED.0), want: Want::default() });
        let announce = b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe";
        let expected = Query::Announce {
            swarm: SwarmHash(QUERIED.0),
            port: 6881,
            implied_port: true,
            token: b"aoeusnth".to_vec(),
        };
        assert_eq!(asked(announce), expected);
    }

    #[test]
    fn the_replies_of_bep_5() {
        let values =
            b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re";
        let Body::Reply { reply, seen_as: None } = parsed(values) else { panic!("not a reply") };
        assert_eq!(
            reply.values,
            ["97.120.106.101:11893", "105.100.104.116:28269"].map(|peer| peer.parse().unwrap())
        );
        assert_eq!((reply.id, reply.token.as_deref()), (QUERYING, Some(b"aoeusnth".as_slice())));
        let error = b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee";
        assert_eq!(parsed(error), Body::Error(201, ""));
    }

    #[test]
    fn what_is_printed_is_read() {
        let to: SocketAddr = "8.8.8.8:6881".parse().unwrap();
        let reply = Reply {
            id: QUERIED,
            nodes: vec![(QUERYING, to), (QUERIED, "[2001:db8::1]:7".parse().unwrap())],
            values: vec!["[2001:db8::2]:9".parse().unwrap(), to],
            token: Some(b"token".to_vec()),
        };
        let want = Want { v4: true, v6: true };
        let query = |query| Body::Query { id: QUERYING, read_only: true, query };
        for body in [
            Body::Reply { reply, seen_as: Some(to) },
            query(Query::Ping),
            query(Query::FindNode { target: QUERIED, want }),
            query(Query::GetPeers { swarm: SwarmHash([1; 20]), want: Want { v4: false, v6: true } }),
            query(Query::Announce {
                swarm: SwarmHash([1; 20]),
                port: 1,
                implied_port: false,
                token: vec![1, 2],
            }),
        ] {
            let message = Message { transaction: b"x".to_vec(), body };
            assert_eq!(parse(&print(&message, to)), Some(message));
        }
    }

    #[test]
    fn unknown_queries_are_told_from_rubbish() {
        let sample = b"d1:ad2:id20:abcdefghij0123456789e1:q17:sample_infohashes1:t2:aa1:y1:qe";
        assert_eq!(asked(sample), Query::Unknown);
        for rubbish in [
            b"".as_slice(),
            b"de",
            b"d1:t2:aa1:y1:qe",
            b"d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe",
            b"d1:rde1:t2:aa1:y1:re",
            b"d1:t2:aa1:y1:xe",
        ] {
            assert_eq!(parse(rubbish), None);
        }
    }

    proptest! {
        #[test]
        fn no_datagram_breaks_the_parser(datagram in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&datagram);
        }

        #[test]
        fn no_fields_break_the_parser(
            key in "(id|nodes|nodes6|values|token|want|target|info_hash|port)",
            value in "(i-?[0-9]{1,6}e|l(1:a|2:n4|6:abcdef){0,9}e|[0-9]{1,2}:[a-z]{0,40})",
            kind in "[qre]",
        ) {
            parse(format!("d1:ad2:id20:abcdefghij0123456789{}:{key}{value}e1:q9:get_peers1:rd2:id20:abcdefghij0123456789{}:{key}{value}e1:t1:a1:y1:{kind}e", key.len(), key.len()).as_bytes());
        }
    }
}

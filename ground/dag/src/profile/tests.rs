use sha2::{Digest, Sha256};

use super::*;

fn leaf(profile: &Profile, chunk: &[u8]) -> String {
    let frame = profile.leaf_frame(chunk.len().try_into().unwrap());
    let block = [&frame.prefix, chunk, &frame.suffix].concat();
    assert_eq!(block.len() as u64, profile.leaf_len(chunk.len().try_into().unwrap()));
    profile.leaf_cid(&Sha256::digest(&block).into()).to_string()
}

#[test]
fn leaves_are_those_of_the_proposal() {
    let v1 = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    assert_eq!(leaf(&Profile::v1_2025(), b"hello world"), v1);
    assert_eq!(leaf(&Profile::v0_2015(), b"hello world"), "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD");
}

#[test]
fn empty_leaves_are_those_of_kubo() {
    let v1 = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    assert_eq!(leaf(&Profile::v1_2025(), b""), v1);
    assert_eq!(leaf(&Profile::v0_2015(), b""), "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
}

#[test]
fn a_framed_leaf_reads_as_a_file() {
    let metadata =
        Metadata { mode: Some(0o755), mtime: Some(crate::unixfs::Mtime { seconds: -5, nanos: 7 }) };
    let frame = Profile::v1_2025().only_leaf_frame(3, &metadata);
    let block = [&frame.prefix[..], b"abc", &frame.suffix].concat();
    let node = crate::pb::Node::decode(&block).unwrap();
    let data = crate::unixfs::Data::of(&node).unwrap();
    assert_eq!((data.data, data.filesize, data.metadata), (Some(&b"abc"[..]), Some(3), metadata));
}

#[test]
fn profiles_are_read_as_they_are_shown() {
    for text in [
        "unixfs-v1-2025",
        "unixfs-v0-2015",
        "unixfs-v1-2025,chunk-size=262144,width=174",
        "unixfs-v0-2015,leaves=raw",
        "unixfs-v0-2015,fanout=1024,threshold=block-bytes,threshold-bytes=0",
    ] {
        assert_eq!(text.parse::<Profile>().unwrap().to_string(), text);
    }
    assert_eq!("unixfs-v1-2025, chunk-size = 1048576".parse(), Ok(Profile::default()));
    assert_eq!("width=174".parse::<Profile>().unwrap().to_string(), "unixfs-v1-2025,width=174");
    // The version names the set that is shown; what else differs is shown beside it.
    let other: Profile = "unixfs-v1-2025,cid-version=0".parse().unwrap();
    assert_eq!(other.to_string().parse(), Ok(other));
}

#[test]
fn what_is_no_profile_is_named() {
    for (text, why) in [
        ("", "unknown profile \"\": there are unixfs-v1-2025 and unixfs-v0-2015"),
        ("v2", "unknown profile \"v2\": there are unixfs-v1-2025 and unixfs-v0-2015"),
        ("width=1", "width cannot be \"1\": it is a number from 2 to 16384"),
        ("fanout=48", "fanout cannot be \"48\": it is a power of two from 8 to 1024"),
        ("leaves=wet", "leaves cannot be \"wet\": it is raw or dag-pb"),
        ("chunk-size=2097152", "chunk-size cannot be \"2097152\": it is a number of bytes from 1 to 2096896"),
    ] {
        assert_eq!(text.parse::<Profile>().unwrap_err().to_string(), why);
    }
    assert!("unixfs-v1-2025,depth=2".parse::<Profile>().unwrap_err().to_string().contains("unknown setting"));
}

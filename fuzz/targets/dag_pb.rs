//! Any bytes are a dag-pb node or none; one that is written again reads as the same. So it is with the UnixFS in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_dag::pb::Node;
use peerage_dag::unixfs::Data;

fuzz_target!(|block: &[u8]| {
    if let Ok(data) = Data::decode(block) {
        assert_eq!(Data::decode(&data.encode()), Ok(data));
    }
    let Ok(node) = Node::decode(block) else { return };
    assert_eq!(Node::decode(&node.encode()), Ok(node.clone()));
    let _ = Data::of(&node);
});

use crate::testing::Blocks;

mod file;
mod listing;
mod resolve;
mod traversal;

impl Blocks {
    fn get(&self, cid: &crate::Cid) -> &[u8] {
        self.0.get(cid).unwrap_or_else(|| panic!("{cid} is missing"))
    }
}

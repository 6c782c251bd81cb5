//! The IPFS door: what speaks IPFS's protocols to peers.
//!
//! [`bitswap`] exchanges blocks that are named by CIDs. Which blocks make a file, and how a path leads to one, is known to
//! `peerage-dag`; how peers are found and reached, to `peerage-overlay`. Blocks lie wherever the program keeps them.

pub mod bitswap;

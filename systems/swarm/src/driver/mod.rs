//! Runs one [`crate::core::Swarm`] between wires and the content store.

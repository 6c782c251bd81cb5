//! Tests of the whole core: a rig of scripted peers around one [`Swarm`], scenarios, and laws under random inputs.

mod fetching;
mod laws;
mod meeting;
mod proving;
mod rig;
mod serving;

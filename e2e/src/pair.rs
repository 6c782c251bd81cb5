//! Two users on one machine: `ada` shares, `ben` gets, with nobody else about.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::faults::ALONE;
use crate::peerage::objects;
use crate::{Peerage, sample};

/// Where Ada listens.
pub const ADA: &str = "127.0.0.1:7001";

/// Where Ben listens.
pub const BEN: &str = "127.0.0.1:7002";

/// Their homes.
#[derive(Debug)]
pub struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    /// Two empty homes.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A path above both homes, such as `ada/film.mkv`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes what Ada is to share.
    pub fn film(&self, size: usize) -> PathBuf {
        let film = self.path("ada/film.mkv");
        sample::file(&film, 5, size);
        film
    }

    /// Ada shares; the link, too.
    #[track_caller]
    pub fn share(&self, path: &Path, more: &[&str]) -> (Peerage, String) {
        let args = [&[path.to_str().unwrap(), "--listen", ADA], &ALONE[..], more].concat();
        let mut share = Peerage::share(&self.path("ada"), &args);
        let link = share.metadata()["magnet"].as_str().unwrap().to_owned();
        (share, link)
    }

    /// Ben gets, into `ben/out`.
    #[track_caller]
    pub fn get(&self, link: &str, more: &[&str]) -> Peerage {
        let args = [&[link, "-o", "out", "--listen", BEN], &ALONE[..], more].concat();
        Peerage::get(&self.path("ben"), &args)
    }

    /// Ben's daemon.
    #[track_caller]
    pub fn up(&self) -> Peerage {
        let mut up = Peerage::up(&self.path("ben"), &[&["--listen", BEN], &ALONE[..]].concat());
        up.event("listening");
        up
    }

    /// What Ben's daemon says to a command.
    #[track_caller]
    pub fn ask(&self, args: &[&str]) -> Vec<Value> {
        objects(&self.path("ben"), args)
    }

    /// What Ben has of the film.
    pub fn arrived(&self) -> PathBuf {
        self.path("ben/out/film.mkv")
    }
}

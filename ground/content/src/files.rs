//! Open files, bounded for the whole process: least recently used are closed.

/// Shared by all stores of a process.
#[derive(Clone, Debug)]
pub struct FilePool {
    _private: (),
}

impl FilePool {
    /// At most `files` open at once.
    pub fn new(files: usize) -> Self {
        let _ = files;
        todo!()
    }
}

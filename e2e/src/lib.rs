//! What the end-to-end tests share: the program under test, other people's programs, sample content, networks of their own.

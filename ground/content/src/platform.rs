//! What Linux is good at, behind one module: `sendfile`, `fallocate`, page-cache residency, boot id, safe opening below a folder.
//! A port to another system is a twin of this file.

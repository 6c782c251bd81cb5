//! `getsockopt(TCP_INFO)`, or its absence.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// The smoothed round trip of a connection; at first that of its handshake, which the kernels took among themselves.
///
/// # Errors
/// Of the system, e.g. when it is no TCP socket; [`io::ErrorKind::Unsupported`] elsewhere than on Linux.
#[cfg(target_os = "linux")]
pub fn round_trip(socket: impl AsFd) -> io::Result<Duration> {
    use std::mem::{MaybeUninit, size_of};
    use std::os::fd::AsRawFd;

    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, hence open; the kernel writes at most `length` bytes to `info`, which has as many and lives on. All
    // fields are integers, for which zeros are valid, so what an old kernel does not write is initialised, too.
    #[allow(unsafe_code)]
    let info = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        let into = info.as_mut_ptr().cast();
        if libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut length) != 0 {
            return Err(io::Error::last_os_error());
        }
        info.assume_init()
    };
    Ok(Duration::from_micros(info.tcpi_rtt.into()))
}

/// Not known here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn round_trip(_socket: impl AsFd) -> io::Result<Duration> {
    Err(io::ErrorKind::Unsupported.into())
}

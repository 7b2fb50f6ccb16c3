//! Twin of [`std::os::linux`]: socket options and addresses that only Linux has.

pub mod net;

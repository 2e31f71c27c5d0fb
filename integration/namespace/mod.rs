//! Namespaces: of each kind, new, joined or absent, and the network devices that move into one.

mod kinds;
mod netdev;
mod rights;

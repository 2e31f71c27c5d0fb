//! What the container's process has: ids, capabilities, limits, labels.

mod attributes;
mod capabilities;
mod lsm;

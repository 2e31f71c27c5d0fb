//! What config.json says and no other subject has.

pub mod annotations;
mod conformance;
mod fields;

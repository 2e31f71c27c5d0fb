//! What is around a container and is not as it should be.

mod bad_input;
mod complaints;
mod surroundings;

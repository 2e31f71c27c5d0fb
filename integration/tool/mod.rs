//! What the measuring and fault-injecting programs share: spawning with exact times, bundles, runtimes, a tracer.
#![allow(dead_code, reason = "three programs include this module and none of them uses all of it")]

pub mod bundle;
pub mod hierarchies;
pub mod leftovers;
pub mod os;
pub mod process;
pub mod runtime;

/// These are test tools: any error ends the experiment with its text.
pub type Res<T> = Result<T, Box<dyn std::error::Error>>;

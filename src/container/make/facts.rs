//! The facts about this host that the plan of a container rests on.

use crate::error::Result;
use crate::host::Host;
use crate::plan::seccomp::filter::is_unusual;
use crate::spec::Spec;
use crate::sys::seccomp;

/// Adds what the kernel knows of seccomp, where the profile gives reason to ask.
pub(in crate::container) fn host_for(spec: &Spec, mut host: Host) -> Result<Host> {
    if is_unusual(spec) {
        host.seccomp = seccomp::probe();
    }
    Ok(host)
}

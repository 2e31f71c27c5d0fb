//! The facts about this host that the plan of a container rests on.

use crate::error::Result;
use crate::host::Host;
use crate::plan::filter::is_unusual;
use crate::spec::Spec;
use crate::sys::seccomp;

/// Asks the kernel; about seccomp only where the profile gives reason to.
pub(super) fn host_for(spec: &Spec) -> Result<Host> {
    let mut host = Host::probe()?;
    if is_unusual(spec) {
        host.seccomp = seccomp::probe();
    }
    Ok(host)
}

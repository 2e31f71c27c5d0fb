//! The stages of a plan in the words of runc's debug log, which scripts and tests look for. Told under `--debug`, after the
//! plan itself. Pure.

use crate::plan::Plan;
use crate::plan::op::{LastOp, RuntimeOp, SetupOp};
use crate::plan::step::Step;

/// A line for each.
pub(super) fn lines(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &plan.steps {
        if let Step::Clone(_) = step {
            lines.push(format!("nsexec container setup: {step}"));
        }
        if let Step::Affinity(mask) = step
            && mask.iter().any(|word| *word != u64::MAX)
        {
            lines.push(format!("nsexec: affinity: {}", hexadecimal(mask)));
        }
    }
    lines.push(format!("child process in init(): {} operations", plan.child_ops().count()));
    if plan.last.contains(&LastOp::LeaveRuntime) {
        let runcs =
            "\"runc exeseal: using /proc/self/exe clone\", \"runc exeseal: using overlayfs for sealed /proc/self/exe\"";
        lines.push(format!("exeseal: /proc/self/exe becomes an empty memory file (instead of {runcs})"));
    }
    for op in &plan.last {
        if let LastOp::Seccomp(filter) | LastOp::ByRuntime(RuntimeOp::Hook(_, Some(filter))) = op {
            lines.push(format!("seccomp filter flags: {}", filter.flags));
        }
    }
    let joins = plan.setup.iter().any(|op| matches!(op, SetupOp::JoinInit(_)));
    lines.push(
        if joins { "setns_init: about to exec" } else { "init: closing the pipe to signal completion" }.to_owned(),
    );
    lines
}

/// A mask of CPUs as one number.
fn hexadecimal(mask: &[u64]) -> String {
    let digits = mask.iter().rev().fold(String::new(), |text, word| text + &format!("{word:016x}"));
    let digits = digits.trim_start_matches('0');
    format!("0x{}", if digits.is_empty() { "0" } else { digits })
}

#[cfg(test)]
mod tests {
    use super::hexadecimal;

    #[test]
    fn a_mask_is_one_number() {
        assert_eq!(hexadecimal(&[3]), "0x3");
        assert_eq!(hexadecimal(&[1, 2, 0]), "0x20000000000000001");
        assert_eq!(hexadecimal(&[0]), "0x0");
    }
}

//! A classic BPF machine as strict as the kernel's: `bpf_check_classic`, `seccomp_check_filter`, then the run.

use brisk::plan::seccomp::Endian;
use brisk::sys::seccomp::Instruction;

/// `struct seccomp_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    pub nr: u32,
    pub arch: u32,
    pub ip: u64,
    pub args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32, endian: Endian) -> u32 {
        assert_eq!(offset % 4, 0, "unaligned load");
        let index = offset as usize / 4;
        let value = match index {
            0 => return self.nr,
            1 => return self.arch,
            2 | 3 => self.ip,
            _ => self.args[(index - 4) / 2],
        };
        let high = (index % 2 == 1) == (endian == Endian::Little);
        if high { (value >> 32) as u32 } else { value as u32 }
    }
}

/// Panics where the kernel would refuse the program.
pub fn check(program: &[Instruction]) {
    assert!((1..=4096).contains(&program.len()), "{} instructions", program.len());
    for (pc, i) in program.iter().enumerate() {
        let room = program.len() - pc - 1;
        match i.code {
            0x20 => assert!(i.k % 4 == 0 && i.k < 64, "{pc}: load of {}", i.k),
            0x54 | 0x06 => {}
            0x05 => assert!((i.k as usize) < room, "{pc}: jump out of the program"),
            0x15 | 0x25 | 0x35 | 0x45 => {
                assert!(usize::from(i.jt) < room && usize::from(i.jf) < room, "{pc}: branch out of the program");
            }
            code => panic!("{pc}: unknown instruction {code:#x}"),
        }
    }
    assert_eq!(program.last().unwrap().code, 0x06, "the last instruction is no return");
}

/// What the program answers.
pub fn run(program: &[Instruction], data: &Data, endian: Endian) -> u32 {
    let (mut pc, mut a) = (0, None);
    loop {
        let i = program[pc];
        pc += 1;
        let loaded = || a.expect("the accumulator is read before it is written");
        let jump = match i.code {
            0x20 => {
                a = Some(data.word(i.k, endian));
                continue;
            }
            0x54 => {
                a = Some(loaded() & i.k);
                continue;
            }
            0x06 => return i.k,
            0x05 => {
                pc += i.k as usize;
                continue;
            }
            0x15 => loaded() == i.k,
            0x25 => loaded() > i.k,
            0x35 => loaded() >= i.k,
            0x45 => loaded() & i.k != 0,
            code => panic!("unknown instruction {code:#x}"),
        };
        pc += usize::from(if jump { i.jt } else { i.jf });
    }
}

/// The longest way through the program.
pub fn depth(program: &[Instruction]) -> usize {
    let mut depth = vec![1; program.len()];
    for pc in (0..program.len()).rev() {
        let i = program[pc];
        depth[pc] += match i.code {
            0x06 => 0,
            0x05 => depth[pc + 1 + i.k as usize],
            0x20 | 0x54 => depth[pc + 1],
            _ => depth[pc + 1 + usize::from(i.jt)].max(depth[pc + 1 + usize::from(i.jf)]),
        };
    }
    depth[0]
}

/// One instruction per line, for failures.
pub fn text(program: &[Instruction]) -> String {
    let line = |(pc, i): (usize, &Instruction)| match i.code {
        0x20 => format!("{pc:4}: ld [{}]\n", i.k),
        0x54 => format!("{pc:4}: and {:#x}\n", i.k),
        0x06 => format!("{pc:4}: ret {:#x}\n", i.k),
        0x05 => format!("{pc:4}: ja {}\n", pc + 1 + i.k as usize),
        code => {
            let (t, f) = (pc + 1 + usize::from(i.jt), pc + 1 + usize::from(i.jf));
            let name = ["jeq", "jgt", "jge", "jset"][usize::from(code >> 4) - 1];
            format!("{pc:4}: {name} {:#x}, {t}, {f}\n", i.k)
        }
    };
    program.iter().enumerate().map(line).collect()
}

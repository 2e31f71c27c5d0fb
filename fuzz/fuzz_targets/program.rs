#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| brisk_fuzz::targets::program(data));

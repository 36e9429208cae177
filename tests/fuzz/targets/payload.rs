//! See `readers.rs`.

#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let _ = readers::read("payload", file);
});

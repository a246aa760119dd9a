//! One decoder under libFuzzer: the one that `BROADSWEEP_DECODER` names. Its seeds are written to the folder that
//! `BROADSWEEP_SEEDS` names before the corpus is read.

#![no_main]

use std::env;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use broadsweep_tests::decoders::Decoder;
use broadsweep_tests::decoders::memory::Counted;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static MEMORY: Counted = Counted;

static DECODER: OnceLock<Decoder> = OnceLock::new();

fn decoder() -> Decoder {
    *DECODER.get_or_init(|| {
        let name = env::var("BROADSWEEP_DECODER").expect("BROADSWEEP_DECODER names a decoder");
        Decoder::named(&name).expect("there is such a decoder")
    })
}

fn write_seeds() {
    let decoder = decoder();
    let seeds = (decoder.seeds)();
    if let Ok(folder) = env::var("BROADSWEEP_SEEDS") {
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(Path::new(&folder).join(format!("seed-{number}")), seed).expect("the folder is there");
        }
    }
    // What a decoder keeps for all inputs is no input's fault.
    seeds.iter().for_each(|seed| (decoder.decode)(seed));
}

fuzz_target!(init: write_seeds(), |input: &[u8]| decoder().watched(input));
